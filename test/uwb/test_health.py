"""What is wrong with a running estimator is said while it is wrong, and not for longer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.uwb.bias import BY_MODEL, OUT_OF_RANGE, Bias, uncalibrated
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import EstimatorParams, UwbEstimator
from nn_estimation.uwb.health import health
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.stream import IMU_TOPIC, INVALID_RANGE, UNKNOWN_ANCHOR, UwbStream

CORNERS = ((0.0, 0.0, 2.0), (8.0, 0.0, 2.4), (8.0, 6.0, 1.8), (0.0, 6.0, 2.2))
LAYOUT = Layout(
    tuple(Anchor(f"a{i}", np.array(corner)) for i, corner in enumerate(CORNERS)),
    (Tag("tag", np.zeros(3)),),
    planar_z=0.5,
)


class Clock:
    """A receive clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def stream(clock: Callable[[], float] | None = None) -> UwbStream:
    return UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT)), clock=clock)


def hear(into: UwbStream, stamp: float, anchor: str = "a0", value: float = 5.0) -> None:
    message = cdr.RangeMessage(round(stamp * 1e9), anchor, value, 0.0)
    into.feed("uwb/range", cdr.encode_range(message))


def hear_imu(into: UwbStream, stamp: float) -> None:
    message = cdr.ImuMessage.of(round(stamp * 1e9), "imu", np.zeros(3), np.array([0.0, 0.0, 9.81]))
    into.feed(IMU_TOPIC, cdr.encode_imu(message))


def problem(of: UwbStream, aspect: str = "input") -> str:
    return next(text for name, text, _ in health(of) if name == aspect)


def test_before_the_first_range_the_topics_are_named() -> None:
    assert problem(stream()).startswith("no ranges yet on uwb/range, ")


def test_silence_of_all_ranges_is_reported_by_the_receive_clock() -> None:
    clock = Clock()
    source = stream(clock)
    hear(source, 100.0)
    clock.now = 0.9
    assert problem(source) == ""
    clock.now = 3.0
    assert problem(source).startswith("no ranges for 3.0 s on uwb/range, ")


def test_a_range_that_comes_late_by_its_stamp_breaks_the_silence_all_the_same() -> None:
    clock = Clock()
    source = stream(clock)
    hear(source, 100.0)
    clock.now = 3.0
    hear(source, 99.9)
    assert problem(source) == ""


def test_silence_of_all_ranges_is_reported_by_the_stamps_of_the_imu() -> None:
    source = stream()
    hear(source, 100.0)
    hear_imu(source, 100.9)
    assert problem(source) == ""
    hear_imu(source, 102.0)
    assert problem(source).startswith("no ranges for 2.0 s on uwb/range, ")
    hear(source, 102.0)
    assert problem(source) == ""


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_ranges_that_are_none_do_not_break_the_silence(value: float) -> None:
    clock = Clock()
    source = stream(clock)
    hear(source, 100.0)
    clock.now = 2.0
    hear(source, 102.0, value=value)
    assert "no ranges for 2.0 s" in problem(source)


def test_without_a_clock_and_other_inputs_nothing_tells_of_silence() -> None:
    source = stream()
    hear(source, 100.0)
    assert problem(source) == ""


def test_one_bad_message_is_a_problem_of_two_reports_and_stays_in_the_counts() -> None:
    """What lasts for one report alone is never said: see `Diagnostics`."""
    source = stream()
    hear(source, 100.0)
    hear(source, 100.0, value=-1.0)
    source.feed("uwb/range", b"\0\1\0\0")
    for _ in range(2):
        assert problem(source) == "1 with malformed message, 1 with invalid range"
    assert problem(source) == ""
    values = next(values for name, _, values in health(source) if name == "input")
    assert (values["invalid range"], values["malformed message"]) == (1, 1)


def test_only_the_recent_ranges_of_unknown_anchors_are_counted_and_named() -> None:
    source = stream()
    hear(source, 100.0)
    hear(source, 100.1, anchor="b1")
    hear(source, 100.2, anchor="b1")
    assert problem(source) == "2 ranges of unknown anchors (b1): add them to the layout"
    hear(source, 100.3, anchor="b2")
    assert problem(source) == "3 ranges of unknown anchors (b1, b2): add them to the layout"
    assert problem(source) == "1 ranges of unknown anchors (b2): add them to the layout"
    assert problem(source) == ""


def test_a_reset_clears_problems_and_unknown_anchors_and_keeps_the_counts() -> None:
    source = stream()
    hear(source, 100.1, anchor="b1")
    hear(source, 100.2, value=-1.0)
    source.reset()
    hear(source, 100.3)
    assert problem(source) == ""
    assert not source.unknown_anchors
    assert source.counts[UNKNOWN_ANCHOR] == source.counts[INVALID_RANGE] == 1


class Learned:
    """A model that speaks for itself wherever there is a pose."""

    method, correlation_time = "network", 0.1

    def __init__(self, reason: int = BY_MODEL) -> None:
        self._reason, self._raw = reason, uncalibrated(LAYOUT)

    def predict(self, epoch: Epoch, geometry: np.ndarray) -> Bias:
        return replace(self._raw.predict(epoch, geometry), fallback=np.full(len(epoch.tag), self._reason))

    def calibrate(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        return self._raw.calibrate(epoch)


def drive(into: UwbStream, seconds: float, start: float = 100.0) -> None:
    """Exact ranges at 20 Hz of a body that stands still."""
    for stamp in start + np.arange(0.0, seconds, 0.05):
        for anchor, corner in enumerate(CORNERS):
            hear(into, stamp, f"a{anchor}", float(np.linalg.norm(np.subtract(corner, (4.0, 3.0, 0.5)))))
        list(into.corrected())
    list(into.flush())


def corrected_by(of: UwbStream) -> dict[str, object]:
    return next(values for name, _, values in health(of) if name == "fallback")


def test_without_a_network_none_is_counted_and_nothing_is_a_fallback() -> None:
    source = stream()
    drive(source, 0.2)
    assert problem(source, "fallback") == ""
    drive(source, 2.0, start=101.0)
    assert problem(source, "fallback") == ""
    values = corrected_by(source)
    assert "network" not in values
    assert values["method"] == "raw" and values["raw"] == 44 * 4


def test_a_network_without_a_pose_is_not_counted_as_used() -> None:
    source = UwbStream(UwbEstimator(LAYOUT, Learned(), EstimatorParams(external_pose=True)), "odom")
    drive(source, 1.0)
    assert problem(source, "fallback") == "100% of the ranges use the affine calibration: no pose"
    assert corrected_by(source)["network"] == 0


def test_a_network_that_is_switched_off_goes_on_under_the_name_of_what_replaces_it() -> None:
    source = UwbStream(UwbEstimator(LAYOUT, Learned()))
    drive(source, 2.0)
    used = corrected_by(source)["network"]
    assert used
    source.estimator.model = uncalibrated(LAYOUT)
    drive(source, 1.0, start=102.0)
    assert problem(source, "fallback") == ""
    values = corrected_by(source)
    assert (values["method"], values["network"], values["raw"]) == ("raw", used, 80)


def test_the_most_frequent_reason_of_a_fallback_is_named() -> None:
    source = UwbStream(UwbEstimator(LAYOUT, Learned(OUT_OF_RANGE)))
    drive(source, 2.0)
    assert problem(source, "fallback") == (
        "100% of the ranges use the affine calibration: out of the trained range"
    )

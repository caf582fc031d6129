"""Claims about whole recordings at once: the numbers of the estimator, whatever happens in them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nn_estimation.attitude import compiled_vqf, kernel
from nn_estimation.attitude.batch import Track, track
from nn_estimation.attitude.estimator import AttitudeEstimator
from nn_estimation.attitude.kernel import UNKNOWN_HEADING
from nn_estimation.attitude.model import Setup, classical_setup, load_setups
from nn_estimation.attitude.trial import Trial
from nn_estimation.inference import Model

from .trials import trial

HAND = trial(seconds=16.0, magnet=2e-5)
NAMES = "stamp", "quaternion", "covariance", "angular_velocity", "gyro_bias"


def both(
    setup: Setup, t: Trial, rate: float | None = None, think: bool = False
) -> tuple[Track, AttitudeEstimator]:
    """A recording at once, claimed to be what comes out of the estimator one by one, told when to think or not."""
    whole = track(setup, *columns(t), rate)
    estimator, at, rows, out = AttitudeEstimator(setup, rate), 0, [], []
    for n, stamp in enumerate(t.stamp):
        while at < len(t.mag_stamp) and t.mag_stamp[at] <= stamp:
            estimator.magnetic(t.mag_stamp[at], t.mag[at])
            at += 1
        found = estimator.update(stamp, t.gyro[n], t.accel[n])
        if found is not None:
            rows.append(n)
            shares = {"trust": estimator.trust, "share": estimator.heading_share}
            out.append({name: getattr(found, name) for name in NAMES} | shares)
        if think:
            estimator.think()
    assert len(rows) > 0.9 * len(t.stamp)
    for name in (*NAMES, "trust", "share"):
        one_by_one = np.array([values[name] for values in out])
        np.testing.assert_allclose(one_by_one, getattr(whole, name)[rows], rtol=0.0, atol=1e-12, err_msg=name)
    return whole, estimator


def columns(t: Trial) -> tuple[np.ndarray, ...]:
    return t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag


def later(t: Trial, gap: float) -> Trial:
    """Of a logger that heard nothing for `gap` [s] in the middle."""
    middle = t.stamp[len(t.stamp) // 2]
    stamps = (stamp + gap * (stamp > middle) for stamp in (t.stamp, t.mag_stamp))
    return replace(t, **dict(zip(("stamp", "mag_stamp"), stamps, strict=True)))


def slower(t: Trial) -> Trial:
    """Of a driver that drops every other sample from the middle on."""
    kept = np.ones(len(t.stamp), dtype=bool)
    kept[len(kept) // 2 :: 2] = False
    return replace(
        t, **{name: getattr(t, name)[kept] for name in ("stamp", "gyro", "accel", "truth", "scored")}
    )


def jittered(t: Trial) -> Trial:
    """Of stamps that shake by a third of an interval, and fields that are stamped between samples."""
    rng = np.random.default_rng(0)
    stamp = np.round(t.stamp + rng.uniform(-0.0017, 0.0017, len(t.stamp)), 6)
    return replace(t, stamp=stamp, mag_stamp=t.mag_stamp + 0.004)


RECORDINGS: dict[str, Callable[[], Trial]] = {
    "as it is": lambda: HAND,
    "without a magnetometer": lambda: replace(HAND, mag_stamp=np.empty(0), mag=np.empty((0, 3))),
    "a slow magnetometer": lambda: trial(seconds=16.0, mag_every=7),
    "a magnetometer that stops": lambda: replace(HAND, mag_stamp=HAND.mag_stamp[:700], mag=HAND.mag[:700]),
    "a magnetometer that begins late": lambda: replace(
        HAND, mag_stamp=HAND.mag_stamp[400:], mag=HAND.mag[400:]
    ),
    "a gap of a second": lambda: later(HAND, 1.0),
    "a gap of a third of a second": lambda: later(HAND, 0.3),
    "a gap of 12 seconds": lambda: later(HAND, 12.0),
    "another rate from the middle on": lambda: slower(HAND),
    "jitter": lambda: jittered(HAND),
}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_recording_at_once_gives_the_numbers_of_the_estimator(recording: str) -> None:
    both(classical_setup("filter"), RECORDINGS[recording]())


@pytest.mark.parametrize("think", [False, True])
@pytest.mark.parametrize("recording", ["as it is", "a gap of a second", "a gap of 12 seconds", "jitter"])
def test_so_it_does_with_a_network(recording: str, think: bool, wahba_model: Path) -> None:
    setups = load_setups(Model.load(wahba_model, provider="cpu"))
    whole, _ = both(setups["network"], RECORDINGS[recording](), think=think)
    blend = setups["network"].constants.blend
    assert whole.share.max() == blend and whole.share[-1] > 0.0
    plain = track(setups["filter"], *columns(RECORDINGS[recording]()))
    assert np.abs(whole.quaternion - plain.quaternion).max() > 1e-3  # the network has a say


@pytest.mark.parametrize("method", ["vqf", "filter"])
def test_so_it_does_at_a_rate_that_is_told(method: str) -> None:
    both(classical_setup(method), HAND, rate=100.0)


def test_the_heading_is_unknown_until_the_first_field() -> None:
    whole, _ = both(classical_setup("filter"), RECORDINGS["a magnetometer that begins late"]())
    variance = whole.covariance[:, 2, 2]
    first = int(np.argmax(variance < UNKNOWN_HEADING))
    assert first == pytest.approx(402, abs=1) and (variance[:first] == UNKNOWN_HEADING).all()
    assert variance[first:].max() < 0.1


def test_a_recording_that_is_too_short_to_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20 samples are too few to find their rate: 0\.3 s are needed"):
        track(
            classical_setup(),
            HAND.stamp[:20],
            HAND.gyro[:20],
            HAND.accel[:20],
            HAND.mag_stamp[:20],
            HAND.mag[:20],
        )


def changed_at(dt: np.ndarray) -> list[int]:
    """Where VQF is made anew by intervals (N,) [s] of the samples alone."""
    vqf, means = np.zeros(1, compiled_vqf.LAYOUT), np.array([0.01, 0.01])
    compiled_vqf.retime(vqf[0], 0.01, 0.01)
    return [n for n, interval in enumerate(dt) if kernel.keep_time(vqf[0], means, interval, np.nan)]


def test_vqf_is_made_anew_by_another_rate_and_neither_by_jitter_nor_by_gaps() -> None:
    rng = np.random.default_rng(0)
    steady = np.full(1000, 0.01)
    assert changed_at(steady + rng.uniform(-0.005, 0.005, 1000)) == []
    gaps = steady.copy()
    gaps[::100], gaps[500] = 0.05, 5.0
    assert changed_at(gaps) == []
    found = changed_at(np.r_[steady, 2.0 * steady])
    assert 1 <= len(found) <= 3 and 1000 < found[0] < 1050  # within a second

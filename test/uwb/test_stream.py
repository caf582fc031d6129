"""The stream takes any message: what is wrong with it is counted, and good ranges still come through."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn_estimation import cdr
from nn_estimation.uwb.bias import uncalibrated
from nn_estimation.uwb.epochs import LATE, REPEATED, RESET
from nn_estimation.uwb.estimator import Corrected, EstimatorParams, UwbEstimator
from nn_estimation.uwb.gate import ACCEPTED, NO_GEOMETRY
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.stream import (
    INVALID_RANGE,
    INVALID_STAMP,
    MALFORMED,
    UNKNOWN_ANCHOR,
    UwbStream,
)

CORNERS = [(0.0, 0.0, 2.0), (8.0, 0.0, 2.4), (8.0, 6.0, 1.8), (0.0, 6.0, 2.2)]
LAYOUT = Layout(
    tuple(Anchor(f"a{i}", np.array(corner)) for i, corner in enumerate(CORNERS)),
    (Tag("left", np.array([0.2, 0.3, 0.0])), Tag("right", np.array([0.2, -0.3, 0.0]))),
    planar_z=0.5,
)
SECOND = 1_000_000_000


def stream(params: EstimatorParams | None = None) -> UwbStream:
    return UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT), params), odometry_topic="odom")


def encoded(tag: int, anchor: int, stamp_ns: int, position: np.ndarray) -> tuple[str, bytes]:
    index = np.array([tag]), np.array([anchor]), np.array([NO_ANCHOR])
    distance = float(link_geometry(LAYOUT, position, np.eye(3), *index)[0, 0])
    message = cdr.RangeMessage(stamp_ns, f"a{anchor}", distance, 0.0)
    return LAYOUT.tag_topic(LAYOUT.tags[tag].name, "range"), cdr.encode_range(message)


def drive(
    into: UwbStream, seconds: float, start: float = 100.0, silent: int | None = None
) -> list[Corrected]:
    """Exact ranges at 20 Hz of a body that moves slowly; one anchor may be silent."""
    out = []
    for i in range(int(seconds * 20)):
        t = i / 20
        position = np.array([4.0 + 0.5 * math.sin(0.5 * t), 3.0, 0.5])
        for tag in range(2):
            for anchor in range(4):
                if anchor != silent:
                    into.feed(*encoded(tag, anchor, round((start + t) * SECOND), position))
        out += into.corrected()
    return [*out, *into.flush()]


def statuses(results: list[Corrected]) -> set[int]:
    return {int(s) for result in results for s in result.status}


def test_clean_ranges_are_all_corrected_and_accepted() -> None:
    source = stream()
    results = drive(source, 10.0)
    assert sum(len(r.epoch.tag) for r in results) == 200 * 8
    assert statuses(results) <= {ACCEPTED, NO_GEOMETRY}
    last = results[-1].pose
    assert last is not None
    np.testing.assert_allclose(last.position, [4.0 + 0.5 * math.sin(0.5 * 9.95), 3.0, 0.5], atol=0.02)
    assert not any(source.counts.values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0])
def test_a_range_that_is_none_is_counted_and_goes_nowhere(value: float) -> None:
    source = stream()
    drive(source, 3.0)
    bad = cdr.encode_range(cdr.RangeMessage(104 * SECOND, "a0", value, 0.0))
    source.feed("left/uwb/range", bad)
    results = list(source.flush())
    assert results == []
    assert source.counts[INVALID_RANGE] == 1


def test_an_unknown_anchor_is_counted_and_named() -> None:
    source = stream()
    source.feed("left/uwb/range", cdr.encode_range(cdr.RangeMessage(104 * SECOND, "b7", 2.0, 0.0)))
    source.feed("left/uwb/tdoa", cdr.encode_range(cdr.RangeMessage(104 * SECOND, "a0-c9", 2.0, 0.0)))
    source.feed("left/uwb/tdoa", cdr.encode_range(cdr.RangeMessage(104 * SECOND, "a0", 2.0, 0.0)))
    assert source.counts[UNKNOWN_ANCHOR] == 3
    assert source.unknown_anchors == {"b7", "c9", "a0"}
    assert list(source.flush()) == []


def test_a_difference_to_the_same_anchor_is_none() -> None:
    source = stream()
    source.feed("left/uwb/tdoa", cdr.encode_range(cdr.RangeMessage(1, "a0-a0", 0.0, 0.0)))
    assert source.counts[UNKNOWN_ANCHOR] == 1 and source.unknown_anchors == {"a0-a0"}


def test_a_stamp_of_zero_is_counted() -> None:
    source = stream()
    source.feed("left/uwb/range", cdr.encode_range(cdr.RangeMessage(0, "a0", 2.0, 0.0)))
    assert source.counts[INVALID_STAMP] == 1


def test_repeated_stamps_are_counted_and_used_once() -> None:
    source = stream()
    drive(source, 3.0)
    topic, data = encoded(0, 0, 104 * SECOND, np.array([4.0, 3.0, 0.5]))
    for _ in range(3):
        source.feed(topic, data)
    assert sum(len(r.epoch.tag) for r in source.flush()) == 1
    assert source.sequencer.counts[REPEATED] == 2


def test_stamps_a_little_backwards_are_dropped_as_late() -> None:
    source = stream()
    drive(source, 3.0)
    source.feed(*encoded(0, 0, round(102.5 * SECOND), np.array([4.0, 3.0, 0.5])))
    assert list(source.flush()) == []
    assert source.sequencer.counts[LATE] == 1


def test_a_bag_that_starts_over_is_tracked_anew() -> None:
    source = stream()
    first = drive(source, 5.0)
    second = drive(source, 5.0)
    assert source.sequencer.counts[RESET] == 1
    assert len(second) == len(first)
    np.testing.assert_array_equal(
        np.concatenate([r.corrected for r in first]), np.concatenate([r.corrected for r in second])
    )


def test_a_silent_anchor_delays_nobody() -> None:
    source = stream()
    drive(source, 5.0)
    results = drive(source, 5.0, start=105.0, silent=2)
    assert sum(len(r.epoch.tag) for r in results) == 100 * 6
    assert results[-1].pose is not None
    assert source.last_heard[0, 2, NO_ANCHOR] < 105.0


def test_a_pose_source_that_stops_leaves_the_affine_calibration() -> None:
    source = stream(EstimatorParams(external_pose=True, pose_timeout=0.5))
    results = []
    for i in range(60):
        stamp = round((100.0 + i / 20) * SECOND)
        position = np.array([4.0, 3.0, 0.5])
        if i < 20:
            zero, unit = np.zeros(36), np.array([0.0, 0.0, 0.0, 1.0])
            odometry = cdr.OdometryMessage(
                stamp, "map", "base_link", position, unit, zero, zero[:3], zero[:3], zero
            )
            source.feed("odom", cdr.encode_odometry(odometry))
        for anchor in range(4):
            source.feed(*encoded(0, anchor, stamp, position))
        results += source.corrected()
    results += source.flush()
    early, late = results[5], results[-1]
    assert set(early.status.tolist()) == {ACCEPTED}
    assert set(late.status.tolist()) == {NO_GEOMETRY}
    assert (late.variance > early.variance).all()
    assert np.isfinite(late.corrected).all()


noise = st.binary(max_size=200)
numbers = st.floats(width=32)
stamps = st.integers(0, 300 * SECOND)
junk = st.one_of(
    noise,
    st.tuples(stamps, st.sampled_from(["a0", "a1", "a0-a1", "x", ""]), numbers, numbers).map(
        lambda values: cdr.encode_range(cdr.RangeMessage(*values))
    ),
    st.builds(cdr.Vector3Message, stamps, st.sampled_from(["a0", "left-a1", "x"]), *[st.floats()] * 3).map(
        cdr.encode_vector3
    ),
)


@given(st.lists(st.tuples(st.integers(0, 100), junk), max_size=60))
@settings(max_examples=60)
def test_nothing_that_arrives_raises_or_makes_a_published_range_no_number(
    messages: list[tuple[int, bytes]],
) -> None:
    source = stream()
    topics = list(source.topics)
    results = []
    for number, data in messages:
        source.feed(topics[number % len(topics)], data)
        results += source.corrected()
    results += [*source.flush(), *drive(source, 3.0, start=1000.0)]
    for result in results:
        published = np.isin(result.status, (ACCEPTED, NO_GEOMETRY))
        assert np.isfinite(result.corrected[published]).all()
        assert (result.variance[published] > 0.0).all()
    assert results[-1].pose is not None
    assert np.isfinite(results[-1].pose.covariance).all()


def test_malformed_messages_are_counted() -> None:
    source = stream()
    for topic in source.topics:
        source.feed(topic, b"\0\1\0\0")
    assert source.counts[MALFORMED] == len(source.topics)

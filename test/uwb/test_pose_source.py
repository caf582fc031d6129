"""A pose from outside, carried to the stamp of a range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.pose_source import PoseSource

UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


@given(st.integers(0, 10_000), st.floats(-0.3, 0.3))
def test_a_body_that_moves_and_turns_steadily_is_extrapolated_exactly(seed: int, ahead: float) -> None:
    rng = np.random.default_rng(seed)
    velocity, turn, start = rng.normal(size=3), rng.normal(size=3), Rotation.random(random_state=rng)

    def pose(t: float) -> tuple[np.ndarray, Rotation]:
        return velocity * t, start * Rotation.from_rotvec(turn * t)

    source = PoseSource(timeout=0.5)
    for t in (10.0, 10.1):
        position, rotation = pose(t)
        assert source.update(t, position, rotation.as_quat())
    found = source.at(10.1 + ahead)
    assert found is not None
    position, rotation = pose(10.1 + ahead)
    np.testing.assert_allclose(found[0], position, atol=1e-9)
    np.testing.assert_allclose(found[1], rotation.as_matrix(), atol=1e-9)


def test_two_poses_that_are_close_in_time_do_not_make_a_large_velocity() -> None:
    source = PoseSource(timeout=0.5)
    for t, x in ((10.0, 1.0), (10.05, 1.01), (10.0501, 1.012)):
        source.update(t, np.array([x, 0.0, 0.0]), UPRIGHT)
    found = source.at(10.07)
    assert found is not None
    np.testing.assert_allclose(found[0], [1.012 + 0.0199 * 0.012 / 0.0501, 0.0, 0.0], atol=1e-9)


def test_there_is_no_pose_before_the_first_and_after_the_timeout() -> None:
    source = PoseSource(timeout=0.5)
    assert source.at(10.0) is None
    source.update(10.0, np.ones(3), UPRIGHT)
    assert source.at(10.4) is not None
    assert source.at(10.6) is None
    source.reset()
    assert source.at(10.0) is None


def test_velocity_is_not_taken_over_a_gap() -> None:
    source = PoseSource(timeout=0.5)
    source.update(10.0, np.zeros(3), UPRIGHT)
    source.update(20.0, np.ones(3), UPRIGHT)
    found = source.at(20.2)
    assert found is not None
    assert found[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("stamp", "position", "quaternion"),
    [
        (11.0, [np.nan, 0, 0], [0, 0, 0, 1]),
        (11.0, [0, 0, np.inf], [0, 0, 0, 1]),
        (11.0, [0, 0, 0], [0, 0, 0, 0]),
        (11.0, [0, 0, 0], [0, 0, np.nan, 1]),
        (10.0, [0, 0, 0], [0, 0, 0, 1]),
        (9.0, [0, 0, 0], [0, 0, 0, 1]),
    ],
)
def test_a_pose_that_is_none_or_not_newer_is_ignored(
    stamp: float, position: list[float], quaternion: list[float]
) -> None:
    source = PoseSource(timeout=0.5)
    source.update(10.0, np.ones(3), UPRIGHT)
    assert not source.update(stamp, np.array(position), np.array(quaternion))
    found = source.at(10.1)
    assert found is not None
    assert found[0].tolist() == [1.0, 1.0, 1.0]

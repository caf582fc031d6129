"""Claims about what becomes of messages of pose, velocity and place."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.sources import (
    FIX_STD,
    FLOOR,
    POSITION_STD,
    UNKNOWN,
    SourceError,
    of_fix,
    of_pose,
    of_wheels,
)
from nn_estimation.geodesy import LocalFrame

R = Rotation.from_euler("zyx", [2.0, -0.3, 0.1])


def pose(covariance: np.ndarray, quaternion: np.ndarray | None = None) -> cdr.PoseCovarianceMessage:
    turn = R.as_quat() if quaternion is None else quaternion
    return cdr.PoseCovarianceMessage(10**9, "odom", np.arange(3.0), turn, covariance.ravel())


def test_a_sound_covariance_is_taken_as_it_is() -> None:
    half = np.random.default_rng(0).normal(0, 1, (6, 6))
    covariance = half @ half.T
    found = of_pose(pose(covariance))
    assert found.position is not None and found.rotation_covariance is not None and found.stated
    np.testing.assert_allclose(found.position.covariance, covariance[:3, :3], atol=1e-12)
    np.testing.assert_allclose(found.rotation_covariance, covariance[3:, 3:], atol=1e-12)


def test_a_rotation_that_is_nearly_one_is_made_one() -> None:
    found = of_pose(pose(np.eye(6), 1.005 * R.as_quat()))
    np.testing.assert_allclose(found.R_world_imu, R.as_matrix(), atol=1e-14)


def test_zeros_mean_that_nothing_was_said() -> None:
    found = of_pose(pose(np.zeros((6, 6))))
    assert found.position is not None and not found.stated
    np.testing.assert_array_equal(found.position.covariance, POSITION_STD**2 * np.eye(3))


def test_a_covariance_that_is_nearly_one_is_made_one() -> None:
    """Eigenvalues 1.9 twice and -0.8, no two of the three against each other: no noise has a negative variance."""
    covariance = np.eye(6)
    covariance[:3, :3] += 0.9 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -1.0, 0.0]])
    found = of_pose(pose(covariance))
    assert found.position is not None
    values = np.linalg.eigvalsh(found.position.covariance)
    np.testing.assert_allclose(values, [FLOOR, 1.9, 1.9], atol=1e-12)


def test_rounding_beside_a_variance_of_zero_is_no_contradiction() -> None:
    covariance = np.diag([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    covariance[0, 2] = covariance[2, 0] = 1e-9
    assert of_pose(pose(covariance)).position is not None


@pytest.mark.parametrize("together", [1.1, 1e6, 1e12, 1e200])
@pytest.mark.parametrize("at", [(0, 1), (2, 0), (4, 5)])
def test_a_covariance_that_contradicts_itself_is_refused(at: tuple[int, int], together: float) -> None:
    covariance = np.eye(6)
    covariance[at] = covariance[at[::-1]] = -together
    with pytest.raises(SourceError, match="invalid number"):
        of_pose(pose(covariance))


@pytest.mark.parametrize("flag", [UNKNOWN, 1e12, -1.0])
def test_a_speed_that_is_flagged_unknown_is_not_used(flag: float) -> None:
    message = cdr.TwistCovarianceMessage(10**9, "base", np.ones(3), np.zeros(3), np.full(36, flag))
    with pytest.raises(SourceError, match="unknown speed"):
        of_wheels(message)


def test_a_fix_without_covariances_need_not_fill_them_in() -> None:
    place = np.array([49.0, 8.4, 115.0])
    message = cdr.FixMessage(10**9, "gps", 0, place, np.full(9, np.nan), 0)
    found = of_fix(message, LocalFrame(*np.radians(place[:2]), 115.0), np.zeros(3))
    assert found.position is not None and not found.stated
    np.testing.assert_array_equal(found.position.covariance, FIX_STD**2 * np.eye(3))


@pytest.mark.parametrize("flag", [UNKNOWN, -1.0])
def test_what_is_flagged_unknown_is_not_used(flag: float) -> None:
    covariance = np.eye(6)
    covariance[0, 0] = flag
    found = of_pose(pose(covariance))
    assert found.position is None and found.R_world_imu is not None


def test_a_message_that_gives_nothing_is_refused() -> None:
    with pytest.raises(SourceError, match="unknown pose and velocity"):
        of_pose(pose(UNKNOWN * np.eye(6)))


@pytest.mark.parametrize("quaternion", [np.zeros(4), np.full(4, np.nan), 2.0 * R.as_quat()])
def test_what_is_no_rotation_is_refused(quaternion: np.ndarray) -> None:
    with pytest.raises(SourceError, match="invalid rotation"):
        of_pose(pose(np.eye(6), quaternion))


def test_numbers_that_are_not_finite_are_refused() -> None:
    covariance = np.eye(6)
    covariance[1, 2] = np.inf
    with pytest.raises(SourceError, match="invalid number"):
        of_pose(pose(covariance))

"""Claims about worlds and Euler angles, against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.estimator import Attitude
from nn_estimation.attitude.frames import FROM_ENU, World, roll_pitch_yaw

ANGLE = st.floats(-math.pi, math.pi)


def attitude(rotation: Rotation) -> Attitude:
    covariance = np.diag([1.0, 2.0, 3.0])
    return Attitude(1.0, np.r_[rotation.as_quat(), covariance.ravel(), np.zeros(7)], "filter")


@given(roll=ANGLE, pitch=ANGLE, yaw=ANGLE, frame=st.sampled_from(sorted(FROM_ENU)), declination=ANGLE)
def test_a_world_turns_rotation_and_covariance_alike(
    roll: float, pitch: float, yaw: float, frame: str, declination: float
) -> None:
    rotation = Rotation.from_euler("xyz", [roll, pitch, yaw])
    R = FROM_ENU[frame] @ Rotation.from_euler("z", -declination).as_matrix()
    found = World(frame, declination).turn(attitude(rotation))
    np.testing.assert_allclose(
        Rotation.from_quat(found.quaternion).as_matrix(), R @ rotation.as_matrix(), atol=1e-12
    )
    np.testing.assert_allclose(found.covariance, R @ np.diag([1.0, 2.0, 3.0]) @ R.T, atol=1e-12)
    assert np.linalg.norm(found.quaternion) == pytest.approx(1.0, abs=1e-12)


def test_worlds_are_right_handed() -> None:
    assert all(np.linalg.det(R) == pytest.approx(1.0) for R in FROM_ENU.values())


def test_east_north_up_of_magnetic_north_is_left_as_it_is() -> None:
    given = attitude(Rotation.identity())
    assert World().turn(given) is given


@given(roll=ANGLE, pitch=st.floats(-1.5, 1.5), yaw=ANGLE)
def test_roll_pitch_and_yaw_are_about_fixed_axes(roll: float, pitch: float, yaw: float) -> None:
    rotation = Rotation.from_euler("xyz", [roll, pitch, yaw])
    again = Rotation.from_euler("xyz", roll_pitch_yaw(rotation.as_quat()))
    assert (again * rotation.inv()).magnitude() < 1e-7


@pytest.mark.parametrize("pitch", [90.0, -90.0])
def test_straight_up_and_down_have_finite_angles(pitch: float) -> None:
    found = roll_pitch_yaw(Rotation.from_euler("xyz", [10.0, pitch, 20.0], degrees=True).as_quat())
    assert math.degrees(found[1]) == pytest.approx(pitch, abs=1e-5) and all(map(math.isfinite, found))

"""A car on a circle, seen by an exact IMU: what several tests drive."""

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning
from nn_estimation.dead_reckoning.filter import GRAVITY

SPEED, RATE = 10.0, 0.2  # [m/s], [rad/s]: a radius of 50 m
DT = 0.01  # [s]
BEGIN = 1000.0  # [s]
GYRO, ACCEL = np.array([0.0, 0.0, RATE]), np.array([0.0, SPEED * RATE, GRAVITY])
WIDE = Constants(heading_0=1e-4, tilt_0=1e-6, velocity_0=0.01)


def stamp(n: int) -> float:
    """[s] of a sample."""
    return BEGIN + n * DT


def true_pose(t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (3,), R (3, 3) and velocity (3,) at a stamp."""
    angle = RATE * (t - BEGIN)
    radius = SPEED / RATE
    R = Rotation.from_euler("z", angle)
    return (
        np.array([radius * np.sin(angle), radius * (1 - np.cos(angle)), 0.0]),
        R.as_matrix(),
        R.apply([SPEED, 0, 0]),
    )


def started(constants: Constants = WIDE) -> DeadReckoning:
    """An estimator at the true start."""
    out = DeadReckoning(constants)
    position, R, velocity = true_pose(BEGIN)
    out.start(BEGIN, position, R, velocity)
    return out


def imu(n: int, gyro: np.ndarray = GYRO, accel: np.ndarray = ACCEL) -> bytes:
    """Sample `n` as a message."""
    return imu_at(stamp(n), gyro, accel)


def imu_at(t: float, gyro: np.ndarray = GYRO, accel: np.ndarray = ACCEL) -> bytes:
    """A sample as a message."""
    message = cdr.ImuMessage.of(round(t * 1e9), "imu_link", gyro, accel)
    return cdr.encode_imu(message)


def odometry(t: float, offset: np.ndarray | None = None, variance: float = 0.01) -> bytes:
    """The true pose and velocity as a message."""
    position, R, _ = true_pose(t)
    known = (variance * np.eye(6)).ravel()
    return cdr.encode_odometry(
        cdr.OdometryMessage(
            round(t * 1e9),
            "odom",
            "imu_link",
            position + (0.0 if offset is None else offset),
            Rotation.from_matrix(R).as_quat(),
            known,
            np.array([SPEED, 0.0, 0.0]),
            GYRO,
            known,
        )
    )

"""Claims about the filter over a day of data: drives and stops, an hour of them aided."""

from collections.abc import Iterator

import numpy as np
import pytest

from nn_estimation.dead_reckoning import vehicle
from nn_estimation.dead_reckoning.constants import Constants, packed
from nn_estimation.dead_reckoning.estimator import State, earth_rate, first_state
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.measurements import Aid, Known, take

pytestmark = pytest.mark.once

RATE, HOURS = 25, 24  # [Hz], [h]
ROUND, DRIVE = 600.0, 480.0  # [s] of a drive with the stop after it, and of the drive
EARTH = earth_rate(0.8)
GYRO_BIAS, ACCEL_BIAS = np.array([1e-3, -5e-4, 8e-4]), np.array([0.02, 0.03, -0.02])
CONSTANTS = Constants(
    heading_0=1e-4, gyro_bias_0=1e-6, lateral=0.2, vertical=50.0, slip=-0.05, slip_speed=-6e-4, squat=-0.005,
    lift=0.012, quiet_gyro=2e-5, quiet_accel=1e-2,
)  # fmt: skip


def hour(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,) [s], gyro, accelerometer and true position (N, 3), from the last sample of the hour before."""
    rng = np.random.default_rng(n)
    stamp = 3600.0 * n + np.arange(-1, 3600 * RATE) / RATE
    phase = stamp % ROUND
    drives, w = phase < DRIVE, 8.0 * np.pi / DRIVE
    speed = np.where(drives, 8.0 * (1.0 - np.cos(w * phase)), 0.0)
    rate = np.where(drives, 0.1 * np.sin(2.0 * w * phase), 0.0)
    aside = (CONSTANTS.slip + CONSTANTS.slip_speed * speed) * rate * speed
    yaw = np.cumsum(rate) / RATE
    forward, left = np.gradient(speed) * RATE - rate * aside, np.gradient(aside) * RATE + rate * speed
    gyro = np.column_stack([EARTH[1] * np.sin(yaw), EARTH[1] * np.cos(yaw), EARTH[2] + rate])
    accel = np.column_stack([forward, left, np.full(len(stamp), GRAVITY)])
    east, north = speed * np.cos(yaw) - aside * np.sin(yaw), speed * np.sin(yaw) + aside * np.cos(yaw)
    position = np.column_stack([east, north, np.zeros(len(stamp))]) / RATE
    shape = len(stamp), 3
    gyro += GYRO_BIAS + rng.normal(0.0, 1e-3, shape)
    accel += (
        ACCEL_BIAS + rng.normal(0.0, 1.0, shape) * np.where(drives, 0.2, 0.02)[:, None]
    )  # the road shakes
    return stamp, gyro, accel, np.cumsum(position, axis=0)


def run(state: State, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray) -> np.ndarray:
    """The compiled filter from the first sample, which the state is of, to the last; what the samples were."""
    n, c = len(stamp), CONSTANTS
    out = np.empty((n, 3, 3)), *(np.empty((n, 3)) for _ in range(3)), np.empty((0, 21, 21)), np.empty(n)
    mean, variance = np.zeros((n, 2)), np.tile([c.lateral, c.vertical], (n, 1))
    vehicle.run(*(stamp, gyro, accel, *state.arrays(), EARTH, mean, variance, packed(c)[0], *out))
    state.stamp = float(stamp[-1])
    return out[-1]


def day() -> Iterator[tuple[State, np.ndarray]]:
    """The state after each hour, and what the filter made of its samples."""
    state = first_state(CONSTANTS, -1.0 / RATE, np.zeros(3), np.eye(3), np.zeros(3))
    for n in range(HOURS):
        stamp, gyro, accel, position = hour(n)
        if n > 0:
            yield state, run(state, stamp, gyro, accel)
            continue
        nis = []
        for first in range(0, len(stamp) - 1, RATE):
            rows = slice(first, first + RATE + 1)
            nis.append(run(state, stamp[rows], gyro[rows], accel[rows])[1:])
            last = min(first + RATE, len(stamp) - 1)
            ratio, _ = take(Aid(state.stamp, Known(position[last], np.eye(3))), state, gyro[last], CONSTANTS)
            assert ratio <= 1.0
        yield state, np.concatenate(nis)


def test_a_day_leaves_covariance_and_attitude_sound() -> None:
    for n, (state, nis) in enumerate(day()):
        assert np.isfinite(state.block).all()
        np.testing.assert_array_equal(state.P, state.P.T)
        np.linalg.cholesky(state.P)  # raises where it is not positive
        scale = np.sqrt(np.diag(state.P))
        assert np.linalg.eigvalsh(state.P / np.outer(scale, scale)).min() > 1e-9
        for R in (state.R, state.C):
            np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        # A fifth of the time less half a second, and less a stop that a drift beyond 1 m/s hides.
        assert 0.12 < np.mean(nis == -1.0) < 0.2, n

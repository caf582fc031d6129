"""Claims about the online dead reckoner."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning, first_state, track
from nn_estimation.dead_reckoning.replay import encode_estimate

GRAVITY = 9.80655
LATE = Constants(gyro_delay=0.06, quiet_gyro=1e-5, quiet_accel=1e-3)


def circle(count: int = 500, dt: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps, gyro and accelerometer of a car on a circle of 50 m at 10 m/s."""
    stamp = 1.0 + dt * np.arange(count)
    gyro = np.tile([0.0, 0.0, 0.2], (count, 1))
    return stamp, gyro, np.tile([0.0, 2.0, GRAVITY], (count, 1))


def started(constants: Constants | None = None, stamp: float = 1.0, speed: float = 10.0) -> DeadReckoning:
    out = DeadReckoning(constants, latitude=0.8)
    out.start(stamp, np.zeros(3), np.eye(3), np.array([speed, 0.0, 0.0]))
    return out


def test_one_by_one_equals_all_at_once_to_the_last_bit() -> None:
    stamp, gyro, accel = circle()
    stamp[300:] += 1.0  # a gap
    whole = track(
        LATE, stamp, gyro, accel, first_state(LATE, 1.0, np.zeros(3), np.eye(3), np.array([10.0, 0, 0])), 0.8
    )
    estimator = started(LATE)
    for n in range(1, len(stamp)):
        estimate = estimator.update(stamp[n], gyro[n], accel[n])
        assert estimate is not None
        np.testing.assert_array_equal(estimate.position, whole.position[n])
        np.testing.assert_array_equal(estimate.velocity, whole.velocity[n])
        np.testing.assert_allclose(estimate.R_world_imu, whole.R[n], atol=1e-15)


def test_a_circle_closes() -> None:
    turn = 2.0 * math.pi / 0.2
    stamp, gyro, accel = circle(round(turn / 0.01) + 2)
    estimator = DeadReckoning()
    estimator.start(1.0, np.zeros(3), np.eye(3), np.array([10.0, 0.0, 0.0]))
    positions = [
        estimator.update(*sample).position for sample in zip(stamp[1:], gyro[1:], accel[1:], strict=True)
    ]
    assert np.linalg.norm(positions[-1]) < 1.0
    assert np.linalg.norm(positions[len(positions) // 2]) == pytest.approx(100.0, abs=1.0)


def test_how_far_from_the_origin_a_drive_is_changes_nothing_but_where() -> None:
    stamp, gyro, accel = circle()
    found = []
    for origin in (np.zeros(3), np.array([3e3, -4e3, 100.0])):
        start = first_state(LATE, 1.0, origin, np.eye(3), np.array([10.0, 0.0, 0.0]))
        estimator = DeadReckoning(LATE, latitude=0.8)
        estimator.start(1.0, origin, np.eye(3), np.array([10.0, 0.0, 0.0]))
        for n in range(1, len(stamp)):
            estimate = estimator.update(stamp[n], gyro[n], accel[n])
        assert estimate is not None
        moved = track(LATE, stamp, gyro, accel, start, 0.8).position - origin
        found.append((moved, estimate.covariance))
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-7)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-6, atol=1e-8)


def test_nothing_comes_out_before_the_start_or_after_a_reset() -> None:
    stamp, gyro, accel = circle(2)
    estimator = DeadReckoning()
    assert estimator.update(stamp[0], gyro[0], accel[0]) is None
    estimator = started()
    estimator.reset()
    assert estimator.update(stamp[1], gyro[1], accel[1]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_finite_are_left_out_and_counted(bad: float) -> None:
    stamp, gyro, accel = circle(3)
    estimator = started()
    gyro[1, 2] = bad
    assert estimator.update(stamp[1], gyro[1], accel[1]) is None
    after = estimator.update(stamp[2], gyro[2], accel[2])
    assert after is not None and np.isfinite(after.position).all() and np.isfinite(after.covariance).all()
    assert estimator.counts["invalid"] == 1


def test_repeated_and_backward_stamps_change_nothing() -> None:
    stamp, gyro, accel = circle(3)
    estimator = started()
    estimator.update(stamp[2], gyro[2], accel[2])
    assert estimator.state is not None
    before = estimator.state.copy()
    for late in (stamp[2], stamp[1]):
        assert estimator.update(late, gyro[1], accel[1]) is None
    for old, new in zip(before.arrays(), estimator.state.arrays(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert estimator.counts["repeated or backward"] == 2


def test_a_gap_is_bridged_at_constant_velocity_and_the_covariance_says_so() -> None:
    _, gyro, accel = circle(2)
    estimator = started()
    before = estimator.update(1.01, gyro[1] * 0, np.array([0.0, 0.0, GRAVITY]))
    after = estimator.update(3.01, gyro[1], accel[1])
    assert before is not None and after is not None
    np.testing.assert_allclose(after.position - before.position, 2.0 * before.velocity, atol=1e-6)
    assert after.covariance[0, 0] > before.covariance[0, 0] + 1.0
    assert estimator.counts["gap"] == 1


def test_an_hour_of_silence_ends_the_track() -> None:
    stamp, gyro, accel = circle(2)
    estimator = started()
    assert estimator.update(stamp[1] + 3600.0, gyro[1], accel[1]) is None
    assert estimator.state is None


def test_a_vehicle_that_stands_stays_where_it_is_and_learns_its_gyro_bias() -> None:
    rng = np.random.default_rng(0)
    constants = Constants(quiet_gyro=1e-4, quiet_accel=1e-2, gyro_bias_0=1e-4)
    estimator = started(constants, speed=0.0)
    estimator.earth = np.zeros(3)
    for n in range(1, 3000):
        gyro = np.array([0.0, 0.0, 0.005]) + rng.normal(0, 1e-3, 3)
        estimate = estimator.update(
            1.0 + 0.01 * n, gyro, np.array([0.0, 0.0, GRAVITY]) + rng.normal(0, 0.01, 3)
        )
    assert estimate is not None and estimator.state is not None
    assert estimator.counts["standstill"] > 2500
    assert np.linalg.norm(estimate.position) < 0.05
    assert estimator.state.gyro_bias[2] == pytest.approx(0.005, abs=3e-4)


@pytest.mark.parametrize("rate", [50.0, 200.0, 1000.0])
def test_the_rate_of_the_imu_hardly_changes_what_the_filter_believes(rate: float) -> None:
    at = {}
    for each in (100.0, rate):
        stamp, gyro, accel = circle(round(5.0 * each) + 1, 1.0 / each)
        estimator = started(Constants(heading_0=1e-4))
        for sample in zip(stamp[1:], gyro[1:], accel[1:], strict=True):
            estimate = estimator.update(*sample)
        assert estimate is not None
        at[each] = np.sqrt(np.diag(estimate.covariance))
    np.testing.assert_allclose(at[rate], at[100.0], rtol=0.02)


def test_a_late_gyro_is_carried_forward() -> None:
    _, gyro, accel = circle(2)
    now, late = started(Constants()), started(Constants(gyro_delay=0.06))
    for estimator in (now, late):
        estimator.update(1.01, gyro[1], accel[1])
    ahead = now.estimate().R_world_imu.T @ late.estimate().R_world_imu
    assert math.atan2(ahead[1, 0], ahead[0, 0]) == pytest.approx(0.06 * 0.2, abs=1e-6)


def test_an_estimate_says_the_same_in_all_its_parts() -> None:
    stamp, gyro, accel = circle(50)
    estimator = started(LATE)
    for n in range(1, len(stamp)):
        found = estimator.update(stamp[n], gyro[n], accel[n])
    assert found is not None
    R = found.R_world_imu
    np.testing.assert_allclose(Rotation.from_quat(found.quaternion).as_matrix(), R, atol=1e-12)
    message = cdr.decode_odometry(encode_estimate(found, 1_700_000_000_123_456_789))
    assert message.stamp_ns == 1_700_000_000_123_456_789
    np.testing.assert_array_equal(message.position, found.position)
    np.testing.assert_allclose(message.velocity, R.T @ found.velocity, atol=1e-12)
    np.testing.assert_array_equal(message.angular_velocity, found.angular_velocity)
    np.testing.assert_array_equal(message.covariance.reshape(6, 6), found.covariance)
    np.testing.assert_array_equal(message.velocity_covariance.reshape(6, 6), found.twist_covariance)
    again = estimator.estimate()
    assert again is not None
    np.testing.assert_array_equal(again.values, found.values)


def test_a_copy_of_a_state_is_independent() -> None:
    state = started(LATE).state
    assert state is not None
    other = state.copy()
    for array in other.arrays():
        array += 1.0
    for mine, theirs in zip(state.arrays(), other.arrays(), strict=True):
        assert (mine != theirs).all()

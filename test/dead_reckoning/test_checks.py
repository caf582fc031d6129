"""Claims about the signal checks: each fault is named, and nothing else is."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.checks import SignalChecks

from .scene import ACCEL, DT, GYRO


def checked(
    gyro: np.ndarray, accel: np.ndarray, seconds: float = 6.0, checks: SignalChecks | None = None
) -> SignalChecks:
    """After samples with the noise of a road."""
    checks = checks or SignalChecks()
    rng = np.random.default_rng(1)
    for _ in range(round(seconds / DT)):
        scale = np.linalg.norm(accel) / 9.8
        checks.update(gyro + rng.normal(0, 0.01, 3), accel + rng.normal(0, 0.3 * scale, 3), DT)
    return checks


def test_a_sound_imu_is_not_faulted_on_a_slope_or_in_a_curve() -> None:
    for accel in (
        ACCEL,
        Rotation.from_euler("y", 20, degrees=True).apply(ACCEL),
        ACCEL + np.array([3.0, -4.0, 0.0]),
    ):
        assert checked(GYRO, accel).fault == ""


@pytest.mark.parametrize(
    ("gyro", "accel", "words"),
    [
        (GYRO, ACCEL / 9.80665, "in g, not m/s^2"),
        (np.degrees(GYRO), ACCEL, "in deg/s, not rad/s"),
        (GYRO, 3.0 * ACCEL, "where gravity is 9.81"),
        (GYRO, np.zeros(3), "where gravity is 9.81"),
        (GYRO, ACCEL * [1, -1, -1], "upside down"),
        (GYRO, ACCEL[[2, 1, 0]], "gravity is measured along +x"),
        (GYRO, -ACCEL[[0, 2, 1]], "gravity is measured along -y"),
        (GYRO, Rotation.from_euler("y", 45, degrees=True).apply([0, 0, 9.8]), "tilted by 45 deg"),
    ],
)
def test_faults_are_named_within_seconds(gyro: np.ndarray, accel: np.ndarray, words: str) -> None:
    assert words in checked(gyro, accel).fault


def test_a_fault_is_forgotten_once_it_is_gone() -> None:
    checks = checked(GYRO, ACCEL / 9.80665)
    assert checks.fault
    assert not checked(GYRO, ACCEL, 12.0, checks).fault


def test_a_bump_is_no_fault() -> None:
    checks = checked(GYRO, ACCEL)
    for _ in range(30):
        checks.update(GYRO, np.array([0.0, 0.0, -5.0]), DT)
    assert not checks.fault


def test_samples_at_a_limit_count_as_missing_from_the_third_on() -> None:
    checks = SignalChecks()
    used = [checks.update(np.array([0.0, 0.0, z]), ACCEL, DT) for z in (0.1, 4.36, 4.36, 4.36, 4.36, 0.2)]
    assert used == [True, True, True, False, False, True]
    assert checks.saturated == 2


def test_a_constant_small_signal_is_no_limit() -> None:
    checks = SignalChecks()
    assert all(checks.update(GYRO, ACCEL, DT) for _ in range(100))


def test_the_rate_is_that_of_the_samples() -> None:
    assert checked(GYRO, ACCEL).rate == pytest.approx(100.0, rel=1e-6)


def test_innovations_alarm_only_when_they_stay_large() -> None:
    checks = SignalChecks()
    for _ in range(1000):
        checks.judge(2.0, DT)
    assert not checks.slips and checks.innovation == pytest.approx(1.0, abs=0.2)
    checks.judge(1000.0, DT)
    assert not checks.slips
    for _ in range(1000):
        checks.judge(6.0, DT)
    assert checks.slips


def test_standstill_and_gaps_are_no_innovations() -> None:
    checks = SignalChecks()
    for nis in (-1.0, -2.0):
        checks.judge(nis, 10.0)
    assert checks.innovation == 0.0

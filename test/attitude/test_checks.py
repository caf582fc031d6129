"""Claims about the signal checks: each fault is named with its remedy, and nothing else is."""

import math
from pathlib import Path

import numpy as np
import pytest

from nn_estimation.attitude.checks import FieldChecks, SignalChecks
from nn_estimation.attitude.trial import Trial, read_trial
from nn_estimation.datasets.registry import import_set

from .scene import FIELD, Motion, at_rest, turned_by_hand

MOTION = turned_by_hand()
RNG = np.random.default_rng(1)
NOISE = RNG.normal(0.0, 0.1, (2000, 3))  # [m/s^2]


def checked(
    motion: Motion,
    gyro: np.ndarray | None = None,
    accel: np.ndarray | None = None,
    checks: SignalChecks | None = None,
) -> SignalChecks:
    """After all samples of a motion, or what was made of them, with noise."""
    checks = checks or SignalChecks()
    gyro, accel = motion.gyro if gyro is None else gyro, motion.accel if accel is None else accel
    for n, (w, a) in enumerate(zip(gyro, accel, strict=True)):
        checks.update(w, a + NOISE[n % len(NOISE)] * np.linalg.norm(a) / 9.81, motion.dt if n else 0.0)
    return checks


def fields(motion: Motion, field: np.ndarray | None = None, every: int = 1) -> FieldChecks:
    """After all fields of a motion, or what was made of them, one to so many samples."""
    signals = SignalChecks()
    checks = FieldChecks(signals)
    field = motion.field if field is None else field
    for n, w in enumerate(motion.gyro):
        signals.update(w, motion.accel[n], motion.dt)
        if n % every == 0:
            checks.update(motion.stamp[n], field[n])
    return checks


# Gyro and accelerometer


@pytest.mark.parametrize("motion", [MOTION, at_rest(), turned_by_hand(scale=2.0)])
def test_sound_sensors_are_not_faulted(motion: Motion) -> None:
    found = checked(motion)
    assert (found.fault, found.doubt, found.suspicion) == ("", "", "")


def test_an_accelerometer_in_g_is_suspected_at_once_and_named_in_seconds() -> None:
    at_once = SignalChecks()
    at_once.update(MOTION.gyro[0], MOTION.accel[0] / 9.80665, 0.0)
    assert "in g, not m/s^2" in at_once.suspicion
    assert "multiply it by 9.80665" in checked(MOTION, accel=MOTION.accel / 9.80665).fault


def test_a_gyro_in_degrees_is_named_however_slowly_it_is_turned() -> None:
    for scale in (0.2, 0.5, 1.0):
        motion = turned_by_hand(scale=scale)
        found = checked(motion, np.degrees(motion.gyro)).fault
        assert "in deg/s, not rad/s" in found and "divide it by 57.2958" in found


def test_a_spin_that_no_hand_makes_is_a_gyro_in_degrees() -> None:
    rest = at_rest(6.0)
    spin = np.tile([0.0, 0.0, 60.0], (len(rest.gyro), 1))
    assert "rad/s is none of a hand, a body or a drone" in checked(rest, spin).fault
    assert not checked(rest, 0.3 * spin).fault


@pytest.mark.parametrize(
    ("order", "signs", "axes"),
    [
        ([1, 0, 2], [1, 1, 1], "y, x, z"),
        ([0, 1, 2], [1, 1, -1], "x, y, -z"),
        ([0, 2, 1], [1, -1, 1], "x, z, -y"),
    ],
)
def test_an_accelerometer_of_other_axes_is_named_with_those_to_take(
    order: list[int], signs: list[int], axes: str
) -> None:
    found = checked(MOTION, accel=MOTION.accel[:, order] * signs)
    assert "gyro and accelerometer have different axes" in found.doubt
    assert f"as its {axes};" in found.doubt
    assert not found.fault


def test_free_fall_is_named_once_it_lasts_and_forgotten_after() -> None:
    rest = at_rest(2.5)
    checks = checked(rest)
    checked(rest, accel=0.02 * rest.accel, checks=checks)
    assert not checks.doubt  # the mean takes a while to fall
    checked(at_rest(4.0), accel=0.02 * at_rest(4.0).accel, checks=checks)
    assert "free fall" in checks.doubt and not checks.fault
    checked(at_rest(8.0), checks=checks)
    assert not checks.doubt


def test_an_accelerometer_of_another_scale_is_doubted() -> None:
    assert "where gravity is 9.81" in checked(MOTION, accel=3.0 * MOTION.accel).doubt


def test_a_fault_is_forgotten_once_it_is_gone() -> None:
    for gyro, accel in ((None, MOTION.accel / 9.80665), (np.degrees(MOTION.gyro), None)):
        checks = checked(MOTION, gyro, accel)
        assert checks.fault
        assert not checked(turned_by_hand(60.0), checks=checks).fault


def test_samples_at_a_limit_are_counted() -> None:
    checks = SignalChecks()
    for z in (0.1, 34.9, 34.9, 34.9, 34.9, 0.2):
        checks.update(np.array([0.0, 0.0, z]), np.array([0.0, 0.0, 9.81]), 0.01)
    assert checks.watch.saturated == 2


# Magnetometer


@pytest.mark.parametrize(
    ("scale", "unit"),
    [(1.0, "tesla"), (1e4, "gauss"), (1e6, "microtesla"), (1e7, "milligauss"), (1e9, "nanotesla")],
)
def test_the_unit_of_the_field_is_named(scale: float, unit: str) -> None:
    found = fields(MOTION, scale * MOTION.field)
    assert found.unit.split(",")[0] == unit
    assert ("REP-145 has tesla" in found.unit) == (unit != "tesla")
    assert not found.doubt


def test_a_normalised_field_and_one_of_no_unit_are_named() -> None:
    assert "normalised" in fields(MOTION, MOTION.field / np.linalg.norm(FIELD)).unit
    assert "unknown" in fields(MOTION, 1e-3 * MOTION.field).unit
    assert FieldChecks(SignalChecks()).unit == "unknown"


@pytest.mark.parametrize(("every", "rate"), [(1, 100.0), (5, 20.0), (10, 10.0)])
def test_a_magnetometer_may_have_another_rate(every: int, rate: float) -> None:
    found = fields(MOTION, every=every)
    assert found.rate == pytest.approx(rate) and not found.doubt
    swapped = MOTION.field[:, [1, 0, 2]]
    assert "gyro and magnetometer have different axes" in fields(MOTION, swapped, every).doubt


@pytest.mark.parametrize(
    ("order", "signs", "axes"), [([1, 0, 2], [1, 1, -1], "y, x, -z"), ([0, 1, 2], [1, -1, 1], "x, -y, z")]
)
def test_a_magnetometer_of_other_axes_is_named_with_those_to_take(
    order: list[int], signs: list[int], axes: str
) -> None:
    assert f"as its {axes};" in fields(MOTION, MOTION.field[:, order] * signs).doubt


def test_a_magnet_that_turns_along_is_named() -> None:
    found = fields(MOTION, MOTION.field + np.array([150e-6, 0.0, 50e-6]))
    assert "the field does not turn as the gyro says" in found.doubt


def test_a_field_that_stands_still_while_the_body_turns_is_named() -> None:
    stuck = np.tile(FIELD, (len(MOTION.field), 1)) + RNG.normal(0.0, 1e-7, MOTION.field.shape)
    assert "the field does not turn as the gyro says" in fields(MOTION, stuck).doubt


def test_a_silence_of_the_magnetometer_is_no_turning_and_no_rate() -> None:
    signals = SignalChecks()
    checks = FieldChecks(signals)
    for n, w in enumerate(MOTION.gyro):
        signals.update(w, MOTION.accel[n], MOTION.dt)
        if not 600 < n < 1400:
            checks.update(MOTION.stamp[n], MOTION.field[n])
    assert checks.rate == pytest.approx(100.0) and not checks.doubt


def test_nothing_is_known_before_the_first_field() -> None:
    checks = FieldChecks(SignalChecks())
    assert math.isnan(checks.rate) and math.isnan(checks.last)


# Real recordings


def trial_checks(trial: Trial, order: list[int], signs: list[int]) -> tuple[set[str], set[str]]:
    """All that was said of the accelerometer and of the magnetometer, one look a second."""
    signals = SignalChecks()
    magnetometer = FieldChecks(signals)
    said: tuple[set[str], set[str]] = set(), set()
    m, looked, last = 0, trial.stamp[0], trial.stamp[0]
    for t, w, a in zip(trial.stamp, trial.gyro, trial.accel, strict=True):
        signals.update(w, a, t - last)
        last = t
        while m < len(trial.mag_stamp) and trial.mag_stamp[m] <= t:
            magnetometer.update(trial.mag_stamp[m], trial.mag[m, order] * signs)
            m += 1
        if t > looked + 1.0:
            looked = t
            said[0].update({signals.fault, signals.doubt} - {""})
            said[1].update({magnetometer.doubt} - {""})
    return said


def test_on_a_real_trial_only_a_magnetometer_that_was_swapped_is_named(
    data_root: Path, tmp_path: Path
) -> None:
    ((_, bag),) = import_set(
        "broad", data_root / "attitude" / "broad", tmp_path, "21_undisturbed_fast_combined"
    )
    trial = read_trial(bag)
    accelerometer, magnetometer = trial_checks(trial, [0, 1, 2], [1, 1, 1])
    assert not accelerometer and not magnetometer
    _, swapped = trial_checks(trial, [1, 0, 2], [1, 1, -1])
    assert any("as its y, x, -z;" in text for text in swapped)

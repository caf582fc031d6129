"""Claims about what every wing asks of the samples of an IMU."""

import math

import numpy as np
import pytest

from nn_estimation.imu_checks import FASTEST, HARDEST, Lasting, SampleWatch, beyond, in_degrees, in_g

UP = np.array([0.0, 0.0, 9.81])


def test_the_mean_size_does_not_suffer_from_turning() -> None:
    watch = SampleWatch()
    for n in range(2000):
        angle = 0.05 * n
        watch.update(
            np.array([5.0, 0.0, 0.0]), 9.81 * np.array([0.0, math.sin(angle), math.cos(angle)]), 0.01
        )
    assert watch.size == pytest.approx(9.81, rel=1e-3)
    assert np.linalg.norm(watch.accel) < 2.0
    assert watch.turn == pytest.approx(5.0, rel=0.01)
    assert watch.rate == pytest.approx(100.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e5, -1e200])
@pytest.mark.parametrize("place", range(6))
def test_a_sample_that_no_imu_measures_is_seen(value: float, place: int) -> None:
    sample = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 9.81])
    sample[place] = value
    assert beyond(sample[:3], sample[3:])


def test_what_the_largest_sensors_measure_is_none_of_these() -> None:
    assert not beyond(np.array([0.0, 0.99 * FASTEST, 0.0]), np.array([0.99 * HARDEST, 0.0, 0.0]))


def test_the_rate_is_unknown_while_too_few_samples_have_come() -> None:
    watch = SampleWatch()
    for _ in range(50):
        watch.update(np.zeros(3), UP, 0.01)
    assert math.isnan(watch.rate)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("limit", [-34.9, 34.9])
def test_an_axis_at_its_limit_counts_from_the_third_equal_sample_on(axis: int, limit: float) -> None:
    watch = SampleWatch()
    gyro = np.zeros(3)
    gyro[axis] = limit
    assert [watch.update(gyro, UP, 0.01) for _ in range(5)] == [True, True, False, False, False]
    watch.reset()
    assert watch.saturated == 3
    accel = np.zeros(3)
    accel[axis] = 4.0 * limit
    assert [watch.update(np.zeros(3), accel, 0.01) for _ in range(5)] == [True, True, False, False, False]


def test_units_are_named_with_their_remedy_and_sound_ones_are_not() -> None:
    assert "multiply it by 9.80665" in in_g(1.0)
    assert in_g(9.81) == in_g(0.0) == ""
    assert "divide it by 57.2958" in in_degrees(30.0, 4.0, "a vehicle")
    assert in_degrees(3.0, 4.0, "a vehicle") == ""


def test_a_finding_is_said_once_it_has_lasted_and_forgotten_as_late() -> None:
    lasting = Lasting(2.0)
    said = []
    for age in np.arange(0.0, 10.0, 0.5):
        lasting.update("wrong" if 1.0 <= age < 6.0 else "", age)
        said.append(lasting.said)
    assert said == 6 * [""] + 10 * ["wrong"] + 4 * [""]

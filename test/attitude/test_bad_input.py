"""Claims about bad input: each kind has a defined behaviour and is said in the diagnostics."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from nn_estimation.attitude.kernel import FIELD_AGE
from nn_estimation.attitude.stream import (
    FAR_FIELD,
    GAP,
    IMU_TOPIC,
    INVALID_FIELD,
    LATE_FIELD,
    MAG_TOPIC,
    NO_ACCELERATION,
)
from nn_estimation.imu_stream import INVALID_SAMPLE, INVALID_STAMP, JUMP, LATE, MALFORMED

from .scene import BEGIN, FIELD, imu, mag, turned_by_hand
from .streams import MOTION, REST, UP, aspect, off, run, running, stream

# Bad samples


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_samples_that_are_no_numbers_are_counted_and_bridged(value: float) -> None:
    found = running()
    for n in (400, 401):
        t = REST.stamp[n]
        assert found.feed(IMU_TOPIC, imu(t, np.array([0.0, value, 0.0]), UP)) is None
        assert found.feed(IMU_TOPIC, imu(t, np.zeros(3), np.array([value, 0.0, 9.81]))) is None
    attitude = run(found, REST, 402, 403)[-1]
    assert found.counts[INVALID_SAMPLE] == 4
    assert off(attitude, REST.truth[0]) < 1.0
    for _ in range(2):  # reports; what is in one alone is never said
        assert "4 with invalid sample" in aspect(found, "input")[0]
    assert "invalid" not in aspect(found, "input")[0]


@pytest.mark.parametrize("gyro, accel", [(9e5, 0.0), (-101.0, 0.0), (0.0, 9e5), (0.0, 4001.0)])
def test_a_sample_that_no_imu_measures_is_left_out(gyro: float, accel: float) -> None:
    found = running()
    assert (
        found.feed(
            IMU_TOPIC, imu(REST.stamp[400], np.array([gyro, 0.0, 0.0]), UP + np.array([accel, 0.0, 0.0]))
        )
        is None
    )
    out = run(found, REST, 401)
    assert found.counts[INVALID_SAMPLE] == 1 and None not in out
    assert max(off(attitude, REST.truth[0]) for attitude in out) < 1.0
    assert aspect(found, "units")[0] == ""


def test_a_gyro_in_degrees_is_named_where_it_turns_faster_than_any_gyro_measures() -> None:
    """Turns by hand of 2 rad/s and more are above 100 deg/s: read as rad/s, hardly a sample of them is of use."""
    fast, found = turned_by_hand(scale=4.0), stream()
    for n, t in enumerate(fast.stamp):
        attitude = found.feed(IMU_TOPIC, imu(t, np.degrees(fast.gyro[n]), fast.accel[n]))
    assert attitude is None and found.counts[INVALID_SAMPLE] > 1000
    assert "in deg/s, not rad/s" in aspect(found, "units")[0]


def test_an_accelerometer_that_says_nothing_is_counted() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, imu(REST.stamp[400], np.zeros(3), np.zeros(3))) is None
    assert found.counts[NO_ACCELERATION] == 1
    assert "1 with zero acceleration" in aspect(found, "input")[0]
    assert stream().feed(IMU_TOPIC, imu(BEGIN, np.zeros(3), np.zeros(3))) is None


def test_repeated_and_backward_stamps_are_left_out() -> None:
    found = running()
    before = found.attitude
    assert run(found, REST, 399, 400, field=False) == [None]
    assert run(found, REST, 350, 351, field=False) == [None]
    assert found.counts[LATE] == 2 and found.attitude is before


def test_a_bag_that_loops_starts_anew() -> None:
    found = stream()
    run(found, MOTION)
    again = run(found, MOTION, 0, 300)
    assert found.counts[JUMP] == 1
    assert again[0] is None
    assert off(again[-1], MOTION.truth[299]) < 1.0


def test_a_gap_of_a_second_is_bridged() -> None:
    found = running()
    attitude = run(found, REST, 500, 501)[-1]
    assert off(attitude, REST.truth[0]) < 2.0 and found.counts[GAP] == 0


def test_a_field_from_just_before_a_gap_does_not_count_after_it() -> None:
    """Nothing says how far the body turned in between: not the rate at its end."""
    found = running()
    late, before = found.estimator.counts["field too late"], found.estimator.state.carried.copy()
    t = REST.stamp[399] + 5.0
    attitude = found.feed(IMU_TOPIC, imu(t, np.array([0.0, 0.0, 2.0]), UP))
    np.testing.assert_array_equal(found.estimator.state.carried, before)
    assert found.estimator.counts["field too late"] == late + 1
    assert off(attitude, REST.truth[0]) < 0.5


def test_after_a_short_gap_the_network_waits_for_a_field() -> None:
    found = running()
    found.feed(IMU_TOPIC, imu(REST.stamp[399] + 0.3, np.array([0.0, 0.0, 2.0]), UP))
    assert found.estimator.state.clock[0] >= FIELD_AGE
    run(found, REST, 430, 435)
    assert found.estimator.state.clock[0] < FIELD_AGE


def test_a_gap_of_an_hour_starts_anew() -> None:
    found = running()
    later = 3600.0
    assert found.feed(IMU_TOPIC, imu(REST.stamp[399] + later, np.zeros(3), UP)) is None
    assert found.counts[GAP] == 1 and found.attitude is None
    for n in range(100):
        attitude = found.feed(IMU_TOPIC, imu(REST.stamp[400 + n] + later, np.zeros(3), UP))
    assert attitude is not None


def test_malformed_messages_and_zero_stamps_are_counted() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, b"\x00\x01\x00\x00") is None
    assert found.feed(MAG_TOPIC, b"") is None
    assert found.feed(IMU_TOPIC, imu(0.0, np.zeros(3), UP)) is None
    assert found.feed(MAG_TOPIC, mag(0.0, FIELD)) is None
    assert (found.counts[MALFORMED], found.counts[INVALID_STAMP]) == (2, 2)


@pytest.mark.parametrize("wrong", ["g", "deg/s"])
def test_wrong_units_are_named_and_nothing_is_published(wrong: str) -> None:
    change: dict[str, Callable[[int], bytes]] = {
        "g": lambda n: imu(MOTION.stamp[n], MOTION.gyro[n], MOTION.accel[n] / 9.80665),
        "deg/s": lambda n: imu(MOTION.stamp[n], np.degrees(MOTION.gyro[n]), MOTION.accel[n]),
    }
    found = stream()
    out = [found.feed(IMU_TOPIC, change[wrong](n)) for n in range(len(MOTION.stamp))]
    assert out[-1] is None
    if wrong == "g":
        assert out == [None] * len(out)  # never begins
    problem, _ = aspect(found, "units")
    assert {"g": "in g, not m/s^2", "deg/s": "in deg/s, not rad/s"}[wrong] in problem
    assert "nothing is published" in problem
    assert aspect(found, "estimate")[0]


def test_it_goes_on_by_itself_once_the_units_are_right() -> None:
    found = stream()
    for n in range(800):
        found.feed(IMU_TOPIC, imu(BEGIN + 0.01 * n, np.zeros(3), UP / 9.80665))
    assert aspect(found, "units")[0]
    for n in range(800, 2400):
        attitude = found.feed(IMU_TOPIC, imu(BEGIN + 0.01 * n, np.zeros(3), UP))
    assert attitude is not None and not aspect(found, "units")[0]


def test_swapped_axes_of_the_accelerometer_are_named_and_the_node_goes_on() -> None:
    found = stream()
    for n, t in enumerate(MOTION.stamp):
        attitude = found.feed(IMU_TOPIC, imu(t, MOTION.gyro[n], MOTION.accel[n][[1, 0, 2]]))
    assert attitude is not None and np.isfinite(attitude.quaternion).all()
    assert "gyro and accelerometer have different axes" in aspect(found, "accelerometer")[0]


def test_a_saturated_axis_is_used_counted_and_said_in_two_reports() -> None:
    found = running()
    clipped = np.array([0.0, 0.0, 34.9])
    out = [found.feed(IMU_TOPIC, imu(REST.stamp[n], clipped, UP)) for n in range(400, 410)]
    assert all(attitude is not None for attitude in out)
    for _ in range(2):
        problem, values = aspect(found, "input")
        assert "8 samples at the limit of the sensor" in problem and values["saturated"] == 8
    assert "limit" not in aspect(found, "input")[0]


def test_free_fall_is_said_and_the_tilt_is_held() -> None:
    found = running()
    rng = np.random.default_rng(0)
    for n in range(400, 800):
        attitude = found.feed(IMU_TOPIC, imu(REST.stamp[n], np.zeros(3), rng.normal(0.0, 0.02, 3)))
    assert off(attitude, REST.truth[0]) < 5.0
    assert "free fall" in aspect(found, "accelerometer")[0]


# Bad fields


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200, 0.0])
def test_fields_that_are_none_are_counted_and_the_attitude_goes_on(value: float) -> None:
    found = running()
    found.feed(MAG_TOPIC, mag(REST.stamp[400], np.full(3, value)))
    assert found.counts[INVALID_FIELD] == 1
    assert off(run(found, REST, 400, 450)[-1], REST.truth[0]) < 1.0


def test_repeated_and_backward_fields_are_left_out() -> None:
    found = running()
    for n in (399, 380):
        found.feed(MAG_TOPIC, mag(REST.stamp[n], FIELD))
    assert found.counts[LATE_FIELD] == 2


def test_fields_of_another_clock_are_left_out_and_said() -> None:
    found = stream()
    for n in range(300):
        found.feed(IMU_TOPIC, imu(REST.stamp[n], np.zeros(3), UP))
        found.feed(MAG_TOPIC, mag(REST.stamp[n] + 3600.0, FIELD))
    assert found.counts[FAR_FIELD] == 300
    assert "must be stamped within 1 s of the samples" in aspect(found, "input")[0]
    assert "no field yet" in aspect(found, "magnetometer")[0]


def test_fields_of_the_future_before_the_first_sample_do_not_turn_the_magnetometer_off() -> None:
    found = stream()
    for ahead in (-0.01, 3600.0, 3601.0):
        found.feed(MAG_TOPIC, mag(BEGIN + ahead, FIELD))
    attitude = run(found, REST)[-1]
    assert (found.counts[FAR_FIELD], found.counts[LATE_FIELD]) == (2, 1)  # and that before the first sample
    assert found.estimator.counts["field"] > 790
    assert attitude is not None and attitude.covariance[2, 2] < 0.1
    assert "2 with field far from the samples" in aspect(found, "input")[0]


def test_a_field_between_a_reset_and_the_next_loop_of_a_bag_does_not_turn_the_magnetometer_off() -> None:
    found = stream()
    run(found, REST)
    heard = found.estimator.counts["field"]
    found.reset()
    found.feed(MAG_TOPIC, mag(REST.stamp[-1] + 0.01, FIELD))
    assert aspect(found, "magnetometer")[0] == ""  # no sample to compare it with
    run(found, REST)
    assert (found.counts[FAR_FIELD], found.counts[LATE_FIELD]) == (1, 1)  # and that before the first sample
    assert found.estimator.counts["field"] == 2 * heard - 1


def test_a_field_ahead_of_the_samples_is_no_field_of_now() -> None:
    found = running()
    found.fields.last += 3600.0
    assert "no field for 3600.0 s" in aspect(found, "magnetometer")[0]


def test_a_magnetometer_that_stops_is_said_and_the_heading_held() -> None:
    found = running()
    attitude = run(found, REST, 400, 700, field=False)[-1]
    assert off(attitude, REST.truth[0]) < 2.0
    problem, _ = aspect(found, "magnetometer")
    assert "no field for 3.0 s on imu/mag: the heading is by the gyro alone" in problem
    run(found, REST, 700, 720)
    assert aspect(found, "magnetometer")[0] == ""


@pytest.mark.parametrize("every", [2, 5, 20])
def test_a_magnetometer_of_another_rate_will_do(every: int) -> None:
    found = stream()
    for n, t in enumerate(MOTION.stamp):
        if n % every == 0:
            found.feed(MAG_TOPIC, mag(t, MOTION.field[n]))
        attitude = found.feed(IMU_TOPIC, imu(t, MOTION.gyro[n], MOTION.accel[n]))
    assert off(attitude, MOTION.truth[-1]) < 3.0
    problem, values = aspect(found, "magnetometer")
    assert problem == "" and values["rate [Hz]"] == pytest.approx(100.0 / every, rel=0.01)


def test_a_magnetometer_of_other_axes_is_named_and_the_node_goes_on() -> None:
    found = stream()
    for n, t in enumerate(MOTION.stamp):
        found.feed(MAG_TOPIC, mag(t, MOTION.field[n][[1, 0, 2]] * [1.0, 1.0, -1.0]))
        attitude = found.feed(IMU_TOPIC, imu(t, MOTION.gyro[n], MOTION.accel[n]))
    assert attitude is not None
    problem, _ = aspect(found, "magnetometer")
    assert "different axes" in problem and "as its y, x, -z;" in problem

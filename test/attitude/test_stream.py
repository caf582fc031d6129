"""Claims about the stream: what comes in in which frame, and bad input of all kinds."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.batch import track
from nn_estimation.attitude.estimator import Attitude
from nn_estimation.attitude.frames import FROM_ENU
from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import classical_setup
from nn_estimation.attitude.stream import (
    FAR_FIELD,
    GAP,
    IMU_TOPIC,
    INVALID_FIELD,
    INVALID_SAMPLE,
    INVALID_STAMP,
    JUMP,
    LATE,
    LATE_FIELD,
    MAG_TOPIC,
    MALFORMED,
    NO_ACCELERATION,
    AttitudeStream,
    StreamParams,
)
from nn_estimation.attitude.warm_up import warm_up

from .scene import BEGIN, FIELD, Motion, at_rest, imu, mag, turned_by_hand

SETUP = classical_setup("filter")
MOTION = turned_by_hand()
REST = at_rest(8.0)
UP = np.array([0.0, 0.0, 9.81])


def stream(**params: object) -> AttitudeStream:
    return AttitudeStream(SETUP, StreamParams(**params))  # type: ignore[arg-type]


def run(
    found: AttitudeStream, motion: Motion, first: int = 0, last: int | None = None, field: bool = True
) -> list[Attitude | None]:
    """Samples of a motion, each after the field of its stamp."""
    out = []
    for n in range(first, len(motion.stamp) if last is None else last):
        if field:
            found.feed(MAG_TOPIC, mag(motion.stamp[n], motion.field[n]))
        out.append(found.feed(IMU_TOPIC, imu(motion.stamp[n], motion.gyro[n], motion.accel[n])))
    return out


def running(**params: object) -> AttitudeStream:
    """Four seconds at rest."""
    found = stream(**params)
    assert run(found, REST, 0, 400)[-1] is not None
    return found


def off(attitude: Attitude | None, truth: Rotation) -> float:
    """[deg] between an attitude and the truth."""
    assert attitude is not None
    return math.degrees((Rotation.from_quat(attitude.quaternion) * truth.inv()).magnitude())


def aspect(found: AttitudeStream, name: str) -> tuple[str, dict[str, object]]:
    return next((problem, values) for aspect, problem, values in health(found) if aspect == name)


# What comes out


def test_an_attitude_comes_for_every_sample_within_a_second() -> None:
    out = run(stream(), REST)
    first = next(n for n, found in enumerate(out) if found is not None)
    assert first <= 100
    assert all(found is not None for found in out[first:])
    assert off(out[-1], REST.truth[-1]) < 1.0


def test_a_body_turned_by_hand_is_followed() -> None:
    assert off(run(stream(), MOTION)[-1], MOTION.truth[-1]) < 2.0


@pytest.mark.parametrize("frame", ["enu", "ned", "nwu"])
def test_the_world_is_that_which_is_asked_for(frame: str) -> None:
    """An axis of the sensor that points up, north or east points where the frame has it."""
    plain, turned = run(stream(), MOTION)[-1], run(stream(world_frame=frame), MOTION)[-1]
    assert plain is not None and turned is not None
    up, north, east = {
        "enu": ([0, 0, 1], [0, 1, 0], [1, 0, 0]),
        "ned": ([0, 0, -1], [1, 0, 0], [0, 1, 0]),
        "nwu": ([0, 0, 1], [1, 0, 0], [0, -1, 0]),
    }[frame]
    inward = Rotation.from_quat(plain.quaternion).inv()
    outward = Rotation.from_quat(turned.quaternion)
    for axis, there in (([0, 0, 1], up), ([0, 1, 0], north), ([1, 0, 0], east)):
        np.testing.assert_allclose(outward.apply(inward.apply(axis)), there, atol=1e-9)
    R = FROM_ENU[frame]
    np.testing.assert_allclose(turned.covariance, R @ plain.covariance @ R.T, atol=1e-12)


@pytest.mark.parametrize("frame", ["enu", "ned", "nwu"])
def test_with_a_declination_to_the_east_what_looks_to_magnetic_north_looks_east_of_north(frame: str) -> None:
    plain = run(stream(), REST)[-1]
    turned = run(stream(declination=math.radians(10.0), world_frame=frame), REST)[-1]
    assert plain is not None and turned is not None
    magnetic_north = Rotation.from_quat(plain.quaternion).inv().apply([0.0, 1.0, 0.0])
    true = Rotation.from_quat(turned.quaternion).apply(magnetic_north)
    east, north = {"enu": (true[0], true[1]), "ned": (true[1], true[0]), "nwu": (-true[1], true[0])}[frame]
    assert math.degrees(math.atan2(east, north)) == pytest.approx(10.0, abs=1e-6)


def test_a_mounted_imu_gives_the_attitude_of_the_body() -> None:
    mounting = Rotation.from_euler("xyz", [180.0, 0.0, 90.0], degrees=True)
    plain, turned = stream(), stream(mounting=(math.pi, 0.0, math.pi / 2))
    back = mounting.inv()
    for n, t in enumerate(MOTION.stamp):
        w, a, m = MOTION.gyro[n], MOTION.accel[n], MOTION.field[n]
        plain.feed(MAG_TOPIC, mag(t, m))
        one = plain.feed(IMU_TOPIC, imu(t, w, a))
        turned.feed(MAG_TOPIC, mag(t, back.apply(m)))
        other = turned.feed(
            IMU_TOPIC, imu(t, back.apply(w), back.apply(a), variances=((1.0, 2.0, 3.0), -1.0))
        )
    assert one is not None and other is not None and turned.sample is not None
    assert off(other, Rotation.from_quat(one.quaternion)) < 0.01
    np.testing.assert_allclose(turned.sample.accel, MOTION.accel[-1], atol=1e-9)
    np.testing.assert_allclose(
        turned.sample.gyro_covariance.reshape(3, 3), np.diag([2.0, 1.0, 3.0]), atol=1e-12
    )
    assert turned.sample.accel_covariance[0] == -1.0  # says that there is none


def test_without_a_magnetometer_the_heading_counts_from_the_start_and_says_so() -> None:
    found = stream(use_mag=False)
    assert found.topics == {IMU_TOPIC: cdr.IMU}
    attitude = run(found, MOTION, field=False)[-1]
    assert attitude is not None
    turned = Rotation.from_quat(attitude.quaternion) * MOTION.truth[-1].inv()
    np.testing.assert_allclose(turned.apply([0.0, 0.0, 1.0]), [0.0, 0.0, 1.0], atol=0.03)
    assert attitude.covariance[2, 2] > 1.0
    assert aspect(found, "magnetometer") == ("", {"used": False})


def test_a_magnetometer_that_never_speaks_is_said() -> None:
    found = stream()
    run(found, REST, 0, 200, field=False)
    assert "no field yet on imu/mag: the heading counts from the start" in aspect(found, "magnetometer")[0]


def test_the_order_of_field_and_sample_of_one_stamp_does_not_count() -> None:
    before, after = stream(), stream()
    one = run(before, MOTION)[-1]
    for n, t in enumerate(MOTION.stamp):
        other = after.feed(IMU_TOPIC, imu(t, MOTION.gyro[n], MOTION.accel[n]))
        after.feed(MAG_TOPIC, mag(t, MOTION.field[n]))
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.quaternion, other.quaternion)
    np.testing.assert_array_equal(one.covariance, other.covariance)


def test_the_output_is_decimated_to_the_rate_that_is_asked_for() -> None:
    published = [found for found in run(stream(publish_rate=20.0), MOTION) if found is not None]
    assert len(published) == pytest.approx(400, abs=25)


@pytest.mark.parametrize("rate", [50.0, 286.0, 1000.0, 2000.0])
def test_any_rate_will_do(rate: float) -> None:
    motion = turned_by_hand(8.0, rate)
    found = stream()
    assert off(run(found, motion)[-1], motion.truth[-1]) < 2.0
    assert aspect(found, "input")[1]["rate [Hz]"] == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("scale", [1e4, 1e6, 1e9, 1.0 / np.linalg.norm(FIELD)])
def test_the_unit_of_the_field_does_not_count_but_is_named(scale: float) -> None:
    plain, scaled = stream(), stream()
    for n, t in enumerate(MOTION.stamp):
        for found, factor in ((plain, 1.0), (scaled, scale)):
            found.feed(MAG_TOPIC, mag(t, factor * MOTION.field[n]))
        data = imu(t, MOTION.gyro[n], MOTION.accel[n])
        one, other = plain.feed(IMU_TOPIC, data), scaled.feed(IMU_TOPIC, data)
    assert one is not None and other is not None
    np.testing.assert_allclose(other.quaternion, one.quaternion, atol=1e-6)
    problem, values = aspect(scaled, "magnetometer")
    assert problem == "" and "REP-145 has tesla" in str(values["unit"])
    assert aspect(plain, "magnetometer")[1]["unit"] == "tesla"


def test_methods_change_under_way_without_a_new_start() -> None:
    found = running()
    found.use(classical_setup("vqf"))
    attitude = run(found, REST, 400, 420)[-1]
    assert off(attitude, REST.truth[0]) < 1.0
    assert aspect(found, "network")[1]["method"] == "vqf"


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
    assert "4 with invalid sample" in aspect(found, "input")[0]
    assert "invalid" not in aspect(found, "input")[0]  # said once


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


def test_a_saturated_axis_is_used_counted_and_said_once() -> None:
    found = running()
    clipped = np.array([0.0, 0.0, 34.9])
    out = [found.feed(IMU_TOPIC, imu(REST.stamp[n], clipped, UP)) for n in range(400, 410)]
    assert all(attitude is not None for attitude in out)
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


# Health


def test_silence_is_said_by_the_clock() -> None:
    now = [0.0]
    found = AttitudeStream(SETUP, clock=lambda: now[0])
    assert "no samples yet on imu/data_raw" in aspect(found, "input")[0]
    run(found, REST, 0, 10)
    assert "no samples" not in aspect(found, "input")[0]
    now[0] = 3.0
    assert "no samples for 3.0 s on imu/data_raw" in aspect(found, "input")[0]


def test_health_says_what_there_is_to_know() -> None:
    found = AttitudeStream(SETUP, clock=lambda: 0.0)
    run(found, REST, 0, 400)
    assert [problem for _, problem, _ in health(found) if problem] == []
    _, values = aspect(found, "estimate")
    for name in ("tilt std [deg]", "heading std [deg]", "gyro bias z [deg/s]", "gyro bias std [deg/s]"):
        assert math.isfinite(float(str(values[name])))


def test_a_warm_up_leaves_nothing_behind() -> None:
    warm_up(SETUP)
    one = run(stream(), REST, 0, 200)[-1]
    warm_up(SETUP)
    other = run(stream(), REST, 0, 200)[-1]
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.quaternion, other.quaternion)


def test_the_stream_gives_the_numbers_of_a_whole_recording_at_once() -> None:
    out = run(stream(), MOTION)
    whole = track(SETUP, MOTION.stamp, MOTION.gyro, MOTION.accel, MOTION.stamp, MOTION.field)
    for n in range(0, len(MOTION.stamp), 10):
        found = out[n]
        if found is not None:
            np.testing.assert_allclose(found.quaternion, whole.quaternion[n], atol=1e-9)
            np.testing.assert_allclose(found.covariance, whole.covariance[n], atol=1e-9)

"""Claims about the stream: what comes out of which input, in which frame, and what health says."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.batch import track
from nn_estimation.attitude.frames import FROM_ENU
from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import Setup, classical_setup, load_setups
from nn_estimation.attitude.stream import (
    IMU_TOPIC,
    MAG_TOPIC,
    UNUSUAL,
    AttitudeStream,
)
from nn_estimation.attitude.warm_up import warm_up
from nn_estimation.inference import Model

from .scene import FIELD, imu, mag, turned_by_hand
from .streams import MOTION, REST, SETUP, aspect, off, run, running, stream
from .trials import write_model

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
    assert one is not None and other is not None and turned.imu is not None
    assert off(other, Rotation.from_quat(one.quaternion)) < 0.01
    np.testing.assert_allclose(turned.imu.accel, MOTION.accel[-1], atol=1e-9)
    np.testing.assert_allclose(turned.imu.gyro_covariance.reshape(3, 3), np.diag([2.0, 1.0, 3.0]), atol=1e-12)
    assert turned.imu.accel_covariance[0] == -1.0  # says that there is none


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


def rough(seed: int) -> Iterator[tuple[str, bytes]]:
    """A motion with all that can be wrong now and then: samples, fields, stamps, gaps and units."""
    rng = np.random.default_rng(seed)
    later = 0.0
    for n, t in enumerate(MOTION.stamp):
        gyro, accel, field = MOTION.gyro[n].copy(), MOTION.accel[n].copy(), MOTION.field[n].copy()
        later += {700: 0.4, 900: 15.0}.get(n, 0.0)  # gaps
        t += later - {1300: 0.01, 1500: 5.0}.get(n, 0.0)  # a repetition, and a jump back
        if 1000 < n < 1250:
            gyro *= 57.3  # and the attitude is withdrawn
        chance = rng.random()
        if chance < 0.01:
            gyro[0] = np.nan
        elif chance < 0.02:
            accel[:] = 0.0
        elif chance < 0.03:
            field[2] = np.inf
        if rng.random() < 0.7:
            yield MAG_TOPIC, mag(t, field)
        data = imu(t, gyro, accel)
        yield IMU_TOPIC, data[:-8] if chance > 0.99 else data


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "params", [{}, {"world_frame": "ned", "mounting": (0.1, -0.2, 3.0), "publish_rate": 30.0}]
)
def test_the_short_way_of_a_usual_sample_is_the_long_one(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, object], seed: int
) -> None:
    found, taken = [], []
    for usual in (True, False):
        if not usual:
            monkeypatch.setattr("nn_estimation.attitude.stream._usual", lambda *_: UNUSUAL)
        made = stream(**params)
        out: list[bytes | None] = []
        for topic, data in rough(seed):
            attitude = made.feed(topic, data)
            out.append(None if attitude is None else cdr.encode_imu(made.imu) + attitude.values.tobytes())
        found.append(out)
        taken.append((dict(made.counts), made.checks.watch.saturated, made.field_age))
    assert found[0] == found[1] and taken[0] == taken[1]
    assert sum(each is not None for each in found[0]) > 100 and len(set(map(type, found[0]))) == 2


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


def learned(tmp_path: Path, valid: tuple[float, float]) -> Setup:
    """The method `network` of a model that speaks where all features are in the valid range."""
    pytest.importorskip("onnxruntime")
    return load_setups(Model.load(write_model(tmp_path / "model.onnx", valid=valid), provider="cpu"))[
        "network"
    ]


def test_a_network_that_speaks_is_said(tmp_path: Path) -> None:
    found = AttitudeStream(learned(tmp_path, (-100.0, 100.0)))
    run(found, MOTION)
    problem, values = aspect(found, "network")
    assert problem == "" and values["speaks"] is True
    assert float(str(values["share of the heading"])) > 0.0
    assert aspect(found, "estimate")[1]["method"] == "network"


def test_a_network_out_of_its_range_is_said(tmp_path: Path) -> None:
    found = AttitudeStream(learned(tmp_path, (-1e-6, 1e-6)))
    run(found, MOTION)
    problem, values = aspect(found, "network")
    assert problem == "out of range: the heading is that of VQF"
    assert values["speaks"] is False and int(str(values["out of range"])) > 40  # 2.5 looks a second


def test_a_warmed_up_network_has_forgotten_the_warm_up(tmp_path: Path) -> None:
    setup = learned(tmp_path, (-100.0, 100.0))
    warm_up(setup)
    assert setup.network is not None and sum(setup.network.counts.values()) == 0
    run(AttitudeStream(setup), REST, 0, 200)
    assert setup.network.counts["starting"] > 0 == setup.network.counts["network"]


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

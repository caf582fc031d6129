"""The simulated drive: it moves as a car can, and its sensors are wrong as real ones are."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader
from nn_estimation.dead_reckoning.calibration import calibrate
from nn_estimation.dead_reckoning.drive import read_drive
from nn_estimation.dead_reckoning.estimator import EARTH_RATE, earth_rate
from nn_estimation.dead_reckoning.simulated_car import BEFORE, FINE, START, CarParams, drive
from nn_estimation.dead_reckoning.simulation import (
    GRAVITY,
    SimulationParams,
    drive_imu,
    imu_errors,
    inertial,
    shaking,
    simulate_drive,
    world,
)

pytestmark = pytest.mark.once

PERFECT = {
    "gyro_noise": 0.0, "accel_noise": 0.0, "gyro_bias": 0.0, "accel_bias": 0.0, "gyro_walk": 0.0, "accel_walk": 0.0,
    "gyro_temperature": 0.0, "accel_temperature": 0.0, "vibration": 0.0, "gyro_delay": 0.0,
}  # fmt: skip
FIRM = CarParams(loose=0.0, slip_noise=(0.0, 0.0), heave=(0.0, 0.0), nod=(0.0, 0.0))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of driving with an outage."""
    params = SimulationParams(seed=3, duration=60.0, outage=(30.0, 50.0))
    return simulate_drive(params, tmp_path_factory.mktemp("drive") / "drive")


def messages(path: Path, topic: str) -> list[bytes]:
    with BagReader(path) as reader:
        return [data for _, _, data in reader.raw([topic])]


def test_integrating_a_perfect_imu_gives_the_truth() -> None:
    params = SimulationParams(seed=4, duration=60.0, **PERFECT)
    truth = drive_imu(params)
    stamp = START + np.arange(0, 6000) / 100.0
    gyro, force = inertial(params, truth, stamp)
    earth = earth_rate(np.radians(params.latitude_deg))
    first = truth.rows(stamp)[0]
    R = Rotation.from_matrix(truth.R_world_imu[first])
    v, p, dt = truth.velocity[first].copy(), truth.position[first].copy(), 0.01
    for w, f in zip(gyro[1:], force[1:], strict=True):
        middle = R * Rotation.from_rotvec(0.5 * w * dt)
        a = middle.apply(f) - GRAVITY - 2.0 * np.cross(earth, v)
        p += v * dt + 0.5 * a * dt**2
        v += a * dt
        R = Rotation.from_rotvec(-earth * dt) * R * Rotation.from_rotvec(w * dt)
    last = truth.rows(stamp)[-1]
    off = R.inv() * Rotation.from_matrix(truth.R_world_imu[last])
    driven = np.linalg.norm(np.diff(truth.position[:, :2], axis=0), axis=1).sum()
    assert driven > 300.0
    assert off.magnitude() < 1e-8
    np.testing.assert_allclose(v, truth.velocity[last], atol=2e-3)
    np.testing.assert_allclose(p, truth.position[last], atol=0.1)


def test_an_imu_at_rest_feels_gravity_and_the_earth() -> None:
    params = SimulationParams(seed=1, duration=5.0, mount_deg=(0.0, 0.0, 0.0), **PERFECT)
    gyro, force = inertial(params, drive_imu(params), START + np.array([0.5, 1.0]))
    np.testing.assert_allclose(np.linalg.norm(gyro, axis=1), EARTH_RATE, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(force, axis=1), GRAVITY[2], rtol=1e-9)


def test_a_car_keeps_its_limits_and_stops() -> None:
    params = CarParams()
    speeds = []
    for seed in range(3):
        motion = drive(params, seed, 120.0)
        accel = np.gradient(motion.speed, 1 / FINE)
        moving = motion.speed > 0.0
        assert -params.braking - 0.01 < accel.min() < -1.0 and 1.0 < accel.max() < params.acceleration + 0.01
        assert motion.speed.max() < params.country_speed + 0.01
        forward = motion.R_world_car[:, :2, 0]
        rate = np.gradient(np.unwrap(np.arctan2(forward[:, 1], forward[:, 0])), 1 / FINE)
        assert np.quantile(np.abs(rate * motion.speed)[moving], 0.99) < 1.3 * params.cornering
        assert motion.speed[motion.loose > 0.99].max() < params.loose_speed + 0.1
        assert not moving[: round((BEFORE + 1.0) * FINE)].any()
        still = np.diff(np.flatnonzero(np.diff(moving.astype(int)))[1:])
        speeds.append((moving.mean(), len(still)))
    assert all(0.7 < share < 0.99 for share, _ in speeds)
    assert sum(changes for _, changes in speeds) > 4


def test_tyres_slip_as_the_parameters_say() -> None:
    motion = drive(FIRM, 2, 100.0)
    velocity = np.gradient(motion.position, 1 / FINE, axis=0)
    flat = motion.R_world_car[:, :2, 0]
    heading = np.unwrap(np.arctan2(flat[:, 1], flat[:, 0]))
    left = np.column_stack([-np.sin(heading), np.cos(heading)])
    lateral = (velocity[:, :2] * left).sum(axis=1)
    rate, v = np.gradient(heading, 1 / FINE), motion.speed
    use = slice(10, -10)
    columns = np.column_stack([rate * v, rate * v**2])[use]
    found = np.linalg.lstsq(columns, lateral[use], rcond=None)[0]
    np.testing.assert_allclose(found, [FIRM.slip, FIRM.slip_speed], rtol=0.05)
    assert np.abs(lateral[use] - columns @ found).max() < 0.02


def test_a_loose_road_slips_more_and_shakes_more() -> None:
    params = SimulationParams(seed=5, duration=150.0)
    truth, car = drive_imu(params), drive(params.car, params.seed, params.duration)
    stamp = START + 0.5 + np.arange(0, 14900) / 100.0
    rows = truth.rows(stamp)
    _, force = shaking(params, truth, stamp)
    velocity = np.gradient(car.position, 1 / FINE, axis=0)[rows]
    lateral = np.einsum("ni,ni->n", car.R_world_car[rows][:, :, 1], velocity)
    straight = np.abs(inertial(params, truth, stamp)[0][:, 2]) < 0.01
    same_speed = (truth.speed[rows] > 8.0) & (truth.speed[rows] < 12.0) & straight
    firm, loose = same_speed & (truth.loose[rows] < 0.01), same_speed & (truth.loose[rows] > 0.99)
    assert firm.sum() > 200 and loose.sum() > 200
    assert lateral[loose].std() > 4.0 * lateral[firm].std()
    assert force[loose, 2].std() > 2.0 * force[firm, 2].std()


def test_shaking_grows_with_speed_and_moves_nothing() -> None:
    params = SimulationParams(seed=5, duration=60.0)
    truth = drive_imu(params)
    stamp = START + np.arange(0, 6000) / 100.0
    speed = truth.speed[truth.rows(stamp)]
    gyro, force = shaking(params, truth, stamp)
    assert force[speed > 10.0].std() > 3.0 * force[speed == 0.0].std() > 0.0
    assert np.abs(np.cumsum(force, axis=0) / 100.0).max() < 0.1
    assert np.abs(np.cumsum(gyro, axis=0) / 100.0).max() < 0.002


def test_the_imu_is_noisy_and_biased_as_the_parameters_say(tmp_path: Path) -> None:
    params = SimulationParams(seed=1, duration=60.0, vibration=0.0, gyro_delay=0.0, gyro_temperature=0.0)
    imu = [
        cdr.decode_imu(data) for data in messages(simulate_drive(params, tmp_path / "drive"), "imu/data_raw")
    ]
    stamp = np.array([m.stamp_ns * 1e-9 for m in imu])
    gyro, force = inertial(params, drive_imu(params), stamp)
    wrong = np.array([m.gyro for m in imu]) - gyro, np.array([m.accel for m in imu]) - force
    for error, noise in zip(wrong, (params.gyro_noise, params.accel_noise), strict=True):
        white = np.diff(error, axis=0) / np.sqrt(2.0)
        assert white.std(axis=0) == pytest.approx(noise * np.sqrt(params.imu_rate), rel=0.05)
    biases = [params.gyro_bias, params.accel_bias]
    for error, bias in zip(wrong, biases, strict=True):
        assert 0.2 * bias < np.linalg.norm(error.mean(axis=0)) < 5.0 * bias
    assert all(m.orientation_covariance[0] == -1.0 for m in imu)


def test_biases_walk_and_drift_with_temperature() -> None:
    stamp = START + np.arange(0, 4000) / 10.0
    for name, spread in (
        ("gyro_walk", 1e-4 * np.sqrt(400.0)),
        ("gyro_temperature", 1e-4 * 12.0 * (1.0 - np.exp(-400.0 / 300.0))),
    ):
        quiet = {**PERFECT, "imu_rate": 10.0, name: 1e-4}
        found = np.array([imu_errors(SimulationParams(seed=n, **quiet), stamp)[0] for n in range(30)])
        assert np.abs(found[:, 0]).max() < 0.1 * spread
        assert found[:, -1].std() == pytest.approx(spread, rel=0.3)
        assert np.abs(np.diff(found, axis=1)).max() < 0.1 * spread


def test_calibration_finds_what_the_simulation_hides(tmp_path: Path) -> None:
    params = [SimulationParams(seed=seed, duration=160.0) for seed in (1, 2)]
    drives = [read_drive(simulate_drive(p, tmp_path / str(p.seed))) for p in params]
    found = calibrate(drives)
    assert found.gyro_delay == pytest.approx(params[0].gyro_delay, abs=0.004)
    assert found.slip == pytest.approx(params[0].car.slip, abs=0.015)
    assert np.degrees(found.mount_pitch) == pytest.approx(params[0].mount_deg[1], abs=0.15)
    assert np.degrees(found.mount_yaw) == pytest.approx(params[0].mount_deg[2], abs=0.15)


def test_a_drive_is_read_from_its_bag(bag: Path) -> None:
    params = SimulationParams(seed=3, duration=60.0, outage=(30.0, 50.0))
    found, truth = read_drive(bag), drive_imu(params)
    rows = truth.rows(found.stamp)
    np.testing.assert_allclose(found.position, truth.position[rows], atol=1e-9)
    np.testing.assert_allclose(found.velocity, truth.velocity[rows], atol=1e-9)
    np.testing.assert_allclose(found.R, truth.R_world_imu[rows], atol=1e-9)
    assert found.latitude == pytest.approx(np.radians(49.0))
    assert found.scored.all() and len(found.stamp) == 6000


def test_no_satellite_is_seen_during_the_outage(bag: Path) -> None:
    fixes = [cdr.decode_fix(data) for data in messages(bag, "fix")]
    velocities = [cdr.decode_twist_covariance(data) for data in messages(bag, "fix_velocity")]
    at = np.array([m.stamp_ns * 1e-9 for m in fixes]) - START
    out = (at >= 30.0) & (at < 50.0)
    assert len(fixes) == 300 and out.sum() == 100
    assert [m.status < 0 for m in fixes] == out.tolist()
    assert all(np.isnan(m.place).all() == gone for m, gone in zip(fixes, out, strict=True))
    assert [m.stamp_ns for m in velocities] == [
        m.stamp_ns for m, gone in zip(fixes, out, strict=True) if not gone
    ]
    with BagReader(bag) as reader:
        assert yaml.safe_load(reader.custom_data["outage"]) == [START + 30.0, START + 50.0]


def test_fixes_are_as_good_as_their_covariance_says(tmp_path: Path) -> None:
    params = SimulationParams(seed=6, duration=120.0, imu_rate=10.0, gnss_time=0.5)
    path, truth = simulate_drive(params, tmp_path / "drive"), drive_imu(params)
    fixes = [cdr.decode_fix(data) for data in messages(path, "fix")]
    rows = truth.rows(np.array([m.stamp_ns * 1e-9 for m in fixes]))
    frame = world(params)
    found = np.array([frame.position(*np.radians(m.place[:2]), m.place[2]) for m in fixes])
    off = found - truth.position[rows]
    says = np.sqrt(np.diag(fixes[0].covariance.reshape(3, 3)))
    np.testing.assert_allclose(off.std(axis=0), says, rtol=0.15)
    assert np.abs(off.mean(axis=0)).max() < 0.3
    sent = [cdr.decode_twist_covariance(data) for data in messages(path, "fix_velocity")]
    wrong = np.array([m.velocity for m in sent]) - truth.velocity[rows]
    np.testing.assert_allclose(wrong.std(axis=0), np.sqrt(sent[0].covariance[[0, 7, 14]]), rtol=0.1)


def test_wheels_say_the_speed_with_their_scale(bag: Path) -> None:
    params, truth = SimulationParams(), drive_imu(SimulationParams(seed=3))
    twists = [cdr.decode_twist_covariance(data) for data in messages(bag, "wheel/twist")]
    speed = truth.speed[truth.rows(np.array([m.stamp_ns * 1e-9 for m in twists]))]
    said = np.array([m.velocity[0] for m in twists])
    assert (said[speed == 0.0] == 0.0).all()
    assert speed @ said / (said @ said) == pytest.approx(params.wheel_scale, abs=1e-3)


def test_the_same_seed_gives_the_same_bag_and_another_another(tmp_path: Path, bag: Path) -> None:
    outage = (30.0, 50.0)
    again = simulate_drive(SimulationParams(seed=3, outage=outage), tmp_path / "again")
    other = simulate_drive(SimulationParams(seed=4, outage=outage), tmp_path / "other")
    for topic in ("imu/data_raw", "ground_truth/odometry", "fix", "fix_velocity", "wheel/twist"):
        assert messages(bag, topic) == messages(again, topic)
        assert messages(bag, topic) != messages(other, topic)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"duration": 0.0}, "duration is 0.0: it must be positive"),
        ({"gyro_noise": -1.0}, "gyro_noise is -1.0: it must not be negative"),
        ({"imu_rate": 130.0}, "imu_rate is 130.0: it must divide 1000 Hz"),
        ({"gyro_delay": 0.5}, "gyro_delay is 0.5"),
    ],
)
def test_impossible_parameters_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulationParams(**wrong)  # type: ignore[arg-type]


def test_an_impossible_car_is_named() -> None:
    with pytest.raises(ValueError, match=r"loose is 2.0: it must be between 0 and 1"):
        CarParams(loose=2.0)
    with pytest.raises(ValueError, match="braking is nan"):
        CarParams(braking=float("nan"))


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"exists already"):
        simulate_drive(SimulationParams(duration=1.0), tmp_path)

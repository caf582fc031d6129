"""The simulated handling: it moves as bodies do, and its sensors are wrong as real ones are."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.simulation import (
    CARRIERS,
    FINE,
    GRAVITY,
    START,
    SimulationParams,
    clock,
    dipole,
    inertial,
    magnetic,
    measured,
    move,
    shaking,
    simulate_handling,
    tapping,
)
from nn_estimation.attitude.trial import read_trial
from nn_estimation.bags import BagError, BagReader
from nn_estimation.metrics import attitude_metrics

pytestmark = pytest.mark.once

PERFECT = {
    "gyro_noise": 0.0, "accel_noise": 0.0, "mag_noise": 0.0, "gyro_bias": 0.0, "accel_bias": 0.0, "gyro_walk": 0.0,
    "scale": 0.0, "misalignment": 0.0, "delay": 0.0, "vibration": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute in a hand, with everything that disturbs."""
    params = SimulationParams(seed=3, duration=30.0, taps=1.0, magnets=2, attached=1e-5)
    return simulate_handling(params, tmp_path_factory.mktemp("handling") / "handling")


def messages(path: Path, topic: str) -> list[bytes]:
    with BagReader(path) as reader:
        return [data for _, _, data in reader.raw([topic])]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_integrating_a_perfect_imu_gives_the_truth(carrier: str) -> None:
    params = SimulationParams(seed=4, duration=40.0, carrier=carrier, pace=2.0, **PERFECT)
    motion, stamp = move(params), clock(params)
    gyro, force = inertial(params, motion, stamp)
    first, last = motion.rows(stamp[[0, -1]])
    R, dt = motion.rotation[first], 1.0 / params.rate
    v, p = motion.velocity[first].copy(), motion.position[first].copy()
    for w, f in zip(gyro[1:], force[1:], strict=True):
        a = (R * Rotation.from_rotvec(0.5 * w * dt)).apply(f) - GRAVITY
        p += v * dt + 0.5 * a * dt**2
        v += a * dt
        R = R * Rotation.from_rotvec(w * dt)
    assert np.linalg.norm(gyro, axis=1).max() > 2.0 and np.linalg.norm(force - GRAVITY, axis=1).max() > 5.0
    assert (R.inv() * motion.rotation[last]).magnitude() < 1e-8
    np.testing.assert_allclose(v, motion.velocity[last], atol=1e-9)
    np.testing.assert_allclose(p, motion.position[last], atol=1e-3)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_at_rest_it_feels_gravity_and_nothing_else(carrier: str) -> None:
    params = SimulationParams(seed=1, carrier=carrier, **PERFECT)
    motion, stamp = move(params), clock(params)
    gyro, force = inertial(params, motion, stamp)
    moves = motion.activity[motion.rows(stamp)] > 0.0
    rest = np.convolve(moves, np.ones(5), "same") == 0.0  # without its edges
    assert rest[: round(3.5 * params.rate)].all() and 0.1 < rest.mean() < 0.4
    assert np.abs(gyro[rest]).max() < 1e-9
    np.testing.assert_allclose(np.linalg.norm(force[rest], axis=1), GRAVITY[2], atol=1e-6)
    poses = motion.rotation[motion.rows(stamp[rest])].as_rotvec()
    assert len(np.unique(poses.round(6), axis=0)) > 2  # each rest somewhere else


def test_a_hand_turns_it_every_way_and_pace_makes_it_faster() -> None:
    found = []
    for pace in (1.0, 2.0):
        params = SimulationParams(seed=2, pace=pace, duration=120.0, **PERFECT)
        motion = move(params)
        up = motion.rotation.inv().apply([0.0, 0.0, 1.0])
        assert (up.min(axis=0) < -0.8).sum() >= 2 and (up.max(axis=0) > 0.8).all()
        assert np.abs(motion.position).max() < 2.5 * params.reach
        gyro, force = inertial(params, motion, clock(params))
        beside = np.abs(np.linalg.norm(force, axis=1) - GRAVITY[2])
        found.append((np.sqrt(np.mean(gyro**2)), np.quantile(beside, 0.9)))
    (slow, still), (fast, shaken) = found
    assert fast == pytest.approx(2.0 * slow, rel=0.3)
    assert shaken > 2.5 * still


def test_a_drone_leans_as_its_thrust_must() -> None:
    params = SimulationParams(seed=2, carrier="drone", pace=1.5, **PERFECT)
    motion, stamp = move(params), clock(params)
    _, force = inertial(params, motion, stamp)
    assert np.abs(force[:, :2]).max() < 0.05 and force[:, 2].min() > 3.0
    lean = np.degrees(np.arccos(motion.rotation.as_matrix()[:, 2, 2]))
    assert 10.0 < lean.max() < 60.0


def test_rotors_shake_a_drone_from_its_take_off_and_move_nothing() -> None:
    params = SimulationParams(seed=2, carrier="drone")
    motion, stamp = move(params), clock(params)
    gyro, force = shaking(params, motion, stamp)
    ground, air = stamp < START + params.first_rest - 0.5, stamp > START + params.first_rest + 0.5
    assert not force[ground].any() and not gyro[ground].any()
    assert force[air].std() > 1.0 and gyro[air].std() > 0.03
    hovers = air & (motion.activity[motion.rows(stamp)] == 0.0)
    assert force[hovers].std() == pytest.approx(force[air].std(), rel=0.05)
    assert np.abs(np.cumsum(force, axis=0) / params.rate).max() < 0.05
    assert np.abs(np.cumsum(gyro, axis=0) / params.rate).max() < 0.002
    hand = SimulationParams(seed=2)
    assert not np.any(shaking(hand, move(hand), clock(hand)))


def test_knocks_are_hard_short_as_many_as_asked_for_and_move_nothing() -> None:
    params = SimulationParams(seed=2, duration=120.0, taps=0.5)
    motion, stamp = move(params), clock(params)
    gyro, force = tapping(params, motion, stamp)
    felt = np.linalg.norm(force, axis=1)
    assert felt.max() > 20.0 and np.linalg.norm(gyro, axis=1).max() > 0.5
    quiet = felt < 0.1
    begins = np.flatnonzero(quiet[:-1] & ~quiet[1:])
    assert 0.5 * 0.8 * 120.0 * 0.6 < (np.diff(begins) > 0.05 * params.rate).sum() < 0.5 * 0.8 * 120.0 * 1.5
    assert quiet.mean() > 0.9
    np.testing.assert_allclose(np.cumsum(force, axis=0)[-1], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.cumsum(gyro, axis=0)[-1], 0.0, atol=1e-6)
    assert not any(part.any() for part in tapping(SimulationParams(), motion, stamp))


def test_sensors_are_noisy_biased_and_skewed_as_the_parameters_say() -> None:
    found = []
    for seed in range(40):
        params = SimulationParams(seed=seed, duration=20.0)
        stamp = clock(params)
        turning = 3.0 * np.random.default_rng(seed).standard_normal((len(stamp), 3))
        gyro, accel = measured(params, stamp, turning, np.zeros_like(turning))
        matrix, *_ = np.linalg.lstsq(
            np.column_stack([turning, np.ones(len(stamp))]), gyro - turning, rcond=None
        )
        left = gyro - turning - np.column_stack([turning, np.ones(len(stamp))]) @ matrix
        white = [np.diff(signal, axis=0).std() / np.sqrt(2.0 * params.rate) for signal in (left, accel)]
        skew = matrix[:3].T
        found.append((*white, *matrix[3], *accel.mean(axis=0), *skew.ravel()))
    table = np.array(found)
    assert table[:, 0].mean() == pytest.approx(params.gyro_noise, rel=0.03)
    assert table[:, 1].mean() == pytest.approx(params.accel_noise, rel=0.03)
    assert table[:, 2:5].std() == pytest.approx(params.gyro_bias, rel=0.2)
    assert table[:, 5:8].std() == pytest.approx(params.accel_bias, rel=0.2)
    assert table[:, 8::4].std() == pytest.approx(params.scale, rel=0.2)
    assert table[:, [9, 10, 11, 13, 14, 15]].std() == pytest.approx(params.misalignment, rel=0.2)


def test_the_bias_of_the_gyro_walks() -> None:
    quiet = {**PERFECT, "rate": 10.0, "gyro_walk": 1e-4}
    ends = []
    for seed in range(40):
        params = SimulationParams(seed=seed, duration=100.0, **quiet)
        still = np.zeros((1000, 3))
        ends.append(measured(params, clock(params), still, still)[0][-1])
    assert np.std(ends) == pytest.approx(1e-4 * np.sqrt(100.0), rel=0.2)


def test_samples_are_late_by_the_delay(tmp_path: Path) -> None:
    params = SimulationParams(seed=1, duration=20.0, pace=2.0, **{**PERFECT, "delay": 0.0175})
    trial = read_trial(simulate_handling(params, tmp_path / "late"))
    gyro, _ = inertial(params, move(params), clock(params))
    np.testing.assert_allclose(trial.gyro[5:], gyro[:-5], atol=1e-6)


def test_without_magnets_the_field_is_that_of_the_earth() -> None:
    params = SimulationParams(seed=1, duration=20.0, **PERFECT)
    motion, stamp = move(params), clock(params)
    field = motion.rotation[motion.rows(stamp)].apply(magnetic(params, motion, stamp))
    np.testing.assert_allclose(np.linalg.norm(field, axis=1), params.field)
    np.testing.assert_allclose(field[:, 0], 0.0, atol=1e-12)  # north is magnetic
    assert np.degrees(np.arctan2(-field[0, 2], field[0, 1])) == pytest.approx(params.dip_deg)


def test_a_magnet_that_stands_is_felt_in_passing() -> None:
    params = SimulationParams(seed=1, magnets=1, **PERFECT)
    motion, stamp = move(params), clock(params)
    rotation = motion.rotation[motion.rows(stamp)]
    without = magnetic(SimulationParams(seed=1, **PERFECT), motion, stamp)
    extra = rotation.apply(magnetic(params, motion, stamp) - without)
    strength = np.linalg.norm(extra, axis=1)
    assert strength.max() > 3e-6 and strength.max() > 5.0 * strength.min()
    rest = motion.activity[motion.rows(stamp)] == 0.0
    stands = np.abs(np.diff(extra, axis=0)).max(axis=1)[rest[1:] & rest[:-1]]
    assert stands.max() < 1e-12


def test_an_attached_magnet_turns_with_the_imu() -> None:
    params = SimulationParams(seed=1, duration=20.0, attached=2e-5, **PERFECT)
    motion, stamp = move(params), clock(params)
    without = magnetic(SimulationParams(seed=1, duration=20.0, **PERFECT), motion, stamp)
    extra = magnetic(params, motion, stamp) - without
    np.testing.assert_allclose(extra, np.tile(extra[0], (len(extra), 1)), atol=1e-12)
    assert np.linalg.norm(extra[0]) == pytest.approx(2e-5)


def test_a_recording_is_read_from_its_bag(bag: Path) -> None:
    params = SimulationParams(seed=3, duration=30.0)
    trial, motion, stamp = read_trial(bag), move(params), clock(params)
    assert trial.name == "handling" and not trial.relative_heading
    np.testing.assert_allclose(trial.stamp, stamp, atol=1e-6)
    np.testing.assert_array_equal(trial.mag_stamp, trial.stamp)
    off = Rotation.from_quat(trial.truth) * motion.rotation[motion.rows(stamp)].inv()
    assert off.magnitude().max() < 1e-9
    np.testing.assert_array_equal(trial.scored, motion.activity[motion.rows(stamp)] > 0.0)
    assert trial.stamp[0] == START


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_published_filter_follows_it_to_a_degree_or_two(carrier: str, tmp_path: Path) -> None:
    vqf = pytest.importorskip("vqf")
    trial = read_trial(simulate_handling(SimulationParams(seed=1, carrier=carrier), tmp_path / carrier))
    signals = (np.ascontiguousarray(a) for a in (trial.gyro, trial.accel, trial.mag))
    found = np.roll(vqf.VQF(7.0 / FINE).updateBatch(*signals)["quat9D"], -1, axis=1)
    metrics = attitude_metrics(found[trial.scored], trial.truth[trial.scored])
    assert 0.2 < metrics["inclination_deg"] < 2.0 and 0.2 < metrics["heading_deg"] < 2.0


def test_the_field_of_a_magnet_falls_with_the_cube_of_the_distance() -> None:
    moment = np.array([0.0, 0.0, 2.0])
    near, far = dipole(np.array([[0.0, 0.0, 0.5], [0.0, 1.0, 0.0]]), moment)
    np.testing.assert_allclose(
        near, [0.0, 0.0, 1e-7 * 2.0 * 2.0 / 0.5**3]
    )  # mu_0 m / (2 pi r^3) along its axis
    np.testing.assert_allclose(far, [0.0, 0.0, -1e-7 * 2.0])  # half of that beside it


def test_the_same_seed_gives_the_same_bag_and_another_another(tmp_path: Path, bag: Path) -> None:
    disturbed = {"duration": 30.0, "taps": 1.0, "magnets": 2, "attached": 1e-5}
    again = simulate_handling(SimulationParams(seed=3, **disturbed), tmp_path / "again")
    other = simulate_handling(SimulationParams(seed=4, **disturbed), tmp_path / "other")
    for topic in ("imu/data_raw", "imu/mag", "ground_truth/odometry"):
        assert messages(bag, topic) == messages(again, topic)
        assert messages(bag, topic) != messages(other, topic)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"duration": 0.0}, "duration is 0.0: it must be positive"),
        ({"gyro_noise": -1.0}, "gyro_noise is -1.0: it must not be negative"),
        ({"rate": 300.0}, "rate is 300.0: it must divide 2000 Hz"),
        ({"delay": 0.5}, "delay is 0.5: it must be at most 0.05"),
        ({"moving": (5.0, 3.0)}, "moving is 5.0, 3.0: it must rise"),
        ({"carrier": "fish"}, "carrier is fish: it must be one of hand, drone"),
    ],
)
def test_impossible_parameters_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulationParams(**wrong)


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"exists already"):
        simulate_handling(SimulationParams(duration=1.0), tmp_path)

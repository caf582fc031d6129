"""The simulated flight: it moves as a drone can, and its ranges are wrong as real ones are."""

from pathlib import Path

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.samples import Samples, read_samples
from nn_estimation.uwb.simulation import (
    GRAVITY,
    START,
    SimulationParams,
    blocked_by_people,
    fly,
    power_error,
    room_layout,
    simulate_flight,
)

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> list[Samples]:
    """Two flights with the same radios, one with others."""
    folder = tmp_path_factory.mktemp("flights")
    settings = [{"seed": 1}, {"seed": 2}, {"seed": 2, "hardware_seed": 5}]
    bags = [
        simulate_flight(SimulationParams(duration=40.0, range_rate=20.0, **each), folder / str(i))
        for i, each in enumerate(settings)
    ]
    return [read_samples([bag]) for bag in bags]


def rmse(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def affine_residual(train: Samples, test: Samples) -> np.ndarray:
    out = np.zeros(len(test))
    for link in range(len(test.links)):
        line = np.polyfit(train.distance[train.link == link], train.error[train.link == link], 1)
        out[test.link == link] = test.error[test.link == link] - np.polyval(
            line, test.distance[test.link == link]
        )
    return out


def directions(samples: Samples) -> np.ndarray:
    """Azimuth harmonics at the tag, elevation, received power, its difference, and the links."""
    g, power = samples.geometry, samples.power
    flat = np.cos(g[:, 2])
    columns = [flat * f(k * g[:, 1]) for k in range(1, 5) for f in (np.cos, np.sin)]
    difference = power[:, 0] - power[:, 1]
    columns += [np.sin(g[:, 2]), power[:, 0], power[:, 0] ** 2, difference, difference**2]
    columns += [samples.link == link for link in range(len(samples.links))]
    return np.column_stack(columns)


def test_one_seed_gives_one_bag(tmp_path: Path) -> None:
    def content(seed: int, name: str) -> list[tuple[str, int, bytes]]:
        simulate_flight(SimulationParams(seed=seed, duration=2.0), tmp_path / name)
        with BagReader(tmp_path / name) as reader:
            return list(reader.raw())

    first = content(3, "a")
    assert content(3, "b") == first
    assert content(4, "c") != first


def test_the_bag_has_what_the_estimator_and_the_report_need(tmp_path: Path) -> None:
    params = SimulationParams(duration=4.0, range_rate=25.0, dropout=0.0, people=0)
    with BagReader(simulate_flight(params, tmp_path / "flight")) as reader:
        assert reader.counts == {
            "tag0/uwb/range": 800,
            "tag1/uwb/range": 800,
            "tag0/uwb/power": 800,
            "tag1/uwb/power": 800,
            "imu/data_raw": 800,
            "ground_truth/odometry": 400,
        }
        layout = Layout.from_yaml(reader.custom_data["layout"])
        np.testing.assert_allclose(layout.R_world_anchor, room_layout().R_world_anchor, atol=1e-9)
        stamps = [stamp for _, stamp, _ in reader.raw()]
        assert stamps == sorted(stamps)
        for _, stamp, data in reader.raw(["tag0/uwb/range"]):
            message = cdr.decode_range(data)
            assert message.stamp_ns == stamp
            assert message.range > 0.0


def test_velocity_acceleration_and_turn_rate_are_those_of_the_path() -> None:
    step = 1e-4
    t = START + np.arange(0.0, 60.0, 0.1)
    flight, before, after = (fly(SimulationParams(), t + d) for d in (0.0, -step, step))
    np.testing.assert_allclose((after.position - before.position) / (2 * step), flight.velocity, atol=1e-5)
    np.testing.assert_allclose(
        (after.velocity - before.velocity) / (2 * step), flight.acceleration, atol=1e-5
    )
    rate = np.einsum("nji,njk->nik", flight.R_world_body, (after.R_world_body - before.R_world_body))
    skew = rate / (2 * step)
    turn = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    np.testing.assert_allclose(turn, flight.angular_velocity, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_flight_stays_in_the_room_and_within_what_the_gate_allows(seed: int) -> None:
    flight = fly(SimulationParams(seed=seed), START + np.arange(0.0, 120.0, 0.05))
    assert np.linalg.norm(flight.velocity, axis=1).max() < 3.0
    assert np.linalg.norm(flight.acceleration, axis=1).max() < 8.0
    assert (np.abs(flight.position[:, :2]) < (4.0, 3.5)).all()
    assert ((flight.position[:, 2] > 0.3) & (flight.position[:, 2] < 2.4)).all()


def test_thrust_points_along_the_specific_force() -> None:
    flight = fly(SimulationParams(), START + np.arange(0.0, 20.0, 0.1))
    force = np.einsum("nji,nj->ni", flight.R_world_body, flight.acceleration + GRAVITY)
    np.testing.assert_allclose(force[:, :2], 0.0, atol=1e-9)


def test_the_imu_is_noisy_and_biased_as_the_parameters_say(tmp_path: Path) -> None:
    params = SimulationParams(duration=20.0, range_rate=1.0)
    with BagReader(simulate_flight(params, tmp_path / "flight")) as reader:
        imu = [cdr.decode_imu(data) for _, _, data in reader.raw(["imu/data_raw"])]
    flight = fly(params, np.array([m.stamp_ns * 1e-9 for m in imu]))
    gyro = np.array([m.gyro for m in imu]) - flight.angular_velocity
    assert gyro.std(axis=0) == pytest.approx(params.gyro_noise, rel=0.1)
    assert np.abs(gyro.mean(axis=0)).max() < 4 * params.gyro_bias
    assert all(m.orientation_covariance[0] == -1.0 for m in imu)


def test_raw_errors_have_the_size_of_real_ones(flights: list[Samples]) -> None:
    for samples in flights:
        assert 0.12 < rmse(samples.error) < 0.35
        assert rmse(affine_residual(samples, samples)) < 0.75 * rmse(samples.error)


def test_what_is_learned_on_one_flight_helps_on_another_with_the_same_radios(flights: list[Samples]) -> None:
    train, test, _ = flights
    weights = np.linalg.lstsq(directions(train), train.error, rcond=None)[0]
    learned = rmse(test.error - directions(test) @ weights)
    assert learned < 0.75 * rmse(affine_residual(train, test))


def test_other_radios_have_another_pattern(flights: list[Samples]) -> None:
    train, test, other = flights
    weights = np.linalg.lstsq(directions(train), train.error, rcond=None)[0]
    same = rmse(test.error - directions(test) @ weights)
    assert rmse(other.error - directions(other) @ weights) > 1.5 * same


def test_people_block_lines_of_sight_and_make_ranges_too_long(tmp_path: Path) -> None:
    quiet, busy = (
        read_samples(
            [simulate_flight(SimulationParams(seed=6, people=n, range_rate=20.0), tmp_path / str(n))]
        )
        for n in (0, 2)
    )
    assert np.quantile(busy.error, 0.99) > np.quantile(quiet.error, 0.99) + 0.1
    assert np.quantile(busy.error, 0.01) == pytest.approx(np.quantile(quiet.error, 0.01), abs=0.02)
    difference = busy.power[:, 0] - busy.power[:, 1]
    assert busy.error[difference > 7.0].mean() > busy.error[difference < 4.0].mean() + 0.2


def test_a_line_above_everybody_is_never_blocked() -> None:
    stamps = START + np.arange(0.0, 60.0, 0.1)
    start, end = np.tile([0.0, 0.0, 2.0], (600, 1)), np.tile([4.0, 3.5, 2.7], (600, 1))
    assert not blocked_by_people(SimulationParams(), stamps, start, end).any()
    low = blocked_by_people(SimulationParams(), stamps, start - [0, 0, 1], end - [0, 0, 2.4])
    assert 0.0 < low.mean() < 0.3


def test_weak_signals_measure_long() -> None:
    assert (np.diff(power_error(np.linspace(-60.0, -95.0, 50))) > 0.0).all()
    np.testing.assert_allclose(power_error(np.array([-61.0, -77.0, -93.0])), [-0.1, 0.0, 0.1], atol=0.01)


def test_dropouts_are_as_frequent_as_asked(tmp_path: Path) -> None:
    params = SimulationParams(duration=20.0, dropout=0.2, people=0)
    with BagReader(simulate_flight(params, tmp_path / "flight")) as reader:
        heard = reader.counts["tag0/uwb/range"] + reader.counts["tag1/uwb/range"]
    assert heard / (20 * 50 * 16) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"duration": 0.0}, "duration is 0.0: it must be positive"),
        ({"range_rate": float("nan")}, "range_rate is nan"),
        ({"people": -1}, "people is -1: it must not be negative"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_parameters_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulationParams(**wrong)  # type: ignore[arg-type]


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"exists already"):
        simulate_flight(SimulationParams(duration=1.0), tmp_path)

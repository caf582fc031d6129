"""The first stage of training: where the true slip spreads, the variance grows, and nothing else changes."""
# ruff: noqa: E402

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nn_estimation.configuration import ConfigError
from nn_estimation.dead_reckoning.calibration import CalibrationError
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import read_drive
from nn_estimation.dead_reckoning.first_stage.training import learn_spread, true_slip
from nn_estimation.dead_reckoning.network import SlipNetwork
from nn_estimation.dead_reckoning.simulated_car import CarParams
from nn_estimation.dead_reckoning.simulated_car import drive as car_drive
from nn_estimation.dead_reckoning.simulation import SimulationParams, simulate_drive
from nn_estimation.dead_reckoning.through_filter.training import Seen
from nn_estimation.dead_reckoning.training import (
    FIRST_STAGE,
    DeadReckoningTrainConfig,
    Part,
    Recordings,
    first_network,
)

CONFIG = DeadReckoningTrainConfig()
CAR = CarParams()
# What the simulated car is like, and a mount and lever arm as they are in the simulation.
TRUE = Constants(
    slip=CAR.slip, slip_speed=CAR.slip_speed, lateral=11.0, vertical=300.0,
    mount_roll=np.radians(0.3), mount_pitch=np.radians(-0.6), mount_yaw=np.radians(0.4),
    lever_x=-0.2, lever_y=0.1, lever_z=-0.4,
)  # fmt: skip


@pytest.fixture(scope="module")
def params() -> SimulationParams:
    """Four minutes on roads that are firm in places and loose in others."""
    return SimulationParams(seed=11, duration=240.0, gyro_delay=0.0, wheel_rate=0.0)


@pytest.fixture(scope="module")
def part(params: SimulationParams, tmp_path_factory: pytest.TempPathFactory) -> Part:
    """That drive, as the training has it."""
    bag = simulate_drive(params, tmp_path_factory.mktemp("drive") / "drive")
    return Recordings([read_drive(bag)], CONFIG).all


@pytest.fixture(scope="module")
def trained(part: Part) -> tuple[SlipNetwork, Seen]:
    """A network after the first stage, and what it saw."""
    network = first_network(part, TRUE, CONFIG)
    seen = part.seen(part.valid_range(TRUE, CONFIG.features), TRUE, CONFIG.features)
    learn_spread(network, seen, TRUE, FIRST_STAGE)
    return network, seen[0][0]


def test_what_the_constants_explain_is_no_slip(tmp_path: Path) -> None:
    firm = CarParams(loose=0.0, slip_noise=(0.0, 0.0), heave=(0.0, 0.0), nod=(0.0, 0.0), squat=0.0, lean=0.0)
    params = SimulationParams(seed=2, duration=60.0, car=firm, vibration=0.0, gyro_delay=0.0)
    drive = read_drive(simulate_drive(params, tmp_path / "drive"))
    slip, speed = true_slip(drive, TRUE)
    without, _ = true_slip(drive, TRUE._replace(slip=0.0, slip_speed=0.0))
    assert (speed > 10.0).any() and np.abs(without[:, 0]).max() > 0.1
    assert np.abs(slip[:, 0]).max() < 0.02 and np.abs(slip[:, 1]).max() < 0.05


def test_the_variance_is_larger_where_the_road_is_loose(
    trained: tuple[SlipNetwork, Seen], params: SimulationParams
) -> None:
    network, seen = trained
    motion = car_drive(params.car, params.seed, params.duration)
    loose, speed = (np.interp(seen.drive.stamp, motion.stamp, x) for x in (motion.loose, motion.speed))
    with torch.no_grad():
        _, variance = network(torch.tensor(seen.features).float())
    lateral = variance[:, 0].numpy()
    moving = seen.usable & (speed > 5.0)
    on_loose, on_firm = moving & (loose > 0.99), moving & (loose < 0.01)
    assert on_loose.sum() > 200 and on_firm.sum() > 200
    assert np.median(lateral[on_loose]) > 5.0 * np.median(lateral[on_firm])


def test_the_average_variance_stays_the_tuned_one_and_means_stay_zero(
    trained: tuple[SlipNetwork, Seen],
) -> None:
    network, seen = trained
    _, speed = true_slip(seen.drive, TRUE)
    features = torch.tensor(seen.features[seen.usable & (speed > 2.0)]).float()
    with torch.no_grad():
        mean, variance = network(features)
    assert not mean.any()
    # Not to the digit: outputs at their limit do not move when they are centred.
    torch.testing.assert_close(variance.mean(0), torch.tensor([11.0, 300.0]), rtol=0.1, atol=0.0)


def test_the_same_seed_gives_the_same_network(trained: tuple[SlipNetwork, Seen], part: Part) -> None:
    again = first_network(part, TRUE, CONFIG)
    learn_spread(again, [[trained[1]]], TRUE, FIRST_STAGE)
    for mine, other in zip(again.parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_vehicle_that_hardly_moves_says_nothing_of_its_slip(part: Part, tmp_path: Path) -> None:
    still = CarParams(stop_time=100.0)
    bag = simulate_drive(SimulationParams(seed=1, duration=30.0, car=still), tmp_path / "drive")
    standing = Recordings([read_drive(bag)], CONFIG).all
    seen = standing.seen(part.valid_range(TRUE, CONFIG.features), TRUE, CONFIG.features)
    with pytest.raises(CalibrationError, match=r"0 samples above 2.0 m/s"):
        learn_spread(first_network(part, TRUE, CONFIG), seen, TRUE, FIRST_STAGE)


def test_a_stage_of_less_than_no_epochs_is_refused() -> None:
    with pytest.raises(ConfigError, match="first_stage must not be negative"):
        DeadReckoningTrainConfig(first_stage=-1)

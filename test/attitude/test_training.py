"""Claims about training end to end: simulated bags in, a file out that runs and says what it is worth."""

# ruff: noqa: E402
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")

from nn_estimation.attitude import features
from nn_estimation.attitude.batch import track
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.model import METHODS, load_setups
from nn_estimation.attitude.selection import CORRELATIONS, looks
from nn_estimation.attitude.simulation import SimulationParams, simulate_handling
from nn_estimation.attitude.training import AttitudeTrainConfig, Trained, _fit, train
from nn_estimation.attitude.trial import TrialError, read_trial
from nn_estimation.attitude.tuning import see
from nn_estimation.configuration import ConfigError, from_mapping
from nn_estimation.inference import Model
from nn_estimation.learning.config import TrainConfig

from .trials import trial, write_bag

DELAY = 0.0025  # [s] of the simulated sensor
QUICK = AttitudeTrainConfig(
    groups=(("desk_*",), ("nobody",)),
    licence="CC0-1.0",
    training=TrainConfig(epochs=4, batch_size=64, lr=2e-2),
)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("handling")
    return [
        simulate_handling(
            SimulationParams(seed=seed, duration=25.0, rate=100.0, magnets=2, delay=DELAY),
            folder / f"{name}_{seed}",
        )
        for seed, name in ((1, "desk"), (2, "desk"), (3, "hall"))
    ]


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def trained(bags: list[Path], said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("models") / "attitude.onnx"
    return train(bags, out, QUICK, say=said.append, command="nn_estimation train attitude")


def test_the_file_loads_with_all_methods_and_runs(trained: Trained, bags: list[Path]) -> None:
    setups = load_setups(Model.load(trained.path, provider="cpu"))
    assert tuple(setups) == METHODS
    t = read_trial(bags[0])
    found = track(setups["network"], t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag)
    assert np.isfinite(found.quaternion).all() and np.isfinite(found.covariance).all()
    network = setups["network"].network
    assert network is not None and network.counts["network"] > 20 and network.counts["network failed"] == 0
    assert found.share.max() == setups["network"].constants.blend


def test_the_contract_says_what_it_was_made_from(trained: Trained, bags: list[Path]) -> None:
    contract = Model.load(trained.path, provider="cpu").contract
    assert contract.task == "attitude" and contract.features == features.NAMES
    assert contract.training["recordings"] == [bag.name for bag in bags]
    assert contract.training["command"] == "nn_estimation train attitude" and contract.licence == "CC0-1.0"
    assert contract.parameters["constants"]["correlation"] in CORRELATIONS


def test_the_metrics_have_all_methods_with_the_heading_of_vqf_but_for_the_network(trained: Trained) -> None:
    metrics = trained.contract.metrics
    assert set(metrics) == set(METHODS)
    for row in metrics.values():
        assert set(row) == {"total_deg", "heading_deg", "inclination_deg"}
        assert 0.0 < row["inclination_deg"] < row["total_deg"] < 20.0
    assert metrics["vqf"]["heading_deg"] == metrics["filter"]["heading_deg"]
    assert metrics["vqf_latency"]["inclination_deg"] <= metrics["vqf"]["inclination_deg"]
    assert metrics["network"]["inclination_deg"] == metrics["filter"]["inclination_deg"]
    assert metrics["network"]["heading_deg"] != metrics["vqf"]["heading_deg"]


def test_the_latency_of_the_sensor_is_found_and_each_step_said(trained: Trained, said: list[str]) -> None:
    assert trained.contract.parameters["constants"]["latency"] == pytest.approx(DELAY, abs=0.001)
    for part in (
        "reading 3 bags",
        "latency of the sensor: ",
        "inclination: ",
        "group 2 of 2 left out",
        "heading: blend",
    ):
        assert sum(line.startswith(part) for line in said) == 1, part


def test_the_valid_range_is_that_of_training_and_a_margin(trained: Trained) -> None:
    low, high = np.array(trained.contract.valid_range).T
    assert (low < high).all()
    rest = features.NAMES.index("rest_5s")
    assert low[rest] < 0.0 and high[rest] <= 1.2


def test_the_same_bags_and_seed_give_the_same_network(bags: list[Path]) -> None:
    """And so the same file, as the export adds nothing: see `test_export`."""
    seen = [looks(see(read_trial(bag)), Constants()) for bag in bags[:2]]
    again, other = replace(QUICK.training), replace(QUICK.training, seed=1)
    first, *rest = (_fit(seen, config).state_dict() for config in (QUICK.training, again, other))
    same = [all(torch.equal(first[name], found[name]) for name in first) for found in rest]
    assert same == [True, False]


def test_patterns_group_recordings_that_are_left_out_together(
    trained: Trained, bags: list[Path], tmp_path: Path
) -> None:
    assert trained.contract.training["groups"] == [["desk_1", "desk_2"], ["hall_3"]]
    with pytest.raises(
        TrialError, match="3 recordings in one group: at least two are needed, to leave one out"
    ):
        train(bags, tmp_path / "x.onnx", replace(QUICK, groups=(("*_?",),)))


def test_recordings_without_a_magnetometer_or_a_north_are_refused_by_name(
    bags: list[Path], tmp_path: Path
) -> None:
    silent = write_bag(
        replace(trial("silent", seconds=5.0), mag_stamp=np.empty(0), mag=np.empty((0, 3))), tmp_path
    )
    lost = write_bag(trial("lost", seconds=5.0), tmp_path, heading="relative")
    with pytest.raises(TrialError, match="silent, lost: without a magnetometer, or a truth that knows north"):
        train([bags[0], silent, lost], tmp_path / "x.onnx", QUICK)
    with pytest.raises(TrialError, match="1 recordings in one group"):
        train(bags[:1], tmp_path / "x.onnx", QUICK)
    assert not (tmp_path / "x.onnx").exists()


def test_the_configuration_reads_from_plain_values() -> None:
    config = from_mapping(AttitudeTrainConfig, {"groups": [["a_*", "b"], ["c"]], "training": {"epochs": 3}})
    assert config.groups == (("a_*", "b"), ("c",)) and config.training.epochs == 3
    with pytest.raises(ConfigError, match="evaluations must not be negative"):
        AttitudeTrainConfig(evaluations=-1)
    with pytest.raises(ConfigError, match="'evaluation', the nearest known one is 'evaluations'"):
        from_mapping(AttitudeTrainConfig, {"evaluation": 3})

# ruff: noqa: E402
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")

from uwb_scene import LAYOUT, write_bag

from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.cli import main
from nn_estimation.configuration import ConfigError, from_mapping
from nn_estimation.inference import Model
from nn_estimation.learning.config import TrainConfig
from nn_estimation.uwb.calibration import apply_table
from nn_estimation.uwb.choice import candidates
from nn_estimation.uwb.features import FeatureReader
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.samples import SampleError, Samples, read_samples
from nn_estimation.uwb.training import Trained, UwbTrainConfig, train, train_on

QUICK = UwbTrainConfig(
    folds=2, training=TrainConfig(epochs=12, batch_size=256, lr=2e-2, schedule="one_cycle")
)
HASTY = replace(QUICK, training=replace(QUICK.training, epochs=2))  # where it need not be good


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bags")
    return {
        "train": write_bag(folder, "train", seed=0),
        "test": write_bag(folder, "test", seed=1),
        "power": write_bag(folder, "power", seed=2, power=True),
        "power_test": write_bag(folder, "power_test", seed=3, power=True),
    }


@pytest.fixture(scope="module")
def trained(bags: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train([bags["train"]], tmp_path_factory.mktemp("models") / "uwb.onnx", QUICK)


def residuals(trained: Trained, samples: Samples) -> dict[str, np.ndarray]:
    """Of the network and of affine, on samples of the same links."""
    model = Model.load(trained.path, task="uwb_bias")
    features = FeatureReader(trained.contract.features).read(samples.geometry, samples.power)
    out = model.run({"features": features.astype(np.float32), "link": samples.link})
    affine, _ = apply_table(trained.contract.parameters["affine"], samples.distance, samples.link)
    sigma = np.sqrt(out["variance"])
    return {"network": samples.error - out["bias"], "affine": samples.error - affine, "sigma": sigma}


def rmse(residual: np.ndarray) -> float:
    return float(np.sqrt(np.mean(residual**2)))


def test_the_antenna_pattern_is_learned_on_one_recording_and_serves_another(trained, bags) -> None:
    found = residuals(trained, read_samples([bags["test"]]))
    assert rmse(found["network"]) == pytest.approx(0.03, rel=0.15)  # the noise
    assert rmse(found["network"]) < 0.6 * rmse(found["affine"])
    ratio = np.abs(found["network"]) / found["sigma"]
    assert np.mean(ratio < 1) == pytest.approx(0.683, abs=0.05)
    assert np.mean(ratio < 2) == pytest.approx(0.954, abs=0.03)


def test_a_bag_without_a_layout_is_trained_on_with_the_anchors_beside_it(bags, tmp_path: Path) -> None:
    own, anchors, settings = tmp_path / "train", tmp_path / "anchors.yaml", tmp_path / "quick.yaml"
    with BagReader(bags["train"]) as reader, BagWriter(own) as writer:
        for topic, stamp, data in reader.raw():
            writer.write(topic, reader.topics[topic], stamp, data)
    anchors.write_text(LAYOUT.to_yaml())
    settings.write_text("{features: affine, folds: 2, training: {epochs: 1}}")
    options = ["--config", str(settings), "--quiet"]
    digests = []
    for name, arguments in (("a", [bags["train"]]), ("b", [own, "--anchors", anchors])):
        out = tmp_path / f"{name}.onnx"
        assert main(["train", "uwb", *map(str, arguments), "--out", str(out), *options]) == 0
        digests.append(Model.load(out).contract.training["digest"])
    assert digests[0] == digests[1]


def test_auto_takes_the_geometry_where_only_the_geometry_tells(trained) -> None:
    assert trained.contract.features == ("distance", "azimuth_tag", "azimuth_anchor")
    assert "<- chosen" in trained.choice


def test_auto_takes_the_power_too_where_it_tells_of_blockage(bags, tmp_path: Path) -> None:
    found = train([bags["power"]], tmp_path / "power.onnx", QUICK)
    assert "power_difference" in found.contract.features and "azimuth_tag" in found.contract.features
    after = residuals(found, read_samples([bags["power_test"]]))
    assert rmse(after["network"]) < 0.5 * rmse(after["affine"])


def test_auto_takes_neither_where_neither_helps(bags, tmp_path: Path) -> None:
    samples = read_samples([bags["power"]])
    rng = np.random.default_rng(0)
    noise = replace(samples, error=0.1 + 0.05 * rng.standard_normal(len(samples)))
    assert train_on(noise, tmp_path / "noise.onnx", HASTY).contract.features == ("distance",)


def test_the_file_holds_every_row_of_the_table(trained, bags) -> None:
    models = load_bias_models(Model.load(trained.path), Layout.from_yaml(LAYOUT.to_yaml()))
    assert list(models) == ["raw", "constant", "affine", "ridge", "network"]
    metrics = trained.contract.metrics
    assert metrics["raw"]["rmse_m"] > metrics["constant"]["rmse_m"] > metrics["network"]["rmse_m"]
    assert metrics["ridge"]["rmse_m"] == pytest.approx(metrics["network"]["rmse_m"], rel=0.15)
    assert trained.contract.training["recordings"] == ["train"]
    assert trained.contract.licence == "CC0-1.0"


def test_the_same_bags_and_seed_give_the_same_file(bags, tmp_path: Path) -> None:
    first, again, other = (
        train(
            [bags["train"]],
            tmp_path / f"{n}.onnx",
            replace(HASTY, training=replace(HASTY.training, seed=seed)),
        )
        for n, seed in enumerate((0, 0, 1))
    )
    assert again.path.read_bytes() == first.path.read_bytes()
    assert other.path.read_bytes() != first.path.read_bytes()


def test_the_valid_range_is_the_trained_one_and_all_around(trained, bags) -> None:
    distance, azimuth, _ = trained.contract.valid_range
    samples = read_samples([bags["train"]])
    inside = (samples.distance > distance[0]) & (samples.distance < distance[1])
    assert 0.998 < inside.mean() and distance[1] < samples.distance.max() + 0.3
    assert azimuth[0] < -np.pi and azimuth[1] > np.pi


def test_the_plain_network_is_made_by_the_same_command(bags, tmp_path: Path) -> None:
    plain = train(
        [bags["train"]], tmp_path / "plain.onnx", replace(HASTY, network="plain", features="geometry")
    )
    found = residuals(plain, read_samples([bags["test"]]))
    assert rmse(found["network"]) < rmse(found["affine"])


def test_features_may_be_named_and_impossible_ones_are_refused(bags, tmp_path: Path) -> None:
    samples = read_samples([bags["train"]])
    assert list(candidates(samples)) == ["affine", "geometry"]
    with pytest.raises(
        ConfigError, match="features: power is not possible with these bags: they allow affine"
    ):
        train_on(samples, tmp_path / "x.onnx", replace(QUICK, features="power"))
    with pytest.raises(SampleError, match="only 0 ranges have all of distance, rx_power"):
        train_on(samples, tmp_path / "x.onnx", replace(QUICK, features=("distance", "rx_power")))
    with pytest.raises(ConfigError, match="features must hold distance"):
        UwbTrainConfig(features=("azimuth_tag",))


def test_the_configuration_reads_from_plain_values() -> None:
    config = from_mapping(
        UwbTrainConfig, {"features": ["distance", "azimuth_tag"], "training": {"epochs": 3}, "max_error": 1}
    )
    assert config.features == ("distance", "azimuth_tag") and config.training.epochs == 3
    assert config.max_error == 1.0
    with pytest.raises(ConfigError, match="'hiden', the nearest known one is 'hidden'"):
        from_mapping(UwbTrainConfig, {"hiden": 3})

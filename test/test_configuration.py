from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from nn_estimation.configuration import ConfigError, from_mapping, from_yaml
from nn_estimation.learning.config import TrainConfig


@dataclass(frozen=True)
class Wing:
    features: Literal["auto", "power"] = "auto"
    limits: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    scale: float | None = None
    folds: dict[str, int] = field(default_factory=dict)
    training: TrainConfig = field(default_factory=TrainConfig)


def test_absent_keys_keep_their_defaults() -> None:
    assert from_mapping(TrainConfig, {}) == TrainConfig()


def test_nested_values_lists_and_whole_numbers_are_read() -> None:
    mapping = {
        "limits": [0, 2],
        "names": ["a", "b"],
        "scale": 3,
        "folds": {"k": 5},
        "training": {"epochs": 7},
    }
    wing = from_mapping(Wing, mapping)
    assert wing == Wing("auto", (0.0, 2.0), ("a", "b"), 3.0, {"k": 5}, TrainConfig(epochs=7))
    assert isinstance(wing.scale, float)


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="unknown key 'batchsize', the nearest known one is 'batch_size'"):
        from_mapping(TrainConfig, {"batchsize": 3})


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Wing, {"features": "none", "training": {"epoch": 3}, "limits": [1.0]})
    for part in ("features must be one of auto, power", "'epoch'", "limits must have 2 entries, not 1"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"lr": "1e-3"}, "write 1.0e-3"),
        ({"epochs": 2.5}, "epochs must be int"),
        ({"epochs": True}, "epochs must be int"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of sgd, momentum, adam"),
        ({"grad_clip": -1.0}, "grad_clip must be positive"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
    ],
)
def test_a_value_out_of_place_is_refused(mapping: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(TrainConfig, mapping)


def test_a_value_out_of_range_is_refused_without_a_file_too() -> None:
    with pytest.raises(ConfigError, match="optimizer must be one of"):
        TrainConfig(optimizer="rmsprop")  # type: ignore[arg-type]


def test_a_required_value_is_asked_for() -> None:
    @dataclass(frozen=True)
    class Required:
        rate: float

    with pytest.raises(ConfigError, match="rate is missing"):
        from_mapping(Required, {})


def test_a_yaml_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("training: {epochs: 3, schedule: one_cycle}\n")
    assert from_yaml(Wing, path).training == TrainConfig(epochs=3, schedule="one_cycle")
    path.write_text("training: {epochs: none}\n")
    with pytest.raises(ConfigError, match=r"train\.yaml"):
        from_yaml(Wing, path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        from_yaml(Wing, path)
    path.write_text("")
    assert from_yaml(Wing, path) == Wing()
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        from_yaml(Wing, tmp_path / "missing.yaml")

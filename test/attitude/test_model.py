"""Claims about the methods of one file: which there are, and what is refused with which words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_models import write_model as write_bias_model

from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.model import METHODS, classical_setup, load_setups
from nn_estimation.contract import attach_contract
from nn_estimation.inference import Model, ModelError

from .trials import write_model

pytest.importorskip("onnxruntime")


def edited(path: Path, change: Callable[[dict[str, Any]], object], **fields: Any) -> Model:
    """A good model with other parameters, and other fields, in its contract."""
    contract = Model.load(write_model(path), provider="cpu").contract
    parameters = {"constants": dict(contract.parameters["constants"])}
    change(parameters)
    model = onnx.load(path)
    attach_contract(model, replace(contract, parameters=parameters, **fields))
    path.write_bytes(model.SerializeToString())
    return Model.load(path, provider="cpu")


def test_a_file_holds_four_methods_with_its_constants(tmp_path: Path) -> None:
    constants = Constants(latency=0.0075, blend=0.4)
    setups = load_setups(Model.load(write_model(tmp_path / "m.onnx", constants), provider="cpu"))
    assert tuple(setups) == METHODS and all(setup.method == name for name, setup in setups.items())
    assert {name for name, setup in setups.items() if setup.network is not None} == {"network"}
    assert {name for name, setup in setups.items() if setup.filtered} == {"filter", "network"}
    assert setups.pop("vqf").constants == constants._replace(latency=0.0)  # as it was published
    assert all(setup.constants == constants for setup in setups.values())


def test_without_a_file_there_are_vqf_and_filter() -> None:
    assert not classical_setup("vqf").filtered and classical_setup("filter").filtered
    for method in ("vqf_latency", "network", "kalman"):
        with pytest.raises(
            ValueError, match=f"{method} needs a model file: without one there are vqf and filter"
        ):
            classical_setup(method)


def test_a_file_of_another_task_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    path = write_bias_model(tmp_path / "bias.onnx")
    with pytest.raises(
        ModelError,
        match=r"bias\.onnx does not fit attitude: it is a model for the task 'uwb_bias'; its tensors are .*bias.*; "
        r"it wants the features distance, .*; its parameters have no constants\. Train it anew",
    ):
        load_setups(Model.load(path, provider="cpu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["constants"].update(gravity=9.81), "unknown constant gravity"),
        (lambda p: p["constants"].update(gyro="much"), "the constant gyro is no number"),
        (lambda p: p["constants"].update(gyro=True), "the constant gyro is no number"),
        (lambda p: p["constants"].update(gyro=None), "the constant gyro is no number"),
        (lambda p: p["constants"].update(period=0.0), "the constant period is 0: it must be positive"),
        (
            lambda p: p["constants"].update(accel=-0.1),
            "the constant accel is -0.1: it must be zero or positive",
        ),
        (lambda p: p["constants"].update(latency=12.0), "the constant latency is 12: it must be within 1 s"),
        (lambda p: p.pop("constants"), "its parameters have no constants"),
        (lambda p: p.update(constants=[1.0]), "its parameters have no constants"),
    ],
)
def test_constants_that_are_unknown_or_impossible_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"m\.onnx does not fit attitude: {message}\. Train it anew"):
        load_setups(edited(tmp_path / "m.onnx", change))


def test_a_constant_newer_than_the_file_keeps_its_default(tmp_path: Path) -> None:
    setups = load_setups(edited(tmp_path / "m.onnx", lambda p: p["constants"].pop("heading_drift")))
    assert setups["filter"].constants == Constants()


def test_features_that_nobody_computes_are_refused_by_name(tmp_path: Path) -> None:
    other = ("turn_rate_9s", *features.NAMES[1:])
    with pytest.raises(ModelError, match=r"it wants the features turn_rate_9s, .*, not log_turn_rate_0\.1s"):
        load_setups(edited(tmp_path / "m.onnx", lambda _: None, features=other))

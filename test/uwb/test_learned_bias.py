"""The bias models of one file: what is refused."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_models import write_model

from nn_estimation.contract import attach_contract
from nn_estimation.inference import Model, ModelError
from nn_estimation.shipped import default_model
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.learned_bias import load_bias_models

LAYOUT = Layout.from_yaml("""
anchors: {a0: {position: [0, 0, 2]}}
tags: {tag: {position: [0, 0, 0]}}
""")


def test_the_shipped_model_holds_all_methods() -> None:
    models = load_bias_models(Model.load(default_model()), LAYOUT)
    assert list(models) == ["raw", "constant", "affine", "ridge", "network"]


def test_a_model_for_another_task_is_refused_by_name(tmp_path: Path) -> None:
    path = write_model(tmp_path / "attitude.onnx", task="attitude")
    with pytest.raises(ModelError, match=r"attitude\.onnx is a model for the task attitude, uwb_bias or"):
        load_bias_models(Model.load(path), LAYOUT)


def test_a_bias_model_that_lacks_tables_or_tensors_is_refused_with_the_list(tmp_path: Path) -> None:
    path = write_model(tmp_path / "half.onnx")
    with pytest.raises(
        ModelError, match=r"lacks the tensor gradient; it lacks the table raw; .*correlation_time"
    ):
        load_bias_models(Model.load(path), LAYOUT)


def edited(path: Path, change: Callable[[dict[str, Any]], object], **fields: Any) -> Path:
    """The model of the demo with other parameters in its contract."""
    shipped = default_model("uwb_demo.onnx")
    contract = Model.load(shipped, provider="cpu").contract
    parameters = copy.deepcopy(contract.parameters)
    change(parameters)
    model = onnx.load(shipped)
    attach_contract(model, replace(contract, parameters=parameters, **fields))
    path.write_bytes(model.SerializeToString())
    return path


def add_links(p: dict[str, Any]) -> None:
    """Two: the row that the graph keeps for unknown links would take the first."""
    p["links"] += ["tag9|a0", "tag9|a1"]
    for table in ("raw", "constant", "affine", "ridge"):
        for column in ("offset", "slope", "variance"):
            p[table][column] += p[table][column][:2]
    for what in ("tag", "anchor"):
        p["ridge"][f"link_{what}"] += [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(links=None), "links is no list"),
        (lambda p: p["links"].__setitem__(1, p["links"][0]), "links is no list of different names"),
        (lambda p: p["links"].pop(), r"raw\.offset is not 16 numbers"),
        (lambda p: p["affine"]["slope"].pop(), r"affine\.slope is not 17 numbers"),
        (lambda p: p.update(constant="x"), r"constant\.offset is not 17 numbers; .*variance"),
        (lambda p: p["affine"]["variance"].__setitem__(3, -0.1), r"affine\.variance holds -0\.1"),
        (lambda p: p["correlation_time"].pop("ridge"), r"correlation_time\.ridge is not 1 numbers"),
        (lambda p: p["ridge"]["offset"].pop(), r"ridge\.offset is not 17 numbers"),
        (lambda p: p["ridge"]["pattern"].pop(), r"ridge\.pattern is not 10 numbers"),
        (lambda p: p["ridge"]["link_tag"].__setitem__(0, 99), "link_tag points past the 3 rows"),
        (lambda p: p["ridge"]["link_anchor"].__setitem__(0, -1), "link_anchor holds -1"),
        (lambda p: p["ridge"]["anchor_pattern"].pop(), "link_anchor points past the 8 rows"),
        (lambda p: p["ridge"]["features"].pop(), r"ridge\.features is not"),
        (lambda p: p["ridge"]["knots"].pop("distance"), "not of the same features"),
        (lambda p: p["ridge"]["values"]["distance"].pop(), r"values\.distance is not 7 numbers"),
        (lambda p: p["ridge"]["knots"]["rx_power"].reverse(), r"knots\.rx_power does not rise"),
        (add_links, "does not compute all of its 18 links"),
    ],
)
def test_tables_that_do_not_fit_are_refused_never_indexed_past(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = edited(tmp_path / "model.onnx", change)
    with pytest.raises(ModelError, match=message):
        load_bias_models(Model.load(path, provider="cpu"), LAYOUT)


def test_a_model_that_wants_the_measured_range_is_refused(tmp_path: Path) -> None:
    features = ("range", *Model.load(default_model("uwb_demo.onnx"), provider="cpu").contract.features[1:])
    path = edited(tmp_path / "model.onnx", lambda _: None, features=features)
    with pytest.raises(ModelError, match="nobody computes its feature range"):
        load_bias_models(Model.load(path, provider="cpu"), LAYOUT)

"""The bias models of one file: what is refused."""

from pathlib import Path

import pytest
from onnx_models import write_model

from nn_estimation.inference import Model, ModelError
from nn_estimation.uwb.commands import default_model
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
    with pytest.raises(ModelError, match=r"lacks the table raw, .*correlation_time, the tensor gradient"):
        load_bias_models(Model.load(path), LAYOUT)

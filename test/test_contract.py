import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import CONTRACT, bias_model, write_model

from nn_estimation.contract import KEY, Contract, ModelError, TensorSpec, attach_contract, read_contract

names = st.text("abcdefgh_", min_size=1, max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    features = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
    bounds = [sorted(draw(st.tuples(numbers, numbers))) for _ in features]
    outputs = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return Contract(
        task=draw(names),
        inputs=(TensorSpec("features", "float32", ("batch", len(features)), "m", "base_link"),),
        outputs=tuple(
            TensorSpec(name, draw(st.sampled_from(["float64", "bool"])), ("batch",)) for name in outputs
        ),
        features=features,
        valid_range=tuple((low, high) for low, high in bounds),
        parameters=draw(st.dictionaries(names, values, max_size=3)),
        training=draw(st.dictionaries(names, values, max_size=3)),
        metrics=draw(st.dictionaries(names, numbers, max_size=3)),
        licence=draw(st.text(max_size=5)),
        package_version="0.1.0",
        rate=draw(st.none() | st.floats(1e-3, 1e4)),
        window=draw(st.none() | st.integers(1, 500)),
    )


@given(contracts())
def test_json_gives_the_contract_back_and_the_same_text(contract: Contract) -> None:
    text = contract.to_json()
    assert Contract.from_json(text) == contract
    assert Contract.from_json(text).to_json() == text


@given(contracts())
def test_metadata_gives_the_contract_back_and_holds_one(contract: Contract) -> None:
    model = onnx.ModelProto()
    model.metadata_props.add(key="author", value="somebody")
    attach_contract(model, CONTRACT)
    attach_contract(model, contract)
    assert [p.key for p in model.metadata_props] == ["author", KEY]
    assert Contract.from_json(model.metadata_props[1].value) == contract


def test_a_contract_is_attached_to_a_file_too(tmp_path) -> None:
    path = write_model(tmp_path / "model.onnx")
    attach_contract(path, replace(CONTRACT, licence="BSD-3-Clause"))
    assert read_contract(onnx.load(path), "model").licence == "BSD-3-Clause"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": ""}, "the task is empty"),
        ({"valid_range": ((0.0, 1.0),)}, "valid_range has 1 entries for 3 features"),
        ({"features": ("distance", "distance", "x")}, "feature names repeat: distance, distance, x"),
        ({"features": ("distance",)}, r"input features has shape \('batch', 3\) for 1 feature names"),
        ({"valid_range": ((1.0, 0.0), (0.0, 1.0), (0.0, 1.0))}, r"valid range of distance is \[1\.0, 0\.0\]"),
        ({"valid_range": ((0.0, np.inf),) * 3}, r"valid range of distance is \[0\.0, inf\]"),
        ({"inputs": ()}, "there is no input"),
        ({"outputs": CONTRACT.outputs * 2}, "output names repeat"),
        ({"outputs": (TensorSpec("bias", "float16", ("batch",)),)}, "dtype 'float16', not one of float32"),
        ({"outputs": (TensorSpec("bias", "float32", (0,)),)}, r"output bias has shape \(0,\)"),
        ({"rate": -1.0}, "the rate is -1.0 Hz"),
        ({"window": 0}, "the window is 0 samples"),
        ({"parameters": {"x": float("nan")}}, "cannot be written as JSON"),
        ({"parameters": {"x": np.float32(1)}}, "cannot be written as JSON"),
    ],
)
def test_a_contract_that_contradicts_itself_is_neither_written_nor_read(change: dict, message: str) -> None:
    contract = replace(CONTRACT, **change)
    with pytest.raises(ModelError, match=message):
        contract.to_json()


def edited(**changes: object) -> str:
    return json.dumps({**json.loads(CONTRACT.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("[1, 2]", "version None"),
        ('{"version": 1, "x": NaN}', "NaN is not a number of JSON"),
        ("[" * 100_000, "is no JSON"),
        ("x" * (5 << 20), "at most"),
        (edited(version=2), "version 2, this package reads version 1: export the model with this version"),
        (edited(feature=[]), "unknown key 'feature', the nearest known one is 'features'"),
        (edited(valid_range=[[0, 1], [0, 1]]), "valid_range has 2 entries for 3 features"),
        (edited(valid_range=[[0, 1, 2]] * 3), r"valid_range\[0\] must have 2 entries, not 3"),
        (edited(features="abc"), "features must be"),
        (edited(inputs=[{"name": "features"}]), "dtype is missing; shape is missing"),
        (edited(rate="fast"), "rate must be float"),
    ],
)
def test_a_damaged_contract_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Contract.from_json(text, "model.onnx")


def test_all_differences_are_listed_at_once() -> None:
    mapping = json.loads(edited(surplus=1, rate="fast"))
    del mapping["licence"]
    with pytest.raises(ModelError) as caught:
        Contract.from_json(json.dumps(mapping), "model.onnx")
    for part in ("model.onnx", "'surplus'", "rate must be float", "licence is missing"):
        assert part in str(caught.value)


def test_a_graph_that_is_not_what_the_contract_says_is_refused_with_the_differences() -> None:
    outputs = (
        TensorSpec("bias", "float64", ("batch",)),
        TensorSpec("variance", "float32", ("batch", 2)),
        TensorSpec("gradient", "float32", ("batch", 3)),
    )
    model = bias_model()
    attach_contract(model, replace(CONTRACT, inputs=CONTRACT.inputs[:1], outputs=outputs))
    with pytest.raises(ModelError) as caught:
        read_contract(model, "model.onnx")
    for part in (
        "the graph has an input link that the contract does not name",
        "the contract names an output gradient that the graph does not have",
        "output bias is float in the graph and float64 in the contract",
        "output variance is ['batch'] in the graph and ['batch', 2] in the contract",
    ):
        assert part in str(caught.value)

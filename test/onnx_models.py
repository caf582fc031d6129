"""Small ONNX models with a contract, made without torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nn_estimation.contract import Contract, TensorSpec, attach_contract

FEATURES = ("distance", "azimuth_tag", "elevation_tag")

CONTRACT = Contract(
    task="uwb_bias",
    inputs=(
        TensorSpec("features", "float32", ("batch", 3), "m, rad"),
        TensorSpec("link", "int64", ("batch",)),
    ),
    outputs=(
        TensorSpec("bias", "float32", ("batch",), "m"),
        TensorSpec("variance", "float32", ("batch",), "m^2"),
    ),
    features=FEATURES,
    valid_range=((0.5, 30.0), (-3.2, 3.2), (-1.6, 1.6)),
    parameters={"links": ["tag|a0", "tag|a1"]},
    training={"data": ["made up"], "digest": "0" * 64, "licence": "CC0", "seed": 0, "command": "none"},
    metrics={"rmse_m": 0.1},
    licence="Apache-2.0",
    package_version="0.1.0",
)

WEIGHTS = np.array([[0.1], [0.2], [-0.3]], np.float32)
OFFSETS = np.array([0.01, 0.02, 0.03], np.float32)  # two links and the unknown one, which -1 indexes


def bias_model() -> onnx.ModelProto:
    """bias = features W + offsets[link], variance = exp(features[:, 0])."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Squeeze", ["product", "axis"], ["linear"]),
        helper.make_node("Gather", ["offsets", "link"], ["offset"]),
        helper.make_node("Add", ["linear", "offset"], ["bias"]),
        helper.make_node("Gather", ["features", "first"], ["distance"], axis=1),
        helper.make_node("Exp", ["distance"], ["variance"]),
    ]
    constants = {"weights": WEIGHTS, "axis": np.array([1]), "offsets": OFFSETS, "first": np.array(0)}
    graph = helper.make_graph(
        nodes,
        "bias",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("link", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("bias", "variance")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def expected(features: np.ndarray, link: np.ndarray) -> dict[str, np.ndarray]:
    """What `bias_model` computes."""
    return {"bias": (features @ WEIGHTS)[:, 0] + OFFSETS[link], "variance": np.exp(features[:, 0])}


def write_model(path: Path, model: onnx.ModelProto | None = None, **changes: object) -> Path:
    """`bias_model`, or another, with the contract above and `changes` of its fields."""
    model = model or bias_model()
    attach_contract(model, replace(CONTRACT, **changes))  # type: ignore[arg-type]
    path.write_bytes(model.SerializeToString())
    return path

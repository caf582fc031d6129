"""The model contract: what a model file promises, kept as JSON in the metadata of its ONNX graph."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from nn_estimation.configuration import ConfigError, from_mapping

KEY = "nn_estimation.contract"
VERSION = 1
MAX_JSON = 4 << 20  # [bytes]
DTYPES = {
    "float32": onnx.TensorProto.FLOAT,
    "float64": onnx.TensorProto.DOUBLE,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "bool": onnx.TensorProto.BOOL,
}


class ModelError(ValueError):
    """A model file that cannot be used; the message says what is wrong with it and what to do."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph."""

    name: str
    dtype: str  # a key of DTYPES
    shape: tuple[int | str, ...]  # a string is a length chosen at each call, such as "batch"
    unit: str = ""  # SI; empty for what has none
    frame: str = ""  # of vectors and rotations


@dataclass(frozen=True)
class Contract:
    """What the graph computes, from what, how it came about and how good it is.

    `parameters` is the task's own: tables of the classical baselines, names of links, calibrations.
    """

    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    features: tuple[str, ...]  # columns of the input `features`, where there is one
    valid_range: tuple[tuple[float, float], ...]  # of each feature in training, [low, high]
    parameters: dict[str, Any]
    training: dict[str, Any]  # data, digest, licence, seed, command
    metrics: dict[str, Any]  # on held-out data
    licence: str
    package_version: str
    rate: float | None = None  # [Hz] of the samples in a window
    window: int | None = None  # samples
    version: int = VERSION

    def to_json(self) -> str:
        """The contract as JSON, the same text for the same contract.

        Raises:
            ModelError: a contract that contradicts itself, or values JSON has no words for.
        """
        _refuse(self._contradictions(), "the contract")
        try:
            return json.dumps(asdict(self), sort_keys=True, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise ModelError(f"the contract cannot be written as JSON: {error}") from error

    @classmethod
    def from_json(cls, text: str, source: str = "the contract") -> Contract:
        """The contract that `to_json` wrote.

        Args:
            text: JSON.
            source: where it was found, for the messages.

        Raises:
            ModelError: not JSON, another version, unknown, missing or ill-typed entries, lists whose lengths
                do not match; all differences are listed.
        """
        if len(text) > MAX_JSON:
            raise ModelError(
                f"{source} holds a contract of {len(text)} characters, at most {MAX_JSON} are read"
            )
        try:
            mapping = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{source} holds a contract that is no JSON: {error}") from error
        version = mapping.get("version") if isinstance(mapping, dict) else None
        if version != VERSION:
            raise ModelError(
                f"{source} holds a contract of version {version!r}, this package reads version {VERSION}: "
                "export the model with this version of nn_estimation"
            )
        try:
            contract = from_mapping(cls, mapping)
        except ConfigError as error:
            raise ModelError(f"{source} holds a contract that does not fit: {error}") from error
        _refuse(contract._contradictions(), source)
        return contract

    def _contradictions(self) -> list[str]:
        found = []
        for kind, specs in (("input", self.inputs), ("output", self.outputs)):
            names = [spec.name for spec in specs]
            if not names:
                found.append(f"there is no {kind}")
            if len(set(names)) < len(names):
                found.append(f"{kind} names repeat: {', '.join(names)}")
            for spec in specs:
                if spec.dtype not in DTYPES:
                    found.append(
                        f"{kind} {spec.name} has dtype {spec.dtype!r}, not one of {', '.join(DTYPES)}"
                    )
                if any(isinstance(size, int) and size < 1 for size in spec.shape):
                    found.append(f"{kind} {spec.name} has shape {spec.shape}")
                if spec.name == "features" and (not spec.shape or spec.shape[-1] != len(self.features)):
                    found.append(
                        f"input features has shape {spec.shape} for {len(self.features)} feature names"
                    )
        if not self.task:
            found.append("the task is empty")
        if len(set(self.features)) < len(self.features):
            found.append(f"feature names repeat: {', '.join(self.features)}")
        if len(self.valid_range) != len(self.features):
            found.append(f"valid_range has {len(self.valid_range)} entries for {len(self.features)} features")
        for name, (low, high) in zip(self.features, self.valid_range, strict=False):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                found.append(f"the valid range of {name} is [{low}, {high}]")
        if self.rate is not None and not 0 < self.rate < math.inf:
            found.append(f"the rate is {self.rate} Hz")
        if self.window is not None and self.window < 1:
            found.append(f"the window is {self.window} samples")
        return found


def attach_contract(model: onnx.ModelProto | str | Path, contract: Contract) -> None:
    """Put the contract into the metadata of a model, in place, instead of one it has.

    Args:
        model: an ONNX model in memory, or the path of one.
        contract: checked before the model is touched.

    Raises:
        ModelError: the contract contradicts itself.
    """
    text = contract.to_json()
    if not isinstance(model, onnx.ModelProto):
        loaded = onnx.load(model, load_external_data=False)
        attach_contract(loaded, contract)
        Path(model).write_bytes(loaded.SerializeToString(deterministic=True))
        return
    kept = [(p.key, p.value) for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    for key, value in [*kept, (KEY, text)]:
        model.metadata_props.add(key=key, value=value)


def read_contract(model: onnx.ModelProto, source: str) -> Contract:
    """The contract in the metadata of `model`.

    Raises:
        ModelError: there is none or more than one, it is damaged, or the graph is not what it says.
    """
    texts = [p.value for p in model.metadata_props if p.key == KEY]
    if len(texts) != 1:
        count = "no contract" if not texts else f"{len(texts)} contracts"
        raise ModelError(
            f"{source} carries {count} of nn_estimation: it was not exported by this package. "
            "Train it with `nn_estimation train`, or export it with nn_estimation.learning.export"
        )
    contract = Contract.from_json(texts[0], source)
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    _refuse(
        [
            *_compare("input", contract.inputs, inputs),
            *_compare("output", contract.outputs, model.graph.output),
        ],
        source,
    )
    return contract


def _compare(kind: str, specs: Sequence[TensorSpec], values: Sequence[onnx.ValueInfoProto]) -> list[str]:
    """What the graph says otherwise than the contract."""
    found = []
    by_name = {value.name: value for value in values}
    for name in by_name.keys() - {spec.name for spec in specs}:
        found.append(f"the graph has an {kind} {name} that the contract does not name")
    for spec in specs:
        value = by_name.get(spec.name)
        if value is None:
            found.append(f"the contract names an {kind} {spec.name} that the graph does not have")
            continue
        tensor = value.type.tensor_type
        sizes = [
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim
        ]
        fits = len(sizes) == len(spec.shape) and all(
            have == want if isinstance(want, int) else isinstance(have, str)
            for want, have in zip(spec.shape, sizes, strict=True)
        )
        if tensor.elem_type != DTYPES[spec.dtype]:
            dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
            found.append(f"{kind} {spec.name} is {dtype} in the graph and {spec.dtype} in the contract")
        if not fits:
            found.append(f"{kind} {spec.name} is {sizes} in the graph and {list(spec.shape)} in the contract")
    return found


def _refuse(problems: Sequence[str], source: str) -> None:
    if problems:
        raise ModelError(f"{source} contradicts itself: " + "; ".join(problems) + ". Export the model again")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")

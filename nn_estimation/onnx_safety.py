"""What a model file must not be before a runtime sees it: oversized, damaged, nested, or reaching outside."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from nn_estimation.contract import ModelError

MAX_BYTES = 64 << 20
MAX_NODES = 20_000
MAX_MESSAGES = 1_000_000  # of protobuf, counted while walking
MAX_ELEMENTS = 1 << 24  # of one tensor, as far as its shape is fixed
MAX_PROPAGATED = (
    1 << 20
)  # of all integer vectors together; inference keeps a message for each of their elements
MAX_DEPTH = 24  # of protobuf messages in each other
DOMAINS = ("", "ai.onnx")
# Operators whose output is as large as the values of an input say.
SIZED = {
    "CenterCropPad",
    "ConstantOfShape",
    "Expand",
    "Pad",
    "Range",
    "Reshape",
    "Resize",
    "Tile",
    "Upsample",
}
_INTEGERS = {onnx.TensorProto.INT32, onnx.TensorProto.INT64}


def read_model_file(path: str | Path, sha256: str | None = None) -> tuple[bytes, str]:
    """The bytes of a model file and their SHA-256 in hexadecimal.

    Raises:
        ModelError: absent, empty, larger than MAX_BYTES, or not the file with the digest `sha256`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise ModelError(f"{path} is empty: copy or export it again")
    if len(content) > MAX_BYTES:
        raise ModelError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no model of this package is")
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise ModelError(
            f"{path} is not the pinned file: its SHA-256 is {digest}, the pin says {sha256}. "
            "Restore the file, or change the pin if the model was meant to change"
        )
    return content, digest


def parse_model(content: bytes, source: str) -> onnx.ModelProto:
    """The ONNX model in `content`, made sure to be self-contained and of bounded size.

    Raises:
        ModelError: no ONNX, truncated, nested too deeply, too many nodes, too large or kept in other files
            (tensors), operators or functions outside the standard, operators with a body, or what the checker of
            onnx refuses.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(
            f"{source} is no ONNX file, is truncated or damaged, or is nested too deeply ({error}): "
            "copy or export it again"
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError(f"{source} is no ONNX model: it holds no graph. Copy or export it again")
    _walk(model, source)
    if model.functions:
        names = ", ".join(sorted({function.name for function in model.functions}))
        raise ModelError(f"{source} defines functions of its own ({names}): export it with functions inlined")
    try:
        onnx.checker.check_model(model)
        _refuse_large(model, source)
    except MemoryError as error:
        raise ModelError(
            f"{source} takes more memory to check than there is: it was not exported here"
        ) from error
    except ModelError:
        raise
    # Damaged names and types come back as ValueError, failures inside the checks as RuntimeError.
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ModelError(f"{source} is not valid ONNX: {_first_line(error)}. Export it again") from error
    return model


def _refuse_large(model: onnx.ModelProto, source: str) -> None:
    """Raise ModelError where a tensor is too large, as far as its shape follows from the file.

    Shapes that are computed are known only where the values of integer vectors are propagated, and that takes
    memory by the element. So it is done with every output of `SIZED` cut off from who reads it, once the sizes of
    all that does not depend on them are known; what is found of them goes into a last look without propagation.
    """
    types = _inferred(model, source)
    if not any(node.op_type in SIZED for node in model.graph.node):
        return
    vectors = [t.tensor_type for t in types.values() if t.tensor_type.elem_type in _INTEGERS]
    lengths = [v.shape.dim[0].dim_value for v in vectors if len(v.shape.dim) == 1]
    if sum(lengths) > MAX_PROPAGATED:
        raise ModelError(
            f"{source} computes with integer vectors of {sum(lengths)} elements: too large to check"
        )
    cut, own = onnx.ModelProto(), {}
    cut.CopyFrom(model)
    for node in cut.graph.node:
        if node.op_type in SIZED:
            name = node.output[0]
            own[name] = node.output[0] = f"{name}, as it is made"
            cut.graph.input.add(name=name).type.CopyFrom(types.get(name, onnx.TypeProto()))
    found = _inferred(cut, source, propagate=True)
    for value in cut.graph.input:
        if value.name in own and own[value.name] in found:
            value.type.CopyFrom(found[own[value.name]])
    _inferred(cut, source)


def _inferred(model: onnx.ModelProto, source: str, propagate: bool = False) -> dict[str, onnx.TypeProto]:
    """Name -> type of the tensors of a model, none of which is too large."""
    graph = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=propagate
    ).graph
    types = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    for name, kind in types.items():
        sizes = [dim.dim_value for dim in kind.tensor_type.shape.dim if dim.HasField("dim_value")]
        if math.prod(sizes) > MAX_ELEMENTS:
            shape = " x ".join(map(str, sizes))
            raise ModelError(
                f"{source} computes the tensor {name.partition(', as')[0]} of {shape} elements: too large to run"
            )
    return types


def _walk(model: onnx.ModelProto, source: str) -> None:
    """Look at every message of the model, wherever it hides: in attributes, in functions."""
    nodes = messages = 0
    pending: list[tuple[Message, int]] = [(model, 1)]
    while pending:
        message, depth = pending.pop()
        messages += 1
        if depth > MAX_DEPTH:
            raise ModelError(
                f"{source} is nested more than {MAX_DEPTH} messages deep: it was not exported here"
            )
        if messages > MAX_MESSAGES:
            raise ModelError(f"{source} has more than {MAX_MESSAGES} entries: it was not exported here")
        if isinstance(message, onnx.NodeProto):
            nodes += 1
            if nodes > MAX_NODES:
                raise ModelError(
                    f"{source} has more than {MAX_NODES} nodes, which no model of this package has"
                )
            if message.domain not in DOMAINS:
                raise ModelError(
                    f"{source} needs the custom operator {message.domain}::{message.op_type}: "
                    "only standard ONNX operators are run; export it without"
                )
        elif isinstance(message, onnx.AttributeProto) and (message.HasField("g") or message.graphs):
            raise ModelError(
                f"{source} needs an operator with a body, such as Loop, Scan or If, which can run for ever: "
                "export it without"
            )
        elif isinstance(message, onnx.TensorProto):
            if message.data_location != onnx.TensorProto.DEFAULT or message.external_data:
                raise ModelError(
                    f"{source} keeps the tensor {message.name!r} in another file: a model is one file here; "
                    "save it with save_as_external_data=False"
                )
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                children = (value,) if isinstance(value, Message) else value
                pending.extend((child, depth + 1) for child in children)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

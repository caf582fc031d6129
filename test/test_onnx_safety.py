import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import bias_model, write_model

from nn_estimation import onnx_safety
from nn_estimation.contract import ModelError
from nn_estimation.inference import Model


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Model.load(path, task="uwb_bias", provider="cpu")
    assert path.name in str(caught.value)
    return str(caught.value)


def refusal_of(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> str:
    model = bias_model()
    change(model)
    return refusal(write_model(tmp_path / "model.onnx", model))


def outside(tensor: onnx.TensorProto, location: str) -> None:
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def test_the_unchanged_model_is_accepted(tmp_path: Path) -> None:
    assert Model.load(write_model(tmp_path / "model.onnx"), task="uwb_bias", provider="cpu").provider == "cpu"


def test_an_absent_empty_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in refusal(tmp_path / "empty.onnx")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"not a model", b"\x89PNG\r\n\x1a\n" * 50, b"\x00" * 1000, b"{}"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert "no ONNX" in refusal(tmp_path / "model.onnx")


@given(st.floats(0.0, 0.999))
def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = write_model(tmp_path_factory.mktemp("models") / "model.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refusal(path)


@given(st.integers(0), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_harmless_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    path = write_model(tmp_path_factory.mktemp("models") / "model.onnx")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    path.write_bytes(content)
    try:
        Model.load(path, task="uwb_bias", provider="cpu")
    except ModelError as error:
        assert path.name in str(error)


def test_a_file_beyond_the_size_limit_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: a tebibyte that takes no space
    assert "larger than 64 MiB" in refusal(path)


def test_a_pin_refuses_every_other_file(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    digest = Model.load(path, task="uwb_bias").sha256
    assert Model.load(path, task="uwb_bias", sha256=digest.upper()).sha256 == digest
    write_model(path, licence="MIT")
    with pytest.raises(ModelError, match="is not the pinned file: its SHA-256 is"):
        Model.load(path, task="uwb_bias", sha256=digest)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*"])
def test_a_tensor_in_another_file_is_refused_even_beside_the_model(tmp_path: Path, location: str) -> None:
    tensor = bias_model().graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    message = refusal_of(tmp_path, lambda model: outside(model.graph.initializer[0], location))
    assert (
        "keeps the tensor 'weights' in another file" in message and "save_as_external_data=False" in message
    )


def test_external_data_is_found_in_attributes(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    outside(value, "hidden.bin")
    constant = helper.make_node("Constant", [], ["hidden"], value=value)
    assert "'hidden' in another file" in refusal_of(tmp_path, lambda model: model.graph.node.append(constant))


def test_leftover_external_data_entries_are_refused_too(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value="weights.bin")

    assert "in another file" in refusal_of(tmp_path, change)


@pytest.mark.parametrize("domain", ["com.microsoft", "my.ops"])
def test_custom_operators_are_refused_by_name(tmp_path: Path, domain: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].domain = domain
        model.opset_import.append(helper.make_opsetid(domain, 1))

    assert f"needs the custom operator {domain}::Exp" in refusal_of(tmp_path, change)


def test_functions_are_refused(tmp_path: Path) -> None:
    function = helper.make_function(
        "", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 18)]
    )
    assert "functions of its own (Twice)" in refusal_of(
        tmp_path, lambda model: model.functions.append(function)
    )


def nested(depth: int) -> onnx.NodeProto:
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    node = helper.make_node("Constant", [], ["out"], value=one)
    for _ in range(depth):
        body = helper.make_graph([node], "body", [], [output])
        node = helper.make_node("If", ["condition"], ["out"], then_branch=body, else_branch=body)
    return node


@pytest.mark.parametrize("depth", [1, 8, 12])
def test_operators_with_a_body_are_refused(tmp_path: Path, depth: int) -> None:
    message = refusal_of(tmp_path, lambda model: model.graph.node.append(nested(depth)))
    assert "an operator with a body, such as Loop, Scan or If" in message


def test_a_loop_is_refused_before_it_runs(tmp_path: Path) -> None:
    scalar = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("pass", TensorProto.INT64), ("on", TensorProto.BOOL), ("go", TensorProto.BOOL))
    ]
    body = helper.make_graph([helper.make_node("Identity", ["on"], ["go"])], "body", scalar[:2], scalar[2:])

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(1 << 62), "passes"))
        model.graph.node.append(helper.make_node("Loop", ["passes", ""], [], body=body))

    assert "an operator with a body" in refusal_of(tmp_path, change)


def deep_type(depth: int) -> bytes:
    """A sequence of a sequence of ..., wire format, as protobuf would refuse to build it recursively."""
    content = b""
    for _ in range(depth):
        for tag in (b"\x0a", b"\x22"):  # Sequence.elem_type = 1, TypeProto.sequence_type = 4
            content = tag + _varint(len(content)) + content
    return content


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


@pytest.mark.parametrize("depth", [20, 10_000])
def test_types_nested_too_deeply_are_refused_before_and_inside_the_parser(tmp_path: Path, depth: int) -> None:
    kind = deep_type(depth)
    value_info = b"\x0a\x01x\x12" + _varint(len(kind)) + kind  # name = 1, type = 2
    graph = b"\x6a" + _varint(len(value_info)) + value_info  # value_info = 13
    path = write_model(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes() + b"\x3a" + _varint(len(graph)) + graph)  # ModelProto.graph = 7
    assert "nested" in refusal(path)


def test_too_many_nodes_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["link"], [f"copy_{i}"]) for i in range(onnx_safety.MAX_NODES)]
    assert "more than 20000 nodes" in refusal_of(tmp_path, lambda model: model.graph.node.extend(nodes))


def test_a_small_file_that_asks_for_a_huge_tensor_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "huge"))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["filled"]))

    assert "1048576 x 1048576 elements: too large to run" in refusal_of(tmp_path, change)


def made_large(shape: list[int], how: str) -> Callable[[onnx.ModelProto], None]:
    """Adds a tensor of a shape that the file says, or computes, and sums of it."""

    def change(model: onnx.ModelProto) -> None:
        zero = numpy_helper.from_array(np.array([0]), "zero")
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "sizes"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
        name = "sizes" if how == "said" else "computed"
        model.graph.node.extend(
            [
                helper.make_node("Concat", ["sizes"], ["computed"], axis=0),
                helper.make_node("Expand", ["one", name], ["filled"])
                if how == "expanded"
                else helper.make_node("ConstantOfShape", [name], ["filled"], value=zero),
                *(helper.make_node("Add", ["filled", "filled"], [f"sum_{i}"]) for i in range(4)),
            ]
        )

    return change


MEMORY = """
import resource, sys
from nn_estimation.contract import ModelError
from nn_estimation.onnx_safety import parse_model
content = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    parse_model(content, "x")
except ModelError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
@pytest.mark.parametrize("how", ["said", "computed", "expanded"])
def test_a_large_tensor_is_found_without_taking_memory(tmp_path: Path, how: str) -> None:
    model = bias_model()
    made_large([60_000_000], how)(model)
    path = write_model(tmp_path / "model.onnx", model)
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
    growth, _, message = done.stdout.partition(" ")
    assert "of 60000000 elements: too large to run" in message
    assert int(growth) < 200_000  # [KiB]


def test_a_large_output_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        made_large([1 << 29], "said")(model)
        del model.graph.node[-4:]  # nothing reads it
        model.graph.output.append(helper.make_tensor_value_info("filled", TensorProto.INT64, [1 << 29]))

    assert "tensor filled of 536870912 elements" in refusal_of(tmp_path, change)


def test_a_product_of_two_computed_shapes_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        made_large([1 << 20, 1], "computed")(model)
        model.graph.node.append(helper.make_node("Transpose", ["filled"], ["across"]))
        model.graph.node.append(helper.make_node("Add", ["filled", "across"], ["square"]))

    assert "1048576 x 1048576 elements: too large to run" in refusal_of(tmp_path, change)


def test_a_check_that_runs_out_of_memory_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    assert "takes more memory to check than there is" in refusal_of(tmp_path, lambda _: None)


def test_a_graph_the_checker_refuses_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Add", ["nowhere", "link"], ["sum"]))

    assert "is not valid ONNX" in refusal_of(tmp_path, change)


def test_a_sound_model_of_somebody_else_is_refused_as_foreign(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bias_model().SerializeToString())
    assert "carries no contract of nn_estimation" in refusal(path)

"""Export: a torch module as one ONNX file that was seen to compute the same."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from nn_estimation.contract import Contract, ModelError, TensorSpec, attach_contract, read_contract
from nn_estimation.onnx_safety import parse_model
from nn_estimation.outputs import check_file

OPSET = 18  # TensorRT 10 and ONNX Runtime >= 1.14
IR_VERSION = 8  # the one opset 18 came with; torch writes a newer one without using it
RTOL, ATOL = 1e-4, 1e-5  # of outputs, in their own unit; float32 kernels differ in the order of sums
RANDOM_BATCHES = (1, 2, 7, 4096)

Inputs: TypeAlias = dict[str, np.ndarray]


class ExportError(RuntimeError):
    """A module that cannot be exported, or whose ONNX file would not compute the same."""


def export(
    module: nn.Module,
    example_inputs: Mapping[str, Tensor],
    path: str | Path,
    contract: Contract,
    *,
    edge_inputs: Sequence[Mapping[str, Tensor]] = (),
    seed: int = 0,
) -> Path:
    """Write `module` with its contract to `path`, if torch and ONNX Runtime agree on it.

    Compared are: the example, random inputs of 1, 2, 7 and 4096 samples, zeros, both ends of the valid
    range (or of the example, where the contract gives none), and `edge_inputs`. Integer inputs are drawn
    between their extremes in the example: let it contain the special ones (such as link -1). The same
    weights and versions give the same bytes.

    Args:
        module: in eval mode; forward takes the contract's inputs by name and returns a tensor or a tuple in
            the order of the contract's outputs.
        example_inputs: one tensor an input of the contract; symbolic dimensions of any length.
        path: of the .onnx file; replaced only on success.
        contract: what is attached; the strings in its shapes are the dynamic dimensions.
        edge_inputs: more inputs to agree on, each like `example_inputs`; NaN in them must come out equal.
        seed: of the random inputs.

    Returns:
        `path`.

    Raises:
        ExportError: training mode, inputs or outputs that are not those of the contract, an operation without
            ONNX counterpart, an output that is not finite, or disagreement, with the worst input.
        OutputError: no file can be written there.
    """
    path = Path(path)
    check_file(path)
    if any(part.training for part in module.modules()):
        raise ExportError(
            f"{type(module).__name__} is in training mode (dropout is active): call eval() first"
        )
    for inputs in (example_inputs, *edge_inputs):
        _check_inputs(inputs, contract)
    example = {spec.name: example_inputs[spec.name].detach().cpu() for spec in contract.inputs}
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    module.cpu()
    try:
        model = _strip(_translate(module, example, contract))
        cases = {
            **_cases(example, contract, np.random.default_rng(seed)),
            **{
                f"edge input {i}": {n: t.cpu().numpy() for n, t in e.items()}
                for i, e in enumerate(edge_inputs)
            },
        }
        attach_contract(model, contract)
        content = model.SerializeToString(deterministic=True)
        read_contract(parse_model(content, str(path)), str(path))
        _agree(module, content, cases, contract)
    except ModelError as error:
        raise ExportError(f"no node would load {type(module).__name__}: {error}") from error
    finally:
        module.to(device)
    _write(path, content)
    return path


def _check_inputs(inputs: Mapping[str, Tensor], contract: Contract) -> None:
    """Names, types and shapes as in the contract; one symbol, one length."""
    wanted = [spec.name for spec in contract.inputs]
    if sorted(inputs) != sorted(wanted):
        raise ExportError(f"the inputs are {sorted(inputs)}, the contract names {wanted}")
    lengths: dict[str, int] = {}
    for spec in contract.inputs:
        tensor = inputs[spec.name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        fits = len(tensor.shape) == len(spec.shape) and all(
            lengths.setdefault(want, have) == have if isinstance(want, str) else want == have
            for want, have in zip(spec.shape, tensor.shape, strict=True)
        )
        if dtype != spec.dtype or not fits:
            raise ExportError(
                f"input {spec.name} is {dtype} {tuple(tensor.shape)}, the contract says "
                f"{spec.dtype} {tuple(spec.shape)}"
            )


def _translate(module: nn.Module, example: Mapping[str, Tensor], contract: Contract) -> onnx.ModelProto:
    """The module as an ONNX model with the contract's names."""
    symbols = {s: torch.export.Dim(s) for spec in contract.inputs for s in spec.shape if isinstance(s, str)}
    dynamic = {
        spec.name: {axis: symbols[s] for axis, s in enumerate(spec.shape) if isinstance(s, str)}
        for spec in contract.inputs
    }
    # A length of 1 would be taken for a constant.
    kwargs = {
        spec.name: _lengthen(example[spec.name], [isinstance(s, str) for s in spec.shape])
        for spec in contract.inputs
    }
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (),
                kwargs=kwargs,
                dynamo=True,
                input_names=list(kwargs),
                output_names=[spec.name for spec in contract.outputs],
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter raises what the module and its many passes raise
        cause = _first_cause(error)
        raise ExportError(f"{type(module).__name__} cannot be exported to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    for kind, found, specs in (
        ("inputs", model.graph.input, contract.inputs),
        ("outputs", model.graph.output, contract.outputs),
    ):
        names, wanted = [value.name for value in found], [spec.name for spec in specs]
        if names != wanted:
            raise ExportError(f"the graph has {kind} {names}, the contract names {wanted}")
    return model


def _first_cause(error: Exception) -> str:
    """The first line of the innermost cause, or of one that points to a line of `forward`, with that line."""
    marker = "The following call raised this error:"
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    text = next((str(link) for link in chain if marker in str(link)), str(chain[-1])).strip()
    _, _, place = text.partition(marker)
    return " ".join([text.split("\n", 1)[0], *map(str.strip, place.strip().splitlines()[:2])])


def _lengthen(tensor: Tensor, dynamic: Sequence[bool]) -> Tensor:
    return tensor.repeat(
        [2 if free and size == 1 else 1 for free, size in zip(dynamic, tensor.shape, strict=True)]
    )


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes: source paths and stack traces have no place in a release."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.value_info[:]
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    model.ir_version = IR_VERSION
    return model


def _cases(example: Mapping[str, Tensor], contract: Contract, rng: np.random.Generator) -> dict[str, Inputs]:
    """Named inputs to agree on."""
    ends = {spec.name: _ends(spec, example[spec.name].numpy(), contract) for spec in contract.inputs}
    lengths = {
        symbol: size
        for spec in contract.inputs
        for symbol, size in zip(spec.shape, example[spec.name].shape, strict=True)
        if isinstance(symbol, str)
    }
    batch = next(iter(lengths), None)

    def draw(spec: TensorSpec, size: int) -> np.ndarray:
        low, high = ends[spec.name]
        shape = [(size if s == batch else lengths[s]) if isinstance(s, str) else s for s in spec.shape]
        if np.issubdtype(low.dtype, np.floating):
            return rng.uniform(low, high, shape).astype(low.dtype)
        return rng.integers(low, high, shape, endpoint=True).astype(low.dtype)

    def filled(index: int) -> Inputs:
        return {n: np.broadcast_to(ends[n][index], t.shape).copy() for n, t in example.items()}

    cases = {"the example": {name: tensor.numpy() for name, tensor in example.items()}}
    for size in RANDOM_BATCHES if batch else (1,):
        cases[f"random inputs, {batch or 'draw'} {size}"] = {s.name: draw(s, size) for s in contract.inputs}
    cases["the lower end of the range"] = filled(0)
    cases["the upper end of the range"] = filled(1)
    zeros = {n: np.zeros_like(a) if a.dtype.kind == "f" else a for n, a in cases["the example"].items()}
    return {**cases, "zeros": zeros}


def _ends(spec: TensorSpec, example: np.ndarray, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each column, of the dtype of the input."""
    limits = np.asarray(contract.valid_range, dtype=np.float64)
    if example.dtype.kind == "f" and spec.shape and spec.shape[-1] == len(limits):
        low, high = limits.T.astype(example.dtype)
        if np.isfinite(limits).all():
            return low, high
    columns = example.reshape(-1, example.shape[-1]) if len(spec.shape) > 1 else example.reshape(-1, 1)
    low, high = columns.min(axis=0), columns.max(axis=0)
    return (low, high) if len(spec.shape) > 1 else (low[0], high[0])


def _agree(module: nn.Module, content: bytes, cases: Mapping[str, Inputs], contract: Contract) -> None:
    """Raise ExportError with the worst input where torch and ONNX Runtime differ."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    names = [spec.name for spec in contract.outputs]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its C extension
        raise ExportError(f"ONNX Runtime cannot load the exported graph: {error}") from error
    worst: tuple[float, str] = (1.0, "")
    for title, inputs in cases.items():
        expected = _run_torch(module, inputs, len(names))
        try:
            found = session.run(names, inputs)
        except Exception as error:
            raise ExportError(f"ONNX Runtime cannot run the exported graph on {title}: {error}") from error
        for spec, want, have in zip(contract.outputs, expected, found, strict=True):
            worst = max(worst, _difference(spec, want, have, title, inputs))
    if worst[1]:
        raise ExportError(
            f"{type(module).__name__} computes something else in ONNX Runtime than in torch: {worst[1]}. "
            "Look for Python branches, counters and random numbers in forward: the export froze them"
        )


def _run_torch(module: nn.Module, inputs: Inputs, count: int) -> list[np.ndarray]:
    with torch.no_grad():
        outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    if len(outputs) != count:
        raise ExportError(
            f"{type(module).__name__} returns {len(outputs)} outputs, the contract names {count}"
        )
    return [output.numpy() for output in outputs]


def _difference(
    spec: TensorSpec, want: np.ndarray, have: np.ndarray, title: str, inputs: Inputs
) -> tuple[float, str]:
    """How far beyond the tolerance (1 is at it), and in words."""
    if want.shape != have.shape or want.dtype != have.dtype or str(want.dtype) != spec.dtype:
        in_torch, in_onnx = f"{want.dtype} {want.shape}", f"{have.dtype} {have.shape}"
        in_contract = f"{spec.dtype} {tuple(spec.shape)}"
        return np.inf, f"{spec.name} is {in_torch} in torch, {in_onnx} in ONNX, {in_contract} in the contract"
    if want.size == 0:
        return 0.0, ""
    finite_inputs = all(np.isfinite(array).all() for array in inputs.values())
    if finite_inputs and not np.isfinite(want).all():
        return np.inf, f"on {title}, {spec.name} is not finite although the inputs are"
    with np.errstate(invalid="ignore"):
        ratio: np.ndarray = np.abs(have.astype(np.float64) - want) / (
            ATOL + RTOL * np.abs(want.astype(np.float64))
        )
    ratio = np.where(
        (want == have) | (np.isnan(want) & np.isnan(have)), 0.0, np.nan_to_num(ratio, nan=np.inf)
    )
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    sample = {
        name: array[at[0]] if at and array.shape[:1] == want.shape[:1] else array
        for name, array in inputs.items()
    }
    listed = ", ".join(
        f"{n} = {np.array2string(a, precision=6, threshold=12, max_line_width=10_000)}"
        for n, a in sample.items()
    )
    place = f"[{', '.join(map(str, at))}]" if at else ""
    text = f"on {title}, {spec.name}{place} is {want[at]:.8g} in torch, {have[at]:.8g} in ONNX, for {listed}"
    return float(ratio[at]), text


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's pages of notes; what matters of them is in the exception it raises."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)

"""Inference: one checked ONNX file, run by ONNX Runtime with preallocated buffers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nn_estimation.contract import Contract, ModelError, TensorSpec, attach_contract, read_contract
from nn_estimation.onnx_safety import parse_model, read_model_file
from nn_estimation.providers import choose_session

__all__ = ["Bound", "Contract", "Model", "ModelError", "TensorSpec", "attach_contract"]

WARM_UP = 3  # runs


class Model:
    """A model file whose contract fits the task, ready to run.

    Attributes:
        contract: what the file promises.
        path: of the file.
        sha256: of the file, hexadecimal.
        provider: cpu, cuda or tensorrt, the one that runs it.
        timings: [s] median of a run by provider, for those that were tried.
    """

    def __init__(
        self,
        session: Any,
        contract: Contract,
        path: Path,
        sha256: str,
        provider: str,
        timings: dict[str, float],
    ):
        """See `Model.load`."""
        self.contract, self.path, self.sha256 = contract, path, sha256
        self.provider, self.timings = provider, timings
        self._session = session
        self._outputs = [spec.name for spec in contract.outputs]

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        task: str | None = None,
        provider: str = "auto",
        sha256: str | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> Model:
        """Read, check, choose a provider and warm up.

        Args:
            path: of the .onnx file.
            task: what the contract must say; None takes any.
            provider: cpu, cuda, tensorrt, or auto for the one that runs this model fastest here.
            sha256: refuse any other file, hexadecimal.
            sizes: typical lengths of the symbolic dimensions, for timing and warming up; default 1.

        Raises:
            ModelError: damaged, foreign, unsafe or for another task, or the provider cannot run it.
        """
        path = Path(path)
        content, digest = read_model_file(path, sha256)
        model = parse_model(content, str(path))
        contract = read_contract(model, str(path))
        if task is not None and contract.task != task:
            raise ModelError(
                f"{path} is a model for the task {contract.task!r}, {task!r} is needed: choose another file"
            )
        inputs = {spec.name: np.zeros(_sized(spec, sizes or {}), spec.dtype) for spec in contract.inputs}
        session, chosen, timings = choose_session(
            content, digest, contract.inputs, inputs, provider, str(path)
        )
        loaded = cls(session, contract, path, digest, chosen, timings)
        for _ in range(WARM_UP):
            outputs = loaded.run(inputs)
        for spec in contract.outputs:
            _check_output(spec, outputs[spec.name], str(path))
        return loaded

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for inputs by name, of the contract's dtypes and shapes.

        Raises:
            ModelError: an input that is missing, unknown or does not fit, or a failure inside the runtime.
        """
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:  # onnxruntime raises classes of its C extension, and ValueError for names
            raise self._explain(inputs, error) from error

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> Bound:
        """Buffers for inputs of these shapes, reused at every call.

        Raises:
            ModelError: shapes that do not fit the contract.
        """
        problems = _misfits({name: (None, shape) for name, shape in shapes.items()}, self.contract)
        if problems:
            raise ModelError(f"{self.path} cannot be bound: {'; '.join(problems)}")
        return Bound(self, shapes)

    def _explain(self, inputs: Mapping[str, np.ndarray], error: Exception) -> ModelError:
        given = {name: (str(array.dtype), array.shape) for name, array in inputs.items()}
        problems = _misfits(given, self.contract) or [str(error)]
        return ModelError(f"{self.path} cannot run: {'; '.join(problems)}")


class Bound:
    """A model with its own input and output arrays: fill `inputs`, call, read `outputs`.

    The arrays stay the same objects; the next call overwrites the outputs.
    """

    def __init__(self, model: Model, shapes: Mapping[str, tuple[int, ...]]):
        """See `Model.bind`."""
        self.inputs = {s.name: np.zeros(shapes[s.name], s.dtype) for s in model.contract.inputs}
        # One run says the shapes of the outputs, whatever the graph makes of those of the inputs.
        self.outputs = {n: np.empty(a.shape, a.dtype) for n, a in model.run(self.inputs).items()}
        self._model = model
        self._binding = model._session.io_binding()
        self._on_cpu = model.provider == "cpu"
        self._bind_inputs()
        for name, array in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _bind_inputs(self) -> None:
        for name, array in self.inputs.items():
            self._binding.bind_cpu_input(name, array)

    def __call__(self) -> None:
        """Compute the outputs of what is in the inputs now.

        Raises:
            ModelError: a failure inside the runtime.
        """
        if not self._on_cpu:
            self._bind_inputs()  # other devices copy when an input is bound, not when it is used
        try:
            self._model._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime raises classes of its C extension
            raise ModelError(f"{self._model.path} cannot run: {error}") from error


def _sized(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)


def _misfits(given: Mapping[str, tuple[str | None, tuple[int, ...]]], contract: Contract) -> list[str]:
    """What is wrong with inputs of these dtypes (None: not looked at) and shapes."""
    wanted = {spec.name: spec for spec in contract.inputs}
    found = [f"there is no input {name}" for name in given.keys() - wanted.keys()]
    found += [f"input {name} is missing" for name in wanted.keys() - given.keys()]
    lengths: dict[str, int] = {}
    for name in wanted.keys() & given.keys():
        spec, (dtype, shape) = wanted[name], given[name]
        fits = len(shape) == len(spec.shape) and all(
            lengths.setdefault(want, have) == have if isinstance(want, str) else want == have
            for want, have in zip(spec.shape, shape, strict=True)
        )
        if not fits or dtype not in (None, spec.dtype):
            found.append(
                f"input {name} is {dtype or ''} {shape}, the contract says {spec.dtype} {spec.shape}"
            )
    return found


def _check_output(spec: TensorSpec, array: np.ndarray, source: str) -> None:
    fits = len(array.shape) == len(spec.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits or str(array.dtype) != spec.dtype:
        raise ModelError(
            f"{source} computes {spec.name} as {array.dtype} {array.shape}, its contract says "
            f"{spec.dtype} {spec.shape}: export it again"
        )

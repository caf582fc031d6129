"""How fast a model runs, and what this package adds to a bare ONNX Runtime session."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from nn_estimation.contract import Contract
from nn_estimation.inference import Bound, Model
from nn_estimation.providers import NAMES as PROVIDERS

ROUNDS = 40
CALLS = 100  # a round


@dataclass(frozen=True)
class Timing:
    """Time of a call, for one way to call and one batch size."""

    way: str  # bare session, Model.run or Bound
    batch: int
    median: float  # [s] over rounds of the mean of a round
    p99: float  # [s] over single calls
    overhead: float  # median over that of the bare session, minus 1


def measure(
    path: str | Path, *, batches: Sequence[int] = (1, 24, 256), provider: str = "cpu"
) -> list[Timing]:
    """The bare session, Model.run and Bound side by side, in rounds that take turns.

    Args:
        path: of a model.
        batches: values of the symbolic dimensions.
        provider: see `Model.load`; the bare session has the default options of ONNX Runtime but one thread.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = Model.load(path, provider=provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(
        Path(path).read_bytes(), options, providers=[PROVIDERS[model.provider]]
    )
    names = [spec.name for spec in model.contract.outputs]
    timings = []
    for batch in batches:
        inputs = _inputs(model.contract, batch)
        bound = model.bind({name: array.shape for name, array in inputs.items()})

        ways: dict[str, Callable[[], object]] = {
            "bare session": partial(bare.run, names, inputs),
            "Model.run": partial(model.run, inputs),
            "Bound": partial(_fill_and_run, bound, inputs),
        }
        timings += _compare(ways, batch)
    return timings


def _compare(ways: dict[str, Callable[[], object]], batch: int) -> list[Timing]:
    calls = {way: np.empty((ROUNDS, CALLS)) for way in ways}
    for number in range(-2, ROUNDS):  # two rounds to warm up
        for way, call in ways.items():
            for i in range(CALLS):
                start = time.perf_counter()
                call()
                calls[way][max(number, 0), i] = time.perf_counter() - start
    medians = {way: float(np.median(seconds.mean(axis=1))) for way, seconds in calls.items()}
    bare = medians["bare session"]
    return [
        Timing(way, batch, medians[way], float(np.quantile(seconds, 0.99)), medians[way] / bare - 1)
        for way, seconds in calls.items()
    ]


def _fill_and_run(bound: Bound, inputs: dict[str, np.ndarray]) -> None:
    for name, array in inputs.items():
        bound.inputs[name][:] = array
    bound()


def report(path: str | Path) -> str:
    """Which provider `auto` takes, what a run costs on each that loads, and the table on the fastest.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = Model.load(path)
    tried = ", ".join(f"{name} {1e6 * seconds:.1f} us" for name, seconds in model.timings.items())
    head = (
        f"{path}, onnxruntime {onnxruntime.__version__}\na run at batch 1: {tried}; below: {model.provider}"
    )
    return f"{head}\n\n{table(measure(path, provider=model.provider))}"


def table(timings: Sequence[Timing]) -> str:
    """One line a timing, times in microseconds."""
    lines = [f"{'batch':>5}  {'call':<12}  {'median [us]':>11}  {'p99 [us]':>9}  {'overhead':>8}"]
    for t in timings:
        overhead = "" if t.way == "bare session" else f"{100 * t.overhead:+.0f} %"
        lines.append(
            f"{t.batch:>5}  {t.way:<12}  {1e6 * t.median:>11.1f}  {1e6 * t.p99:>9.1f}  {overhead:>8}"
        )
    return "\n".join(lines)


def _inputs(contract: Contract, batch: int) -> dict[str, np.ndarray]:
    """Zeros, but features in the middle of their range."""
    inputs = {}
    for spec in contract.inputs:
        shape = tuple(batch if isinstance(size, str) else size for size in spec.shape)
        inputs[spec.name] = np.zeros(shape, spec.dtype)
        if spec.name == "features":
            inputs[spec.name][:] = np.mean(contract.valid_range, axis=1)
    return inputs

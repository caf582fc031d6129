"""The methods of one model file: VQF as published, VQF carried forward, the inclination filter, and the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants, packed
from nn_estimation.attitude.heading import INPUTS, OUTPUTS, WahbaWeights
from nn_estimation.inference import Model, ModelError

TASK = "attitude"
POSITIVE = "period", "memory", "peer_memory", "peer_field"  # constants by which is divided
LONGEST_LATENCY = 1.0  # [s] of any sensor, in either direction
METHODS = ("vqf", "vqf_latency", "filter", "network")


@dataclass(frozen=True)
class Setup:
    """What a method is made of."""

    method: str  # one of METHODS
    constants: Constants
    network: WahbaWeights | None = None

    @cached_property
    def packed(self) -> np.ndarray:
        """The constants for compiled code."""
        return packed(self.constants)

    @cached_property
    def filtered(self) -> bool:
        """Whether the inclination filter has a say; else all is VQF."""
        return self.method in ("filter", "network")


def classical_setup(method: str = "filter") -> Setup:
    """A method without a model file: no latency, constants of an ordinary MEMS sensor.

    Raises:
        ValueError: a method that needs a file.
    """
    if method not in ("vqf", "filter"):
        raise ValueError(f"{method} needs a model file: without one there are vqf and filter")
    return Setup(method, Constants())


def load_setups(model: Model) -> dict[str, Setup]:
    """The methods of a model file by name.

    Raises:
        ModelError: of another task, or with constants, features and tensors that this package does not know.
    """
    contract = model.contract
    problems = [] if contract.task == TASK else [f"it is a model for the task {contract.task!r}"]
    names = tuple(s.name for s in contract.inputs), tuple(s.name for s in contract.outputs)
    if names != (INPUTS, OUTPUTS):
        problems.append(f"its tensors are {names}, not {(INPUTS, OUTPUTS)}")
    if contract.features != features.NAMES:
        problems.append(
            f"it wants the features {', '.join(contract.features)}, not {', '.join(features.NAMES)}"
        )
    constants, wrong = _constants(contract.parameters.get("constants"))
    problems += wrong
    if problems:
        raise ModelError(f"{model.path} does not fit attitude: {'; '.join(problems)}. Train it anew")
    return {
        "vqf": Setup("vqf", constants._replace(latency=0.0)),
        "vqf_latency": Setup("vqf_latency", constants),
        "filter": Setup("filter", constants),
        "network": Setup("network", constants, WahbaWeights(model)),
    }


def _constants(given: Any) -> tuple[Constants, list[str]]:
    if not isinstance(given, Mapping):
        return Constants(), ["its parameters have no constants"]
    unknown = set(given) - set(Constants._fields)
    bad = [n for n, v in given.items() if not isinstance(v, (int, float)) or isinstance(v, bool)]
    problems = [f"unknown constant {name}" for name in sorted(unknown)]
    problems += [f"the constant {name} is no number" for name in bad]
    if problems:
        return Constants(), problems
    # A constant newer than the file keeps its default.
    constants = Constants(**{name: float(value) for name, value in given.items()})
    return constants, [
        f"the constant {name} is {value:g}: it must be {wanted}"
        for name, value in constants._asdict().items()
        for wanted, good in (_range(name, value),)
        if not good
    ]


def _range(name: str, value: float) -> tuple[str, bool]:
    """What a constant must be, and whether it is."""
    if name == "latency":
        return f"within {LONGEST_LATENCY:g} s", abs(value) <= LONGEST_LATENCY
    if name in POSITIVE:
        return "positive", 0.0 < value < math.inf
    return "zero or positive", 0.0 <= value < math.inf

"""The three ways of one model file to dead-reckon: published constants, tuned constants, and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.features import FeatureError
from nn_estimation.dead_reckoning.learned_covariance import TENSORS, LearnedCovariance
from nn_estimation.inference import Model, ModelError

TASK = "dead_reckoning"
METHODS = ("constant", "tuned", "network")


@dataclass(frozen=True)
class Setup:
    """What a method gives the filter."""

    method: str  # one of METHODS
    constants: Constants
    earth: bool  # whether the Earth's rate is taken off the gyro
    network: LearnedCovariance | None


def constant_setup() -> Setup:
    """The reference filter as published: no calibration, no Earth rate."""
    return Setup("constant", Constants(), False, None)


def load_setups(model: Model) -> dict[str, Setup]:
    """The methods of a model file by name.

    Raises:
        ModelError: of another task, or constants and tensors that this package does not know.
    """
    contract = model.contract
    problems = [] if contract.task == TASK else [f"it is a model for the task {contract.task!r}"]
    names = {spec.name for spec in (*contract.inputs, *contract.outputs)}
    if names != TENSORS:
        problems.append(f"its tensors are {', '.join(sorted(names))}, not {', '.join(sorted(TENSORS))}")
    constants = {}
    for key in ("tuned", "network"):
        constants[key], wrong = _constants(contract.parameters.get(key), key)
        problems += wrong
    if not problems:
        try:
            network = LearnedCovariance(model, constants["network"])
        except FeatureError as error:
            problems.append(str(error))
    if problems:
        raise ModelError(f"{model.path} does not fit dead reckoning: {'; '.join(problems)}")
    return {
        "constant": constant_setup(),
        "tuned": Setup("tuned", constants["tuned"], True, None),
        "network": Setup("network", constants["network"], True, network),
    }


def _constants(given: Any, key: str) -> tuple[Constants, list[str]]:
    if not isinstance(given, Mapping):
        return Constants(), [f"its parameters have no constants {key!r}"]
    unknown = set(given) - set(Constants._fields)
    bad = [n for n, v in given.items() if not isinstance(v, (int, float)) or isinstance(v, bool)]
    problems = [f"{key} has an unknown constant {name}" for name in sorted(unknown)]
    problems += [f"{key}: {name} is no number" for name in bad]
    if problems:
        return Constants(), problems
    # A constant newer than the file keeps its default, which leaves out what it is about.
    return Constants(**{name: float(value) for name, value in given.items()}), []

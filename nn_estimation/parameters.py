"""Parameters of a node, each said once, and what a parameter file says of them: both without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nn_estimation.configuration import unknown

Value = bool | int | float | str
OF_EVERY_NODE = ("use_sim_time", "start_type_description_service", "qos_overrides")  # by ROS itself
_VALUES = "ros__parameters"


class ParameterError(ValueError):
    """A parameter value the node cannot use."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it does, its unit and when to change it, in one sentence."""

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False  # may change while the node runs

    def check(self, value: object) -> Value:
        """The value, if it can be one.

        Raises:
            ParameterError: it has another type (an integer is no float, as in ROS), or is out of range or choices.
        """
        said = f"{self.name} is {value!r}"
        if isinstance(self.default, float) and type(value) is int:
            raise ParameterError(f"{said}: write {float(value)}, it must be a float")
        if isinstance(self.default, float) and isinstance(value, str):
            raise ParameterError(f"{said}: it must be a float (YAML reads 1e-3 as text: write 1.0e-3)")
        if not isinstance(value, type(self.default)) or isinstance(value, bool) != isinstance(
            self.default, bool
        ):
            raise ParameterError(f"{said}: it must be a {type(self.default).__name__}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"{said}: choose one of {', '.join(self.choices)}")
        if self.low is not None and self.high is not None and not self.low <= float(value) <= self.high:
            raise ParameterError(f"{said}: its range is {self.low:g} to {self.high:g}")
        return value


AUTOSTART = Parameter(
    "autostart", True, "Configure and activate at start; turn off where a lifecycle manager does that."
)


def model_parameters(alone: str, use_network: str) -> tuple[Parameter, ...]:
    """The parameters that `StreamNode.choose` reads.

    Args:
        alone: what the node has without a model.
        use_network: what the network is for, and what is done without it.
    """
    return (
        Parameter("model", "", f"Path of the ONNX file; empty only with use_network false, for {alone}."),
        Parameter("model_sha256", "", "Refuse any other model file; hexadecimal, empty for no check."),
        Parameter(
            "provider",
            "auto",
            "What runs the network; auto times what loads on this machine and keeps the fastest.",
            choices=("auto", "cpu", "cuda", "tensorrt"),
        ),
        Parameter("use_network", True, use_network, live=True),
    )


def latency_budget(microseconds: float, unit: str) -> Parameter:
    """The parameter that `StreamNode.listen` reads."""
    text = f"Processing [us] a {unit} above which a warning is due."
    return Parameter("latency_budget_us", microseconds, text, 1.0, 1e6)


def from_file(path: str | Path, node: str, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Values of a node's parameters by name, with a parameter file as `ros2 run ... --params-file` takes it.

    Args:
        path: YAML. The node may stand in any one namespace, or be meant by a wildcard; other nodes may be in it too.
        node: its name.
        parameters: that it declares besides `autostart`; those that the file does not say keep their default.

    Raises:
        ParameterError: the file cannot be read, says nothing of the node, or what the node would refuse; all of it.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    entries = list(_entries(tree))
    mine = [(name, given) for name, given in entries if name.rpartition("/")[2] in (node, "*", "**")]
    if not mine:
        has = ", ".join(name for name, _ in entries) or f"no {_VALUES}"
        raise ParameterError(f"{path} says nothing of {node}; it has {has}")
    if len(exact := sorted({name for name, _ in mine if "*" not in name})) > 1:
        raise ParameterError(f"{path} has {' and '.join(exact)}: leave the one that is meant")
    known = {parameter.name: parameter for parameter in (AUTOSTART, *parameters)}
    values = {name: parameter.default for name, parameter in known.items()}
    problems = []
    for name, given in mine:
        if not isinstance(given, Mapping):
            problems.append(f"{_VALUES} of {name} is {given!r}: it must be names and values")
            continue
        for key, value in given.items():
            if str(key).partition(".")[0] in OF_EVERY_NODE:
                continue
            if key not in known:
                problems.append(unknown(str(key), list(known)))
                continue
            try:
                values[key] = known[key].check(value)
            except ParameterError as error:
                problems.append(str(error))
    if problems:
        raise ParameterError(f"{path}: {'; '.join(problems)}")
    return values


def _entries(tree: object, above: str = "") -> Iterator[tuple[str, object]]:
    """Names of nodes, with their namespaces, and their values."""
    for key, inside in tree.items() if isinstance(tree, Mapping) else ():
        if key == _VALUES:
            yield above, {} if inside is None else inside
        else:
            yield from _entries(inside, f"{above}/{str(key).strip('/')}")

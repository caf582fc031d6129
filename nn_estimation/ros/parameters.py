"""Parameters of a node, each said once: the descriptor and the commented YAML come from the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

Value = bool | int | float | str


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

    def descriptor(self) -> ParameterDescriptor:
        """The ROS descriptor."""
        constraint = f"one of {', '.join(self.choices)}" if self.choices else ""
        out = ParameterDescriptor(
            description=self.description, read_only=not self.live, additional_constraints=constraint
        )
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                out.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high)]
            else:
                out.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high))]
        return out

    def check(self, value: Value) -> Value:
        """The value, if it is among the choices.

        Raises:
            ParameterError: it is not.
        """
        if self.choices and value not in self.choices:
            raise ParameterError(f"{self.name} is {value!r}: choose one of {', '.join(self.choices)}")
        return value


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare all parameters on a node."""
    for parameter in parameters:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def values(node: Node, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Values by name.

    Raises:
        ParameterError: a value that is not among its choices.
    """
    return {p.name: p.check(node.get_parameter(p.name).value) for p in parameters}


def as_yaml(node_name: str, parameters: Sequence[Parameter]) -> str:
    """The commented parameter file of a node with its defaults."""
    lines = [f"/**/{node_name}:", "  ros__parameters:"]
    for parameter in parameters:
        bounds = ""
        if parameter.low is not None:
            bounds = f" Range {parameter.low:g} to {parameter.high:g}."
        if parameter.choices:
            bounds = f" One of {', '.join(parameter.choices)}."
        live = " Can change while the node runs." if parameter.live else ""
        lines.append(f"    # {parameter.description}{bounds}{live}")
        lines.append(f"    {parameter.name}: {_scalar(parameter.default)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)

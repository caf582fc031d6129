"""Parameters of a node in ROS: the descriptor and the commented YAML come from the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from nn_estimation.parameters import Parameter, Value


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """The ROS descriptor."""
    p = parameter
    constraint = f"one of {', '.join(p.choices)}" if p.choices else ""
    out = ParameterDescriptor(
        description=p.description, read_only=not p.live, additional_constraints=constraint
    )
    if p.low is not None and p.high is not None:
        if isinstance(p.default, float):
            out.floating_point_range = [FloatingPointRange(from_value=p.low, to_value=p.high)]
        else:
            out.integer_range = [IntegerRange(from_value=int(p.low), to_value=int(p.high))]
    return out


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare all parameters on a node."""
    for parameter in parameters:
        node.declare_parameter(parameter.name, parameter.default, descriptor(parameter))


def values(node: Node, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Values by name.

    Raises:
        ParameterError: a value that cannot be one.
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

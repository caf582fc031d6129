"""What the evaluation of every wing gives: numbers in the shape that tables and reports take, and their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass
class Evaluation(Generic[T]):
    """Numbers and what the figures are drawn from."""

    results: dict[str, Any]  # task, model, recordings, summary
    traces: dict[str, dict[str, T]]  # recording, method
    notes: list[str] = field(default_factory=list)


def unused(name: str, taken: Mapping[str, object]) -> str:
    """The name of a recording, numbered where another one has it already."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free

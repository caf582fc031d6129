"""The executor that everything here spins on."""

from __future__ import annotations

from typing import Any

from rclpy.executors import SingleThreadedExecutor


def executor() -> Any:
    """The events executor, at a third of the processor time, where this rclpy has it."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()

"""Message classes by their type name."""

from __future__ import annotations

import importlib
from typing import Any


class UnknownTypeError(ValueError):
    """A message type whose package is not installed."""


def message_class(msgtype: str) -> Any:
    """The class of a type such as sensor_msgs/msg/Range.

    Raises:
        UnknownTypeError: its package is not installed.
    """
    package, _, name = msgtype.rpartition("/")
    try:
        return getattr(importlib.import_module(package.replace("/", ".")), name)
    except (ImportError, AttributeError) as error:
        raise UnknownTypeError(
            f"the message type {msgtype} is not installed: install its package or leave its topic out"
        ) from error

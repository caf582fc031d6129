"""Configuration: dataclasses read strictly from YAML or plain values."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

C = TypeVar("C")


class ConfigError(ValueError):
    """A configuration that does not say what is meant; the message lists every difference."""


def from_mapping(cls: type[C], mapping: Mapping[str, Any], where: str = "") -> C:
    """A configuration dataclass from plain values; nested dataclasses from nested mappings.

    Args:
        cls: a dataclass of bool, int, float, str, Literal, tuple, dict, optional ones and dataclasses.
        mapping: values by field name. Absent fields keep their default.
        where: what the mapping is (a file name), for the messages.

    Raises:
        ConfigError: unknown keys (with the nearest known one), missing or ill-typed values, or values that
            the dataclass itself refuses.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    prefix = f"{where}: " if where else ""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{prefix}expected {cls.__name__} as a mapping of names to values, got {mapping!r}")
    values: dict[str, Any] = {}
    problems = []
    for key, value in mapping.items():
        if key not in fields:
            problems.append(unknown(str(key), list(fields)))
            continue
        try:
            values[key] = _convert(hints[key], value, f"{where}.{key}" if where else str(key))
        except ConfigError as error:
            problems.append(str(error))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            problems.append(f"{name} is missing")
    if problems:
        raise ConfigError(prefix + "; ".join(problems))
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error


def from_yaml(cls: type[C], path: str | Path) -> C:
    """A configuration dataclass from a YAML file; an empty file is all defaults.

    Raises:
        ConfigError: no such file, no YAML, or values that do not fit `cls`.
    """
    try:
        mapping = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    return from_mapping(cls, {} if mapping is None else mapping, str(path))


def unknown(key: str, known: Sequence[str]) -> str:
    """What is wrong with a key that is none of the known ones."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"unknown key {key!r}, the nearest known one is {near[0]!r}" if near else f"unknown key {key!r}"


def _convert(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type `hint`; ints become floats, lists become tuples, nothing else is bent."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _first_that_fits([a for a in arguments if a is not type(None)], value, name)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{name} must be one of {', '.join(map(str, arguments))}, not {value!r}")
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, name)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = (
            [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else list(arguments)
        )
        if len(inner) != len(value):
            raise ConfigError(f"{name} must have {len(inner)} entries, not {len(value)}")
        return tuple(
            _convert(h, v, f"{name}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True))
        )
    if origin is dict and isinstance(value, Mapping):
        return {
            _convert(arguments[0], k, name): _convert(arguments[1], v, f"{name}.{k}")
            for k, v in value.items()
        }
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    wanted = hint.__name__ if isinstance(hint, type) and origin is None else str(hint)
    way_out = " (YAML reads 1e-3 as text: write 1.0e-3)" if hint is float and isinstance(value, str) else ""
    raise ConfigError(f"{name} must be {wanted}, not {value!r}{way_out}")


def _first_that_fits(hints: Sequence[Any], value: Any, name: str) -> Any:
    errors = []
    for hint in hints:
        try:
            return _convert(hint, value, name)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(" or ".join(errors))

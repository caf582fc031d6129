"""The tables in the contract of a bias model: what they must hold, checked before anything is looked up in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nn_estimation.uwb.bias import METHODS
from nn_estimation.uwb.ridge import HARMONICS, OWN_HARMONICS

TABLES = ("links", "raw", "constant", "affine", "ridge", "correlation_time")


def mismatches(parameters: Mapping[str, Any], features: Sequence[str]) -> list[str]:
    """What is wrong with the tables, each in words; empty where they fit together.

    Args:
        parameters: of the contract.
        features: of the contract.
    """
    if missing := [name for name in TABLES if name not in parameters]:
        return [f"it lacks the table {name}" for name in missing]
    links = parameters["links"]
    if not isinstance(links, list) or len({str(name) for name in links}) != len(links):
        return ["links is no list of different names"]
    check = _Check(parameters)
    rows = len(links) + 1  # the last is that of links never seen
    for table in ("raw", "constant", "affine", "ridge"):
        check.numbers(f"{table}.offset", rows)
        check.numbers(f"{table}.slope", rows)
        check.numbers(f"{table}.variance", rows, above=0.0)
    for method in METHODS:
        check.numbers(f"correlation_time.{method}", above=-1e-9)
    if "fallback_inflation" in parameters:
        check.numbers("fallback_inflation", above=0.0)
    check.numbers("ridge.pattern", 2 * HARMONICS)
    for what in ("tag", "anchor"):
        patterns = check.numbers(f"ridge.{what}_pattern", None, 2 * OWN_HARMONICS)
        owner = check.numbers(f"ridge.link_{what}", rows, above=-1.0)
        if patterns is not None and owner is not None and owner.max() >= len(patterns):
            check.found.append(f"ridge.link_{what} points past the {len(patterns)} rows of {what}_pattern")
    if check.at("ridge.features") != list(features):
        check.found.append(f"ridge.features is not {list(features)}")
    _check_polygons(check, features)
    return check.found


def _check_polygons(check: _Check, features: Sequence[str]) -> None:
    knots, values = check.at("ridge.knots"), check.at("ridge.values")
    if not isinstance(knots, Mapping) or not isinstance(values, Mapping) or set(knots) != set(values):
        check.found.append("ridge.knots and ridge.values are not of the same features")
        return
    for name in knots:
        if name not in features:
            check.found.append(f"ridge.knots has {name}, which is no feature of the model")
        at = check.numbers(f"ridge.knots.{name}", None)
        if at is not None and (len(at) < 2 or not (np.diff(at) > 0.0).all()):
            check.found.append(f"ridge.knots.{name} does not rise")
        elif at is not None:
            check.numbers(f"ridge.values.{name}", len(at))


class _Check:
    """Gathers what is not as it must be."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.found: list[str] = []

    def at(self, path: str) -> Any:
        """What is at a dotted path, None where nothing is."""
        value: Any = self.parameters
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def numbers(self, path: str, *shape: int | None, above: float | None = None) -> np.ndarray | None:
        """The finite numbers at a path; None, and a finding, where they have another shape or are too small."""
        try:
            array = np.array(self.at(path), dtype=np.float64)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or not np.isfinite(array).all() or not array.size:
            size = " x ".join("N" if length is None else str(length) for length in shape) or "1"
            self.found.append(f"{path} is not {size} numbers")
            return None
        if above is not None and not (array > above).all():
            self.found.append(f"{path} holds {np.min(array):g}")
            return None
        return array

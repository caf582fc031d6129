"""What a bag recorded, as arrays: columns of messages, the truth and where it reaches, and what of it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from nn_estimation.bags import BagError, BagReader

IMU_TOPIC, TRUTH_TOPIC = "imu/data_raw", "ground_truth/odometry"
TICK = 1e-6  # [s] to which stamps are exact
UNKNOWN = 1e5  # variance from which on a value counts as not given


def decoded(bag: BagReader, decode: Mapping[str, Callable[[bytes], Any]]) -> list[list[Any]]:
    """The messages of each topic, in the order of the bag; none of a topic that it lacks.

    Args:
        bag: to be read.
        decode: topic -> message from CDR bytes.
    """
    found: dict[str, list[Any]] = {topic: [] for topic in decode}
    for topic, _, data in bag.raw([topic for topic in decode if topic in bag.topics]):
        found[topic].append(decode[topic](data))
    return list(found.values())


def columns(messages: Sequence[Any], *names: str) -> list[np.ndarray]:
    """Stamps (N,) [s], and an array of each attribute; without NaN and without what is late or repeated."""
    stamp = np.array([message.stamp_ns for message in messages], dtype=np.int64)
    values = [np.array([getattr(message, name) for message in messages]) for name in names]
    if not len(stamp):
        return [np.empty(0), *(np.empty((0, 3)) for _ in values)]
    finite = np.all([np.isfinite(column).all(axis=1) for column in values], axis=0)
    stamp = stamp[finite]
    later = np.r_[True, stamp[1:] > np.maximum.accumulate(stamp)[:-1]]
    return [stamp[later] * 1e-9, *(column[finite][later] for column in values)]


def reached(stamp: np.ndarray, true_stamp: np.ndarray, longest: float) -> np.ndarray:
    """(N,) bool: stamps (N,) of a true one of (M,), or between two that are at most `longest` [s] apart."""
    after = np.clip(np.searchsorted(true_stamp, stamp), 1, len(true_stamp) - 1)
    inside = (stamp >= true_stamp[0]) & (stamp <= true_stamp[-1])
    return inside & ((true_stamp[after] - true_stamp[after - 1] <= longest) | np.isin(stamp, true_stamp))


def interpolated(stamp: np.ndarray, true_stamp: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N, K) at stamps (N,) between values (M, K) of stamps (M,)."""
    return np.stack([np.interp(stamp, true_stamp, column) for column in values.T], axis=1)


def scored(stamp: np.ndarray, custom_data: Mapping[str, str]) -> np.ndarray:
    """(N,) bool: stamps (N,) in the intervals that a bag's metadata scores; all where it names none.

    Raises:
        BagError: it cannot be read.
    """
    intervals = scoring(custom_data).get("intervals")
    if intervals is None:
        return np.ones(len(stamp), dtype=bool)
    try:
        ends = np.array(intervals, dtype=np.float64).reshape(len(intervals), 2)
    except (TypeError, ValueError):
        raise BagError(f"a bag scores the intervals {intervals!r}: expected [[first, last], ...]") from None
    inside = np.zeros(len(stamp), dtype=bool)
    for first, last in ends:
        inside |= (stamp > first - TICK) & (stamp < last + TICK)
    return inside


def scoring(custom_data: Mapping[str, str]) -> Mapping[str, Any]:
    """What a bag's metadata says of how it is scored.

    Raises:
        BagError: it cannot be read.
    """
    text = custom_data.get("scored", "{}")
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        found = None
    if not isinstance(found, Mapping):
        raise BagError(f"a bag has scored: {text!r} in its metadata, which is no YAML of keys: put it right")
    return found

"""What the network sees: how the IMU moved and shook over the last seconds, causal and in constant time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numba import njit

AXES = tuple(f"{sensor}_{axis}" for sensor in ("gyro", "accel") for axis in "xyz")
UNITS = {"gyro": "rad/s", "accel": "m/s^2"}
FLOOR = 1e-12  # of a variance, before its logarithm
PERIOD = 0.1  # [s] between two looks of the network
WARM_UP = 2.0  # time constants after which a mean is one

_NAME = re.compile(r"(gyro|accel)_([xyz])_(mean|log_variance)_(\d+(?:\.\d+)?)s")


class FeatureError(ValueError):
    """A feature that this package does not know."""


class FeatureBank:
    """Exponential means and variances of the six axes, of several time constants, read out by name.

    Args:
        names: such as gyro_z_mean_0.5s and accel_x_log_variance_2s: statistic of an axis over a time constant.

    Raises:
        FeatureError: a name that says none of these.
    """

    def __init__(self, names: Sequence[str]) -> None:
        found = [_NAME.fullmatch(name) for name in names]
        if wrong := [name for name, match in zip(names, found, strict=True) if match is None]:
            raise FeatureError(f"unknown features {', '.join(wrong)}: expected such as gyro_z_mean_0.5s")
        parts = [match.groups() for match in found if match is not None]
        self.names = tuple(names)
        self.times = np.array(sorted({float(time) for *_, time in parts}))
        if not len(self.times) or self.times[0] <= 0.0:
            raise FeatureError("features need time constants above 0")
        self._where = np.array(
            [
                (
                    int(np.searchsorted(self.times, float(time))),
                    AXES.index(f"{sensor}_{axis}"),
                    int(kind == "log_variance"),
                )
                for sensor, axis, kind, time in parts
            ]
        )
        self.settles = WARM_UP * float(self.times[-1])  # [s]
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.memory = np.zeros((len(self.times), len(AXES), 2))
        self.clock = np.zeros(2)  # [s] since the first sample, since the last look

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> bool:
        """Take in a sample (3,) [rad/s], (3,) [m/s^2]; True where it is time to look."""
        return _update(self.memory, self.clock, self.times, gyro, accel, dt)

    def read(self, out: np.ndarray) -> None:
        """The features of now, into out (F,)."""
        _read(self.memory, self._where, out)

    def look(self, low: np.ndarray, high: np.ndarray, out: np.ndarray) -> bool:
        """The features of now, into out (1, F) of any precision; whether all lie in their range (F,), (F,)."""
        return _look(self.memory, self._where, low, high, out)

    def batch(
        self, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray, longest: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`update` and `read` over N samples from a reset: the same numbers.

        Args:
            stamp: (N,) [s]; the first sample only starts the clock, as with the filter.
            gyro: (N, 3) [rad/s].
            accel: (N, 3) [m/s^2].
            longest: [s] step from which on the bank starts anew.

        Returns:
            (K,) samples at which it is time to look, (K, F) features, (K,) [s] since the bank began.
        """
        self.reset()
        most = int((stamp[-1] - stamp[0]) / PERIOD) + 2 if len(stamp) else 0
        rows, age = np.empty(most, dtype=np.int64), np.empty(most)
        features = np.empty((most, len(self.names)))
        count = _batch(
            stamp, gyro, accel, longest, self.memory, self.clock, self.times, self._where, rows, features, age
        )
        return rows[:count], features[:count], age[:count]


def unit(name: str) -> str:
    """SI unit of a feature; of a logarithm, that of what it is taken of."""
    base = UNITS[name.split("_")[0]]
    return f"log(({base})^2)" if "log_variance" in name else base


@njit(cache=True)
def _update(memory, clock, times, gyro, accel, dt):  # type: ignore[no-untyped-def]
    first = clock[0] == 0.0
    for t in range(times.shape[0]):
        share = 1.0 if first else 1.0 - math.exp(-dt / times[t])
        for i in range(6):
            value = gyro[i] if i < 3 else accel[i - 3]
            off = value - memory[t, i, 0]
            memory[t, i, 0] += share * off
            if not first:
                memory[t, i, 1] = (1.0 - share) * (memory[t, i, 1] + share * off * off)
    clock[0] += dt
    clock[1] += dt
    if clock[1] < PERIOD - 1e-6:
        return False
    clock[1] = 0.0
    return True


@njit(cache=True)
def _feature(memory, where, n):  # type: ignore[no-untyped-def]
    value = memory[where[n, 0], where[n, 1], where[n, 2]]
    return math.log(value + FLOOR) if where[n, 2] else value


@njit(cache=True)
def _read(memory, where, out):  # type: ignore[no-untyped-def]
    for n in range(where.shape[0]):
        out[n] = _feature(memory, where, n)


@njit(cache=True)
def _look(memory, where, low, high, out):  # type: ignore[no-untyped-def]
    inside = True
    for n in range(where.shape[0]):
        value = _feature(memory, where, n)
        inside &= low[n] <= value <= high[n]
        out[0, n] = value
    return inside


@njit(cache=True)
def _batch(  # type: ignore[no-untyped-def]
    stamp, gyro, accel, longest, memory, clock, times, where, rows, features, age
):
    count = 0
    last = stamp[0]
    for i in range(stamp.shape[0]):
        dt = stamp[i] - last
        if not dt > 0.0:
            continue
        last = stamp[i]
        if dt > longest:
            memory[:] = 0.0
            clock[:] = 0.0
            continue
        if _update(memory, clock, times, gyro[i], accel[i], dt):
            rows[count] = i
            age[count] = clock[0]
            _read(memory, where, features[count])
            count += 1
    return count

"""What every wing asks of the samples of an IMU: their means and rate, limits of the sensor, and wrong units."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

WATCH = 2.0  # [s] time constant of the means
SURE = 2.0  # [s] that a fault must last before it is named, and be gone before it is forgotten
CLIPPED = 3  # equal samples in a row, of an axis that moves this hard, are a sensor at its limit:
HARD_TURN, HARD_ACCEL = 2.0, 20.0  # [rad/s], [m/s^2]
FASTEST, HARDEST = 100.0, 4000.0  # [rad/s], [m/s^2] from which on it is no sensor: they end at 70, at 400 g
GAP = 0.25  # [s] between two samples that says nothing of their rate
SETTLING = 1.0  # [s] before the rate says anything

# In the memory.
_ACCEL, _TURN, _DT, _AGE, _CLIPPED, _LAST, _SIZE, _SATURATED, MEMORY = 0, 3, 4, 5, 6, 7, 13, 14, 15


class SampleWatch:
    """Means over the last seconds.

    Args:
        memory: (MEMORY,) zeros to be its memory, which `watch` changes.
    """

    def __init__(self, memory: np.ndarray | None = None) -> None:
        self._memory = np.zeros(MEMORY) if memory is None else memory

    def reset(self) -> None:
        """Forget all samples; the count stays."""
        self._memory[:_SATURATED] = 0.0

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> bool:
        """Take in a finite sample (3,) [rad/s], (3,) [m/s^2], dt [s] after the one before; False: saturated."""
        return not watch(self._memory, gyro, accel, dt)

    @property
    def saturated(self) -> int:
        """Number of samples at a sensor's limit."""
        return int(self._memory[_SATURATED])

    @property
    def age(self) -> float:
        """[s] that has been watched."""
        return self._memory.item(_AGE)

    @property
    def rate(self) -> float:
        """[Hz] of the samples; NaN while too few have come."""
        return 1.0 / self._memory[_DT] if self._memory[_AGE] > SETTLING else math.nan

    @property
    def accel(self) -> np.ndarray:
        """(3,) [m/s^2] mean specific force."""
        return self._memory[_ACCEL : _ACCEL + 3]

    @property
    def size(self) -> float:
        """[m/s^2] mean size of the specific force, however the body turns."""
        return float(self._memory[_SIZE])

    @property
    def turn(self) -> float:
        """[rad/s] mean of the largest rate of the three axes."""
        return float(self._memory[_TURN])


class Lasting:
    """Names a finding once it has lasted, and forgets it once it has been gone as long.

    Attributes:
        said: the finding, empty for nothing.
    """

    def __init__(self, sure: float = SURE) -> None:
        self._sure = sure
        self.reset()

    def reset(self) -> None:
        """Forget it."""
        self.said = ""
        self._found, self._since = False, 0.0

    def update(self, found: str, age: float) -> None:
        """Take in what is found at an age [s], empty for nothing."""
        if bool(found) != self._found:
            self._found, self._since = bool(found), age
        if age - self._since >= self._sure:
            self.said = found


def in_g(size: float) -> str:
    """What is wrong with an accelerometer that measures this much [m/s^2] on the mean, empty where it is not in g."""
    if not 0.7 < size < 1.3:
        return ""
    return (
        f"the accelerometer is in g, not m/s^2: it measures {size:.2f} where gravity is 9.81; "
        "multiply it by 9.80665 in the driver"
    )


def in_degrees(turn: float, fastest: float, whose: str) -> str:
    """What is wrong with a gyro of this mean rate [rad/s] where `fastest` is none of `whose`, or empty."""
    if turn <= fastest:
        return ""
    return (
        f"the gyro is in deg/s, not rad/s: a mean rate of {turn:.1f} rad/s is none "
        f"of {whose}; divide it by 57.2958 in the driver"
    )


@njit(cache=True)
def beyond(gyro, accel):  # type: ignore[no-untyped-def]
    """Whether a sample (3,) [rad/s], (3,) [m/s^2] is no number, or more than any IMU measures."""
    turn = gyro[0] * gyro[0] + gyro[1] * gyro[1] + gyro[2] * gyro[2]
    force = accel[0] * accel[0] + accel[1] * accel[1] + accel[2] * accel[2]
    return not (turn < FASTEST * FASTEST and force < HARDEST * HARDEST)


@njit(cache=True)
def watch(memory, gyro, accel, dt):  # type: ignore[no-untyped-def]
    """See `SampleWatch.update`; True for a sample at the limit of a sensor."""
    first = memory[_AGE] == 0.0
    share = 1.0 if first else min(dt / WATCH, 1.0)
    turn = 0.0
    square = 0.0
    clipped = False
    for i in range(3):
        memory[_ACCEL + i] += share * (accel[i] - memory[_ACCEL + i])
        square += accel[i] * accel[i]
        turn = max(turn, abs(gyro[i]))
        clipped |= abs(gyro[i]) > HARD_TURN and gyro[i] == memory[_LAST + i]
        clipped |= abs(accel[i]) > HARD_ACCEL and accel[i] == memory[_LAST + 3 + i]
        memory[_LAST + i], memory[_LAST + 3 + i] = gyro[i], accel[i]
    memory[_SIZE] += share * (math.sqrt(square) - memory[_SIZE])
    memory[_TURN] += (0.0 if first else share) * (turn - memory[_TURN])
    if dt < GAP:
        memory[_DT] += share * (dt - memory[_DT])
    memory[_AGE] += dt
    memory[_CLIPPED] = memory[_CLIPPED] + 1.0 if clipped else 0.0
    saturated = memory[_CLIPPED] >= CLIPPED - 1
    memory[_SATURATED] += saturated
    return saturated

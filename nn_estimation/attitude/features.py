"""What the network sees: how the body moves and how the magnetic field varies, without the heading itself.

All are means of the past with time constants in seconds, so that they are the same at any rate, and of ratios and
angles, so that they are the same in any unit of the field.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.filters import wrapped

NAMES = (
    "log_turn_rate_0.1s",
    "log_turn_rate_1s",
    "log_turn_rate_5s",
    "log_accel_deviation_0.1s",
    "log_accel_deviation_1s",
    "log_norm_deviation_0.1s",
    "log_dip_deviation_0.1s",
    "log_norm_deviation_1s",
    "log_dip_deviation_1s",
    "log_norm_deviation_5s",
    "log_dip_deviation_5s",
    "log_azimuth_deviation_1s",
    "log_azimuth_deviation_5s",
    "rest_5s",
)
UNITS = "ln(rad/s), ln(1), ln(rad), 1: see attitude/features.py"
SETTLED = 2.0  # [s] of looks after which the means are worth something
_TAUS = (0.1, 1.0, 5.0, 0.1, 1.0, 0.1, 0.1, 1.0, 1.0, 5.0, 5.0, 1.0, 5.0, 5.0)
_FLOOR = (0.02, 0.02, 0.02, *[0.005] * 10)  # added before the logarithm: below it is noise
_GRAVITY = 9.81  # [m/s^2]
_REFERENCE = 20.0  # [s] over which norm and dip of the surroundings are averaged
NORM, DIP, AZIMUTH_1, AZIMUTH_5, _AGE = 14, 15, 16, 17, 18
MEMORY = 19


@njit(cache=True)
def look(memory, turn_rate, accel_norm, field, rest, dt, out):  # type: ignore[no-untyped-def]
    """Take in one look and write the features.

    Args:
        memory: (MEMORY,) means; changed. Zeros at the start.
        turn_rate: [rad/s].
        accel_norm: [m/s^2].
        field: (3,) in the world of the inclination filter, any unit, not zero.
        rest: whether the body is at rest.
        dt: [s] since the look before.
        out: (14,) receives the features.
    """
    across = math.hypot(field[0], field[1])
    norm = math.hypot(across, field[2])
    dip, azimuth = math.atan2(-field[2], across), math.atan2(field[0], field[1])
    first = memory[_AGE] == 0.0
    memory[_AGE] += dt
    age = memory[_AGE]
    if first:
        memory[NORM], memory[DIP], memory[AZIMUTH_1], memory[AZIMUTH_5] = norm, dip, azimuth, azimuth
    share = _share(_REFERENCE, dt, age)
    memory[NORM] += share * (norm - memory[NORM])
    memory[DIP] += share * (dip - memory[DIP])
    off_1, off_5 = wrapped(azimuth - memory[AZIMUTH_1]), wrapped(azimuth - memory[AZIMUTH_5])
    memory[AZIMUTH_1] += _share(1.0, dt, age) * off_1
    memory[AZIMUTH_5] += _share(5.0, dt, age) * off_5
    norm_off, dip_off = abs(norm / memory[NORM] - 1.0), abs(dip - memory[DIP])
    accel_off = abs(accel_norm / _GRAVITY - 1.0)
    for i in range(14):
        if i < 3:
            value = turn_rate
        elif i < 5:
            value = accel_off
        elif i < 11:
            value = norm_off if i % 2 == 1 else dip_off
        elif i == 11:
            value = abs(off_1)
        elif i == 12:
            value = abs(off_5)
        else:
            value = 1.0 if rest else 0.0
        memory[i] += _share(_TAUS[i], dt, age) * (value - memory[i])
        out[i] = memory[i] if i == 13 else math.log(memory[i] + _FLOOR[i])


@njit(cache=True)
def _share(tau, dt, age):  # type: ignore[no-untyped-def]
    """Weight of the newest value: a plain mean at first, then an exponential one."""
    return max(1.0 - math.exp(-dt / tau), min(dt / age, 1.0))


def settled(memory: np.ndarray) -> bool:
    """Whether the means are worth something."""
    return bool(memory[_AGE] >= SETTLED)

"""Signal checks: wrong units, turned or flipped axes, saturation, another rate, and motion that no vehicle makes."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning.filter import GRAVITY

WATCH = 2.0  # [s] time constant of the means
SURE = 2.0  # [s] that a fault must last before it is named, and be gone before it is forgotten
FASTEST_TURN = 4.0  # [rad/s] that no vehicle keeps up for seconds; 230 deg/s
UPRIGHT = 0.8  # share of gravity on an axis that carries it
CLIPPED = 3  # equal samples in a row, of an axis that moves this hard, are a sensor at its limit:
HARD_TURN, HARD_ACCEL = 2.0, 20.0  # [rad/s], [m/s^2]
ALARM_WATCH = 5.0  # [s] time constant of the innovations
ALARM = 1.5  # normalised innovation squared by its degrees of freedom; cars .02 at most, drones 2.2 and more
LARGEST = 100.0  # of one innovation squared, so that a pothole alone is no alarm
GAP = 0.25  # [s] between two samples that says nothing of their rate
SETTLING = 1.0  # [s] before rate and innovations say anything

_ACCEL, _TURN, _DT, _AGE, _CLIPPED, _LAST = 0, 3, 4, 5, 6, 7  # in the memory (13,)


class SignalChecks:
    """Watches the samples before the filter sees them, and its innovations after.

    Attributes:
        fault: what is wrong with units or axes and what to do, empty for nothing; then no estimate is worth anything.
        saturated: number of samples at a sensor's limit, which count as missing.
    """

    def __init__(self) -> None:
        self.saturated = 0
        self.reset()

    def reset(self) -> None:
        """Forget all samples; the counts stay."""
        self.fault = ""
        self._wrong, self._since = False, 0.0
        self._memory = np.zeros(13)
        self._innovation = self._innovation_age = 0.0

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> bool:
        """Take in a finite sample (3,) [rad/s], (3,) [m/s^2], dt [s] after the one before; False: saturated."""
        memory = self._memory
        clipped = _update(memory, gyro, accel, dt)
        self.saturated += clipped
        if memory[_AGE] > WATCH:
            found = self.suspicion
            if bool(found) != self._wrong:
                self._wrong, self._since = bool(found), memory[_AGE]
            if memory[_AGE] - self._since >= SURE:
                self.fault = found
        return not clipped

    @property
    def rate(self) -> float:
        """[Hz] of the samples; NaN while too few have come."""
        return 1.0 / self._memory[_DT] if self._memory[_AGE] > SETTLING else math.nan

    def judge(self, nis: float, dt: float) -> None:
        """Take in a normalised innovation squared of the filter, 2 degrees of freedom; below 0: none."""
        if nis >= 0.0:
            self._innovation_age += dt
            self._innovation += min(dt / ALARM_WATCH, 1.0) * (0.5 * min(nis, LARGEST) - self._innovation)

    @property
    def innovation(self) -> float:
        """Mean normalised innovation squared by its degrees of freedom; 1 is what the filter expects."""
        return self._innovation

    @property
    def slips(self) -> bool:
        """Whether it moves as no vehicle does that neither slips nor flies."""
        return self._innovation_age > SETTLING and self._innovation > ALARM

    @property
    def suspicion(self) -> str:
        """What looks wrong just now; a `fault` once it has lasted."""
        accel = self._memory[_ACCEL : _ACCEL + 3]
        size = float(np.linalg.norm(accel))
        if 0.7 < size < 1.3:
            return (
                f"the accelerometer is in g, not m/s^2: it measures {size:.2f} where gravity is 9.81; "
                "multiply it by 9.80665 in the driver"
            )
        if self._memory[_TURN] > FASTEST_TURN:
            return (
                f"the gyro is in deg/s, not rad/s: a mean rate of {self._memory[_TURN]:.1f} rad/s is none "
                "of a vehicle; divide it by 57.2958 in the driver"
            )
        if not 0.7 * GRAVITY < size < 1.3 * GRAVITY:
            return f"the accelerometer measures {size:.2f} m/s^2 on the mean where gravity is 9.81"
        share = accel / size
        if share[2] > UPRIGHT:
            return ""
        axis = int(np.argmax(np.abs(share)))
        sign = "+" if share[axis] > 0.0 else "-"
        if share[2] < -UPRIGHT:
            return (
                "gravity is measured along -z, it must be along +z: the IMU is upside down or its z axis points "
                "down; set imu_roll to 180 (forward-right-down) or turn the axes in the driver"
            )
        if abs(share[axis]) > UPRIGHT:
            return (
                f"gravity is measured along {sign}{'xyz'[axis]}, it must be along +z: axes are swapped or the IMU "
                "lies on its side; set imu_roll, imu_pitch and imu_yaw"
            )
        tilt = math.degrees(math.acos(max(-1.0, min(1.0, share[2]))))
        return (
            f"the IMU is tilted by {tilt:.0f} deg: set imu_roll, imu_pitch and imu_yaw to how it is mounted"
        )


@njit(cache=True)
def _update(memory, gyro, accel, dt):  # type: ignore[no-untyped-def]
    """True for a sample at the limit of a sensor."""
    first = memory[_AGE] == 0.0
    share = 1.0 if first else min(dt / WATCH, 1.0)
    turn = 0.0
    clipped = False
    for i in range(3):
        memory[_ACCEL + i] += share * (accel[i] - memory[_ACCEL + i])
        turn = max(turn, abs(gyro[i]))
        clipped |= abs(gyro[i]) > HARD_TURN and gyro[i] == memory[_LAST + i]
        clipped |= abs(accel[i]) > HARD_ACCEL and accel[i] == memory[_LAST + 3 + i]
        memory[_LAST + i], memory[_LAST + 3 + i] = gyro[i], accel[i]
    memory[_TURN] += (0.0 if first else share) * (turn - memory[_TURN])
    if dt < GAP:
        memory[_DT] += share * (dt - memory[_DT])
    memory[_AGE] += dt
    memory[_CLIPPED] = memory[_CLIPPED] + 1.0 if clipped else 0.0
    return memory[_CLIPPED] >= CLIPPED - 1

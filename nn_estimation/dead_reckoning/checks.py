"""Signal checks: wrong units, turned or flipped axes, saturation, another rate, and motion that no vehicle makes."""

from __future__ import annotations

import math

import numpy as np

from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.imu_checks import SETTLING, WATCH, Lasting, SampleWatch, in_degrees, in_g

FASTEST_TURN = 4.0  # [rad/s] that no vehicle keeps up for seconds; 230 deg/s
UPRIGHT = 0.8  # share of gravity on an axis that carries it
LOOK = 0.1  # [s] between two looks at the means
ALARM_WATCH = 5.0  # [s] time constant of the innovations
ALARM = 1.5  # normalised innovation squared by its degrees of freedom; cars .02 at most, drones 2.2 and more
LARGEST = 100.0  # of one innovation squared, so that a pothole alone is no alarm


class SignalChecks:
    """Watches the samples before the filter sees them, and its innovations after.

    Attributes:
        watch: means, rate and limits of the samples; those at a limit count as missing.
    """

    def __init__(self) -> None:
        self.watch = SampleWatch()
        self._lasting = Lasting()
        self.reset()

    def reset(self) -> None:
        """Forget all samples; the counts stay."""
        self.watch.reset()
        self._lasting.reset()
        self._looked = self._innovation = self._innovation_age = 0.0

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> bool:
        """Take in a finite sample (3,) [rad/s], (3,) [m/s^2], dt [s] after the one before; False: saturated."""
        usable = self.watch.update(gyro, accel, dt)
        age = self.watch.age
        if age > WATCH and age - self._looked >= LOOK:
            self._looked = age
            self._lasting.update(self.suspicion, age)
        return usable

    @property
    def fault(self) -> str:
        """What is wrong with units or axes and what to do, empty for nothing; then no estimate is worth anything."""
        return self._lasting.said

    @property
    def saturated(self) -> int:
        """Number of samples at a sensor's limit."""
        return self.watch.saturated

    @property
    def rate(self) -> float:
        """[Hz] of the samples; NaN while too few have come."""
        return self.watch.rate

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
        share = self.watch.accel.tolist()
        size = math.hypot(*share)
        if wrong := in_g(size) or in_degrees(self.watch.turn, FASTEST_TURN, "a vehicle"):
            return wrong
        if not 0.7 * GRAVITY < size < 1.3 * GRAVITY:
            return f"the accelerometer measures {size:.2f} m/s^2 on the mean where gravity is 9.81"
        share = [each / size for each in share]
        if share[2] > UPRIGHT:
            return ""
        axis = max(range(3), key=lambda i: abs(share[i]))
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

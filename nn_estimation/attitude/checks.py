"""Signal checks: wrong units, free fall, and an accelerometer or magnetometer that disagrees with the gyro."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation import imu_checks
from nn_estimation.attitude import turning
from nn_estimation.attitude.turning import Turning, Verdict
from nn_estimation.imu_checks import WATCH, Lasting, SampleWatch, in_degrees, in_g

MEMORY = np.dtype(
    [
        ("samples", np.float64, (imu_checks.MEMORY,)),
        ("gravity", np.float64, (turning.SUMS,)),
        ("field", np.float64, (turning.SUMS,)),
    ]
)

GRAVITY = 9.81  # [m/s^2]
FASTEST_TURN = 35.0  # [rad/s] 2000 deg/s, where most gyros end; hands reach 9 on the mean
FREE_FALL = 0.3 * GRAVITY  # [m/s^2] on the mean, below which nothing says where up is
HARDEST = 2.5 * GRAVITY  # [m/s^2] on the mean; shaken as fast as one can it is 21
LOOK = 0.1  # [s] between two looks at the means, and
JUDGE = 1.0  # [s] at how the vectors turn

# Measured on the training trials of BROAD, on RepoIMU and on EuRoC. Where gravity turns by a tenth of what the gyro
# says or less (fast translations) their correlation is below 0.2; a gyro in deg/s has that of rotations, 0.55 and
# more. Other axes than the right ones agree by 0.07 (field) and 0.41 (gravity) at most where they agree better than
# these; swapped or flipped, the right ones agree by 0.9 (field) and 0.6 (gravity, in rotations).
TOO_SLOW, CORRELATED = 0.1, 0.4
OTHERS_AGREE, BETTER = 0.6, 0.4
INSISTS = 3.0  # [s] that turning must look wrong before it is named

UNITS = (  # of the Earth's field, indoors too, in what drivers send
    ("tesla", 15e-6, 100e-6),
    ("gauss", 0.15, 0.75),
    ("normalised", 0.75, 1.35),
    ("microtesla", 15.0, 100.0),
    ("milligauss", 150.0, 1000.0),
    ("nanotesla", 15e3, 100e3),
)
MAG_GAP = 1.0  # [s] between two fields that says nothing of their rate
SILENT_AFTER = 1.0  # [s] without a field, by the stamps of the samples


class SignalChecks:
    """Watches the samples of gyro and accelerometer.

    Attributes:
        memory: (1,) record of `MEMORY`, which `take` changes.
        watch: means, rate and limits; samples at a limit are counted and used.
    """

    def __init__(self) -> None:
        self.memory = np.zeros(1, MEMORY)
        self.watch = SampleWatch(self.memory["samples"][0])
        self._turning = Turning(self.memory["gravity"][0])
        self._fault, self._axes, self._doubt = Lasting(), Lasting(INSISTS), Lasting()
        self.reset()

    def reset(self) -> None:
        """Forget all samples; the counts stay."""
        self.watch.reset()
        self._turning.reset()
        for lasting in (self._fault, self._axes, self._doubt):
            lasting.reset()
        self._looked = self._judged = 0.0
        self._slow = ""

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> None:
        """Take in a finite sample (3,) [rad/s], (3,) [m/s^2], dt [s] after the one before."""
        take(self.memory, gyro, accel, dt)
        self.look()

    def look(self) -> None:
        """Judge what `take` has gathered, where that is due."""
        age = self.watch.age
        if age - self._looked < LOOK:
            return
        self._looked = age
        if age - self._judged >= JUDGE:
            self._judged = age
            self._judge(age)
        if age > WATCH:
            self._fault.update(self.suspicion, age)
            self._doubt.update(self._look(), age)

    @property
    def fault(self) -> str:
        """Which unit is wrong and what to do, empty for none; then no estimate is worth anything."""
        return self._fault.said

    @property
    def doubt(self) -> str:
        """Why the accelerometer is not to be trusted, empty where it is; the estimate goes on."""
        return self._axes.said or self._doubt.said

    @property
    def suspicion(self) -> str:
        """What looks wrong with units just now; a `fault` once it has lasted."""
        return (
            in_g(self.watch.size)
            or in_degrees(self.watch.turn, FASTEST_TURN, "a hand, a body or a drone")
            or self._slow
        )

    def _judge(self, age: float) -> None:
        found = self._turning.verdict()
        self._slow = axes = ""
        if found is not None and abs(found.scale) < TOO_SLOW and found.correlation > CORRELATED:
            self._slow = (
                f"the gyro is in deg/s, not rad/s: it says that gravity turns {1.0 / found.scale:.0f} times as fast "
                "as it does; divide it by 57.2958 in the driver"
            )
        elif found is not None and _others_agree(found):
            axes = (
                "gyro and accelerometer have different axes: gravity would turn as the gyro says with x, y, z of "
                f"the accelerometer as its {found.axes}; turn them in the driver"
            )
        self._axes.update(axes, age)

    def _look(self) -> str:
        size = self.watch.size
        if size < FREE_FALL:
            return (
                f"free fall, or an accelerometer that is off: it measures {size:.2f} m/s^2 on the mean; "
                "nothing says where up is but the gyro"
            )
        if not 0.7 * GRAVITY < size < HARDEST:
            return f"its scale is wrong: it measures {size:.2f} m/s^2 on the mean where gravity is 9.81"
        return ""


class FieldChecks:
    """Watches the magnetometer, and whether its field turns as the gyro says.

    Args:
        signals: that take in the gyro.
    """

    def __init__(self, signals: SignalChecks) -> None:
        self._turning = Turning(signals.memory["field"][0])
        self._doubt = Lasting(INSISTS)
        self.reset()

    def reset(self) -> None:
        """Forget all fields."""
        self._turning.reset()
        self._doubt.reset()
        self.last = math.nan
        self._period, self._size, self._age, self._judged = math.nan, math.nan, 0.0, 0.0

    def update(self, stamp: float, field: np.ndarray) -> None:
        """Take in a finite field (3,) of any unit, later than the one before."""
        size = math.hypot(*field.tolist())
        dt = stamp - self.last
        self.last = stamp
        if not dt <= MAG_GAP:  # the first one, or after a silence
            self._turning.reset()
            self._size = size if math.isnan(self._size) else self._size
        else:
            share = min(dt / WATCH, 1.0)
            self._period = dt if math.isnan(self._period) else self._period + share * (dt - self._period)
            self._size += share * (size - self._size)
            self._age += dt
        self._turning.update(field, dt if dt <= MAG_GAP else 0.0)
        if self._age - self._judged >= JUDGE:
            self._judged = self._age
            self._doubt.update(self._judge(), self._age)

    @property
    def rate(self) -> float:
        """[Hz] of the fields; NaN while too few have come."""
        return 1.0 / self._period

    @property
    def unit(self) -> str:
        """What the size of the field says of its unit; the estimate does not need it."""
        if math.isnan(self._size):
            return "unknown"
        for name, low, high in UNITS:
            if low <= self._size < high:
                return name if name == "tesla" else f"{name}, where REP-145 has tesla"
        return f"unknown: {self._size:.3g} on the mean"

    @property
    def doubt(self) -> str:
        """What is wrong with its axes, or what turns along with it, empty for nothing; the estimate goes on."""
        return self._doubt.said

    def _judge(self) -> str:
        found = self._turning.verdict()
        if found is None:
            return ""
        if _others_agree(found):
            return (
                "gyro and magnetometer have different axes: the field would turn as the gyro says with x, y, z of "
                f"the magnetometer as its {found.axes}; turn them in the driver"
            )
        if found.agreement >= 0.0:
            return ""
        return (
            "the field does not turn as the gyro says: a magnet or iron that turns along, or one close by; "
            "calibrate the magnetometer where it is mounted, or set use_mag to false"
        )


def _others_agree(found: Verdict) -> bool:
    return found.best > OTHERS_AGREE and found.best - found.agreement > BETTER


@njit(cache=True)
def take(memory, gyro, accel, dt):  # type: ignore[no-untyped-def]
    """Take in a sample: what `SignalChecks.update` does before it looks.

    Args:
        memory: (1,) record of `MEMORY`; changed.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2].
        dt: [s] since the sample before.
    """
    m = memory[0]
    imu_checks.watch(m.samples, gyro, accel, dt)
    turning.turn(m.gravity, gyro, dt)
    turning.update(m.gravity, accel, dt)
    turning.turn(m.field, gyro, dt)

"""The online algorithm: IMU samples and magnetic fields in, attitude with its covariance out.

VQF (Laidig & Seel 2023) and an inclination filter that calibrates the gyro run side by side. The inclination is
weighed between them by their variances, the heading is VQF's, corrected by a network where it speaks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from nn_estimation.attitude import inclination, kernel
from nn_estimation.attitude.field import DELAY
from nn_estimation.attitude.heading import Heading
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.state import BIAS_STD, COVARIANCE, GYRO_BIAS, RATE, State

START_UP = 0.3  # [s] of samples from which the rate is found
LEAST = 4  # samples of them
GIVE_UP = 10.0  # [s] of silence after which an attitude is no longer worth keeping
NO_FIELD = math.nan, np.zeros(3)
COUNTED = ("sample", "invalid", "repeated or backward", "gap", "field", "field too late", "restart")


class Attitude(NamedTuple):
    """Attitude of the sensor at a stamp."""

    stamp: float  # [s]
    values: np.ndarray  # (20,) of `state`, of which the properties are parts
    method: str  # who speaks: network, filter or vqf

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) x, y, z, w; sensor to world (east, north, up)."""
        return self.values[:COVARIANCE]

    @property
    def covariance(self) -> np.ndarray:
        """(3, 3) [rad^2] of the rotation error about the world axes."""
        return self.values[COVARIANCE:RATE].reshape(3, 3)

    @property
    def angular_velocity(self) -> np.ndarray:
        """(3,) [rad/s] without bias, sensor frame."""
        return self.values[RATE:GYRO_BIAS]

    @property
    def gyro_bias(self) -> np.ndarray:
        """(3,) [rad/s]."""
        return self.values[GYRO_BIAS:BIAS_STD]

    @property
    def gyro_bias_std(self) -> float:
        """[rad/s]."""
        return float(self.values[BIAS_STD])


class AttitudeEstimator:
    """Samples and fields in, attitudes out; without fields the heading is relative to the start.

    Args:
        setup: method, constants and network.
        rate: [Hz] of the samples; None finds it in the first `START_UP` seconds, for which nothing comes out.

    Attributes:
        counts: of samples and fields by what became of them.
    """

    def __init__(self, setup: Setup, rate: float | None = None) -> None:
        self.setup, self._rate = setup, rate
        self.counts = dict.fromkeys(COUNTED, 0)
        self.reset()

    def use(self, setup: Setup) -> None:
        """Change to another method under way; the heading moves to it slowly."""
        self.think()
        self.setup = setup
        self._heading.use(setup.constants, setup.network)

    def reset(self) -> None:
        """Forget the attitude; the counts stay."""
        self.state = State()
        self._heading = Heading(self.setup.constants, self.setup.network)
        self._waiting: list[tuple[float, np.ndarray, np.ndarray]] = []
        self._fields: deque[tuple[float, np.ndarray]] = deque()
        self._stamp, self._begun, self._looked = math.nan, False, False

    @property
    def innovation(self) -> float:
        """Mean normalised innovation squared of the pseudo-measurements; 1 where they are as wrong as they say."""
        return float(self.state.memory[inclination.NIS])

    @property
    def trust(self) -> float:
        """Share of the inclination filter in the inclination; NaN before the first attitude."""
        return self.state.trust

    @property
    def heading_share(self) -> float:
        """Share of the learned heading in the heading."""
        return self._heading.share

    def magnetic(self, stamp: float, field: np.ndarray) -> None:
        """Take in a field; it counts at a fixed time after its stamp.

        Args:
            stamp: [s].
            field: (3,) any unit, sensor frame.
        """
        self.think()
        if self._fields and stamp <= self._fields[-1][0]:
            return
        field = np.array(field, dtype=np.float64)
        if kernel.usable(field):
            self._fields.append((stamp, field))

    def update(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> Attitude | None:
        """Take in a sample; None while starting, or where the sample is of no use.

        Args:
            stamp: [s].
            gyro: (3,) [rad/s].
            accel: (3,) [m/s^2], +g up at rest.
        """
        gyro, accel = np.ascontiguousarray(gyro, np.float64), np.ascontiguousarray(accel, np.float64)
        if not kernel.usable_sample(gyro, accel):
            self.counts["invalid"] += 1
            return None
        return self.take(stamp, gyro, accel)

    def take(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> Attitude | None:
        """`update` by contiguous float64 that is known to be finite, the acceleration not zero."""
        self.think()
        dt = stamp - (self._waiting[-1][0] if self._waiting else self._stamp)
        if dt <= 0.0:
            self.counts["repeated or backward"] += 1
            return None
        if dt > GIVE_UP:
            self.counts["gap"] += 1
            newest = [entry for entry in self._fields if entry[0] > stamp - START_UP]
            self.reset()
            self._fields.extend(newest)
        if self._begun:
            return self._sample(stamp, gyro, accel, dt)
        self._waiting.append((stamp, gyro.copy(), accel.copy()))
        return self._start()

    def think(self) -> None:
        """Let the network look, where that is due: the attitude of the sample did not wait for it."""
        if self._looked:
            self._looked = False
            s = self.state
            self._heading.look(s.found, s.bank, s.R, s.P, s.memory, s.mean[3:], s.peer, s.clock)

    def _start(self) -> Attitude | None:
        """Go through the samples that waited, once they say the rate."""
        stamps = np.array([stamp for stamp, _, _ in self._waiting])
        interval = interval_of(stamps, self._rate)
        if interval is None:
            return None
        fields = np.array([stamp for stamp, _ in self._fields])
        waiting, self._waiting = self._waiting, []
        self._stamp, _, accel = waiting[0]
        of_fields = field_interval(fields, stamps[-1], interval)
        kernel.start(self.state.packed, self._stamp, accel, interval, of_fields, self.setup.packed)
        self._begun = True
        attitude = None
        for stamp, gyro, accel in waiting:
            self.think()
            attitude = self._sample(stamp, gyro, accel, stamp - self._stamp)
        return attitude

    def _sample(self, stamp: float, gyro: np.ndarray, accel: np.ndarray, dt: float) -> Attitude:
        at, measured = self._due(stamp)
        setup, heading, state, counts = self.setup, self._heading, self.state, self.counts
        known = heading.angle, heading.share, heading.variance
        ended, heard = kernel.update(
            state.packed, setup.packed, stamp, gyro, accel, dt, at, measured, *known, setup.filtered
        )
        self._stamp, self._looked = stamp, ended == kernel.LOOK
        counts["sample"] += 1
        if not math.isnan(at):
            counts["field" if heard else "field too late"] += 1
        if dt > kernel.LONGEST:
            counts["gap"] += 1
        if ended == kernel.RESTART:
            counts["restart"] += 1
        who = setup.method
        if setup.filtered:
            who = "network" if heading.share > 0.0 else "filter"
        return Attitude(stamp, state.out.copy(), who)

    def _due(self, stamp: float) -> tuple[float, np.ndarray]:
        """The newest field that counts by now; a stamp of NaN for none."""
        newest = NO_FIELD
        while self._fields and self._fields[0][0] + DELAY <= stamp + 1e-7:
            newest = self._fields.popleft()
        return newest


def interval_of(stamps: np.ndarray, rate: float | None) -> float | None:
    """[s] between the first samples; None where there are too few."""
    if rate is not None:
        return 1.0 / rate
    if len(stamps) < LEAST or stamps[-1] - stamps[0] < START_UP:
        return None
    return float(np.median(np.diff(stamps)))


def field_interval(fields: np.ndarray, now: float, interval: float) -> float:
    """[s] between the first fields, or samples where there are too few."""
    known = fields[fields <= now - DELAY]
    return float(np.median(np.diff(known))) if len(known) >= LEAST else interval

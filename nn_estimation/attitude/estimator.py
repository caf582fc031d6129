"""The online algorithm: IMU samples and magnetic fields in, attitude with its covariance out.

VQF (Laidig & Seel 2023) and an inclination filter that calibrates the gyro run side by side. The inclination is
weighed between them by their variances, the heading is VQF's, corrected by a network where it speaks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nn_estimation.attitude import inclination, kernel
from nn_estimation.attitude.field import DELAY
from nn_estimation.attitude.heading import Heading
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.state import (
    BIAS_STD,
    COUNTED,
    COVARIANCE,
    GAP,
    GYRO_BIAS,
    INVALID,
    LATE,
    RATE,
    State,
)

START_UP = 0.3  # [s] of samples from which the rate is found
LEAST = 4  # samples of them
GIVE_UP = 10.0  # [s] of silence after which an attitude is no longer worth keeping


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
        """(3,) [rad/s] without bias, scale and cross-axis errors, sensor frame."""
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
    """

    def __init__(self, setup: Setup, rate: float | None = None) -> None:
        self.setup, self._rate = setup, rate
        self.state = State()
        self.reset()

    def use(self, setup: Setup) -> None:
        """Change to another method under way; the heading moves to it slowly."""
        self.think()
        self.setup = setup
        self._heading.use(setup.constants, setup.network)

    def reset(self) -> None:
        """Forget the attitude; the counts stay."""
        counts, self.state = self.state.counts, State()
        self.state.counts[:] = counts
        self._heading = Heading(self.setup.constants, self.setup.network)
        self._waiting: list[tuple[float, np.ndarray, np.ndarray]] = []
        self._begun, self._looked = False, False

    @property
    def counts(self) -> dict[str, int]:
        """Of samples and fields by what became of them."""
        return dict(zip(COUNTED, self.state.counts.tolist(), strict=True))

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
        kernel.queue(self.state.packed, stamp, np.ascontiguousarray(field, np.float64))

    def drop_fields(self, after: float) -> int:
        """Forget the fields that wait and are stamped after a time [s]; their number."""
        dropped = int(np.count_nonzero(self.state.queued()[0] > after))
        self.state.packed["waiting"] -= dropped  # they are the newest
        return dropped

    def update(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> Attitude | None:
        """Take in a sample; None while starting, or where the sample is of no use.

        Args:
            stamp: [s].
            gyro: (3,) [rad/s].
            accel: (3,) [m/s^2], +g up at rest.
        """
        gyro, accel = np.ascontiguousarray(gyro, np.float64), np.ascontiguousarray(accel, np.float64)
        self.think()
        counts = self.state.counts
        if not kernel.usable_sample(gyro, accel):
            counts[INVALID] += 1
            return None
        dt = stamp - (self._waiting[-1][0] if self._waiting else self.state.stamp)
        if dt <= 0.0:
            counts[LATE] += 1
            return None
        if dt > GIVE_UP:
            counts[GAP] += 1
            self._begin_anew(stamp)
        if self._begun:
            setup = self.setup
            ended = kernel.update(self.state.packed, setup.packed, setup.filtered, stamp, gyro, accel)
            return self.made(ended, stamp)
        self._waiting.append((stamp, gyro.copy(), accel.copy()))
        return self._start()

    def made(self, ended: int, stamp: float) -> Attitude:
        """What `kernel.update` has made of a sample of a stamp [s], by what it said."""
        self._looked = ended == kernel.LOOK
        setup, state = self.setup, self.state
        who = setup.method
        if setup.filtered:
            who = "network" if self._heading.share > 0.0 else "filter"
        return Attitude(stamp, state.out.copy(), who)

    def think(self) -> None:
        """Let the network look, where that is due: the attitude of the sample did not wait for it."""
        if self._looked:
            self._looked = False
            s, h = self.state, self._heading
            h.look(s.found, s.bank, s.R, s.P, s.memory, s.mean[3:], s.peer, s.clock)
            s.heading[:] = h.angle, h.share, h.variance

    def _begin_anew(self, stamp: float) -> None:
        """After a gap; fields that came with its end count."""
        stamps, fields = self.state.queued()
        self.reset()
        for at, field in zip(stamps, fields, strict=True):
            if at > stamp - START_UP:
                kernel.queue(self.state.packed, at, field)

    def _start(self) -> Attitude | None:
        """Go through the samples that waited, once they say the rate."""
        stamps = np.array([stamp for stamp, _, _ in self._waiting])
        interval = interval_of(stamps, self._rate)
        if interval is None:
            return None
        waiting, self._waiting = self._waiting, []
        setup, packed = self.setup, self.state.packed
        of_fields = field_interval(self.state.queued()[0], stamps[-1], interval)
        kernel.start(packed, stamps[0], waiting[0][2], interval, of_fields, setup.packed)
        self._begun, attitude = True, None
        for stamp, gyro, accel in waiting:
            self.think()
            ended = kernel.update(packed, setup.packed, setup.filtered, stamp, gyro, accel)
            attitude = self.made(ended, stamp)
        return attitude


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

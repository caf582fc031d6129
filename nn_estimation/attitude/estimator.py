"""The online algorithm: IMU samples and magnetic fields in, attitude with its covariance out.

VQF (Laidig & Seel 2023, the package `vqf`) and an inclination filter that calibrates the gyro run side by side. The
inclination is weighed between them by their variances, the heading is VQF's, corrected by a network where it speaks.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from vqf import VQF

from nn_estimation.attitude import features, inclination, kernel
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.field import DELAY, empty_ring
from nn_estimation.attitude.heading import Heading
from nn_estimation.attitude.model import Setup

START_UP = 0.3  # [s] of samples from which the rate is found
LEAST = 4  # samples of them
GIVE_UP = 10.0  # [s] of silence after which an attitude is no longer worth keeping
UNKNOWN_HEADING = math.pi**2 / 3.0  # [rad^2] variance of an angle that can be anything
NO_FIELD = math.nan, np.zeros(3)
COUNTED = ("sample", "invalid", "repeated or backward", "gap", "field", "field too late", "restart")


class Attitude(NamedTuple):
    """Attitude of the sensor at a stamp."""

    stamp: float  # [s]
    quaternion: np.ndarray  # (4,) x, y, z, w; sensor to world (east, north, up)
    covariance: np.ndarray  # (3, 3) [rad^2] of the rotation error about the world axes
    angular_velocity: np.ndarray  # (3,) [rad/s] without bias, sensor frame
    gyro_bias: np.ndarray  # (3,) [rad/s]
    gyro_bias_std: float  # [rad/s]
    method: str  # who speaks: network, filter or vqf


@dataclass(slots=True)
class State:
    """What the compiled part works on; see `kernel` and `inclination`."""

    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    x: np.ndarray = field(default_factory=lambda: np.zeros(inclination.SIZE))
    P: np.ndarray = field(default_factory=lambda: np.zeros((inclination.SIZE, inclination.SIZE)))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(inclination.SUMS))
    memory: np.ndarray = field(default_factory=lambda: np.zeros(inclination.MEMORY))
    bank: np.ndarray = field(default_factory=lambda: np.zeros(features.MEMORY))
    found: np.ndarray = field(default_factory=lambda: np.zeros(len(features.NAMES)))  # features
    clock: np.ndarray = field(default_factory=lambda: np.zeros(3))  # [s] since field, look, features
    carried: np.ndarray = field(default_factory=lambda: np.zeros(3))  # newest field, turned along
    mean: np.ndarray = field(
        default_factory=lambda: np.zeros(6)
    )  # fields since a look, world; their mean, sensor

    def arrays(self) -> tuple[np.ndarray, ...]:
        """In the order the kernel takes them; changed by it."""
        filtered = self.R, self.x, self.P, self.sums, self.memory
        return *filtered, self.bank, self.found, self.clock, self.carried, self.mean

    def begin(self, accel: np.ndarray, constants: Constants) -> None:
        """First state from one specific force (3,) [m/s^2]."""
        inclination.begin(self.R, self.x, self.P, self.sums, self.memory, accel, constants)


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
        self._work = inclination.workspace()
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
        self._vqf: VQF | None = None
        self._waiting: list[tuple[float, np.ndarray, np.ndarray]] = []
        self._fields: deque[tuple[float, np.ndarray]] = deque()
        self._stamp = self.trust = math.nan
        self._ring, self._head = empty_ring(), 0
        self._clocks, self._scaled = np.full(kernel.CLOCKS, math.nan), np.zeros(3)
        self._arriving = *self._ring, self._clocks, self.state.carried, self._scaled
        self._arrays = self.state.arrays()
        self._peer, self._looked = np.zeros(4), False

    @property
    def innovation(self) -> float:
        """Mean normalised innovation squared of the pseudo-measurements; 1 where they are as wrong as they say."""
        return float(self.state.memory[inclination.NIS])

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
        self.think()
        gyro, accel = np.ascontiguousarray(gyro, np.float64), np.ascontiguousarray(accel, np.float64)
        if not (kernel.finite(gyro) and kernel.usable(accel)):
            self.counts["invalid"] += 1
            return None
        dt = stamp - (self._waiting[-1][0] if self._waiting else self._stamp)
        if dt <= 0.0:
            self.counts["repeated or backward"] += 1
            return None
        if dt > GIVE_UP:
            self.counts["gap"] += 1
            newest = [entry for entry in self._fields if entry[0] > stamp - START_UP]
            self.reset()
            self._fields.extend(newest)
        if self._vqf is not None:
            return self._sample(stamp, gyro, accel, dt)
        self._waiting.append((stamp, gyro.copy(), accel.copy()))
        return self._start()

    def think(self) -> None:
        """Let the network look, where that is due: the attitude of the sample did not wait for it."""
        if self._looked:
            self._looked = False
            s = self.state
            self._heading.look(s.found, s.bank, s.R, s.P, s.memory, s.mean[3:], self._peer, s.clock)

    def _start(self) -> Attitude | None:
        """Go through the samples that waited, once they say the rate."""
        stamps = np.array([stamp for stamp, _, _ in self._waiting])
        interval = interval_of(stamps, self._rate)
        if interval is None:
            return None
        fields = np.array([stamp for stamp, _ in self._fields])
        made = np.array([interval, field_interval(fields, stamps[-1], interval)])
        self._clocks[: kernel.HEARD] = *made, *made
        self._vqf = make_vqf(made)
        waiting, self._waiting = self._waiting, []
        self.state.begin(waiting[0][2], self.setup.constants)
        self._ring[1][0] = self._stamp = waiting[0][0]
        attitude = None
        for stamp, gyro, accel in waiting:
            self.think()
            attitude = self._sample(stamp, gyro, accel, stamp - self._stamp)
        return attitude

    def _sample(self, stamp: float, gyro: np.ndarray, accel: np.ndarray, dt: float) -> Attitude:
        at, measured = self._due(stamp)
        self._head, heard, anew = kernel.arrive(self._arriving, self._head, stamp, gyro, dt, at, measured)
        if not math.isnan(at):
            self.counts["field" if heard else "field too late"] += 1
        if anew:
            self._vqf = make_vqf(self._clocks, self._vqf)
        vqf = self._vqf
        assert vqf is not None
        vqf.update(self._scaled, accel, self.state.carried if heard else None)
        self._peer, rest = vqf.getQuat9D(), vqf.getRestDetected()
        setup, heading, out = self.setup, self._heading, np.empty(kernel.OUT)
        known = heading.angle, heading.share, heading.variance
        how = setup.filtered, setup.packed, self._work
        ended, self.trust, bias_variance = kernel.sample(
            self._arrays, gyro, accel, heard, dt, rest, self._peer, known, how, out
        )
        self._looked = ended == kernel.LOOK
        if math.isnan(self._clocks[kernel.HEARD]):
            out[kernel.COVARIANCE + 8] = UNKNOWN_HEADING
        self._stamp = stamp
        counts = self.counts
        counts["sample"] += 1
        if dt > kernel.LONGEST:
            counts["gap"] += 1
        if ended == kernel.RESTART:
            counts["restart"] += 1
        who = setup.method
        if setup.filtered:
            who = "network" if heading.share > 0.0 else "filter"
        return Attitude(
            stamp,
            out[kernel.TURNED : kernel.COVARIANCE],
            out[kernel.COVARIANCE : kernel.GYRO_BIAS].reshape(3, 3),
            out[kernel.RATE : kernel.TURNED],
            out[kernel.GYRO_BIAS :],
            math.sqrt(bias_variance),
            who,
        )

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


def make_vqf(made: np.ndarray, before: VQF | None = None) -> VQF:
    """VQF for intervals of samples and fields [s], which goes on from the state of another one."""
    new = VQF(float(made[0]), float(made[0]), float(made[1]))
    if before is not None:
        new.state = before.state
    return new

"""Attitudes of a whole recording at once: the numbers of the estimator, sample by sample, in compiled loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nn_estimation.attitude import compiled_vqf, inclination, sweeps
from nn_estimation.attitude.constants import Constants, packed
from nn_estimation.attitude.estimator import GIVE_UP, START_UP, field_interval, interval_of
from nn_estimation.attitude.field import DELAY
from nn_estimation.attitude.heading import Heading
from nn_estimation.attitude.kernel import UNKNOWN_HEADING
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.state import State


@dataclass(frozen=True, slots=True)
class Track:
    """N attitudes of a whole recording; those of a start are what is known after it."""

    stamp: np.ndarray  # (N,) [s]
    quaternion: np.ndarray  # (N, 4) x, y, z, w; sensor to world
    covariance: np.ndarray  # (N, 3, 3) [rad^2] about the world axes
    angular_velocity: np.ndarray  # (N, 3) [rad/s]
    gyro_bias: np.ndarray  # (N, 3) [rad/s]
    trust: np.ndarray  # (N,) share of the inclination filter in the inclination
    share: np.ndarray  # (N,) share of the learned heading
    rest: np.ndarray  # (N,) bool


def track(
    setup: Setup,
    stamp: np.ndarray,
    gyro: np.ndarray,
    accel: np.ndarray,
    mag_stamp: np.ndarray,
    mag: np.ndarray,
    rate: float | None = None,
) -> Track:
    """`AttitudeEstimator` over N samples and M fields at once: the same numbers.

    Args:
        setup: method, constants and network.
        stamp: (N,) [s], increasing.
        gyro: (N, 3) [rad/s], finite.
        accel: (N, 3) [m/s^2], finite.
        mag_stamp: (M,) [s], increasing.
        mag: (M, 3).
        rate: see `AttitudeEstimator`.

    Raises:
        ValueError: a recording shorter than a start.
    """
    stamp, gyro, accel, mag_stamp, mag = (
        np.ascontiguousarray(column, np.float64) for column in (stamp, gyro, accel, mag_stamp, mag)
    )
    edges = [0, *(np.flatnonzero(np.diff(stamp) > GIVE_UP) + 1), len(stamp)]
    parts = []
    for n, (a, b) in enumerate(pairwise(edges)):
        rows = slice(a, b)
        fields = (mag_stamp > (stamp[a] - START_UP if n else -math.inf)) & (mag_stamp <= stamp[b - 1])
        parts.append(
            _stretch(setup, stamp[rows], gyro[rows], accel[rows], mag_stamp[fields], mag[fields], rate)
        )
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in Track.__slots__]
    return Track(*columns)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What does not depend on the constants: the fields carried to N samples, and VQF over them."""

    dt: np.ndarray  # (N,) [s]
    fields: np.ndarray  # (N, 3)
    used: np.ndarray  # (N,) index of the field that counts at a sample, or -1
    peer: np.ndarray  # (N, 4) w, x, y, z
    rest: np.ndarray  # (N,) bool


def prepare(
    stamp: np.ndarray,
    gyro: np.ndarray,
    accel: np.ndarray,
    mag_stamp: np.ndarray,
    mag: np.ndarray,
    rate: float | None = None,
) -> Prepared:
    """See `Prepared` and `track`; of a recording without a gap that begins anew."""
    count = len(stamp)
    begun = next((n for n in range(1, count + 1) if interval_of(stamp[:n], rate) is not None), None)
    if begun is None:
        raise ValueError(f"{count} samples are too few to find their rate: {START_UP:g} s are needed")
    interval = interval_of(stamp[:begun], rate)
    assert interval is not None
    dt = np.diff(stamp, prepend=stamp[0])
    used, fields = np.empty(count, np.int64), np.zeros((count, 3))
    sweeps.carry_all(stamp, gyro, mag_stamp, mag, DELAY, used, fields)
    vqf = np.zeros(1, compiled_vqf.LAYOUT)
    compiled_vqf.begin(vqf)
    compiled_vqf.retime(vqf[0], interval, field_interval(mag_stamp, stamp[begun - 1], interval))
    peer, rest = np.empty((count, 4)), np.empty(count, dtype=bool)
    sweeps.vqf_all(vqf, dt, gyro, accel, fields, used, mag_stamp, peer, rest)
    return Prepared(dt, fields, used, peer, rest)


def filtered(
    prepared: Prepared,
    gyro: np.ndarray,
    accel: np.ndarray,
    constants: Constants,
    look: Callable[[State, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The inclination filter over a recording.

    Args:
        prepared: of it.
        gyro: (N, 3) [rad/s].
        accel: (N, 3) [m/s^2].
        constants: of the filter.
        look: called at each look, with the state and the number of samples so far.

    Returns:
        (N, 3, 3) rotations, (N, 22) states, (N, 2) share of the filter with its tilt variance [rad^2], and
        (N, MEMORY) memories.
    """
    count, state, at = len(gyro), State(), 0
    state.begin(accel[0], constants)
    given = packed(constants)
    widths = (3, 3), (inclination.SIZE,), (2,), (inclination.MEMORY,)
    R, x, shares, memory = (np.empty((count, *width)) for width in widths)
    kept = R, x, shares, memory
    inputs = gyro, accel, prepared.fields, prepared.used, prepared.dt, prepared.rest
    while at < count:
        at, looked, _ = sweeps.run(at, state.packed, inputs, given, kept, look is not None)
        if looked and look is not None:
            look(state, at)
    return kept


def _stretch(
    setup: Setup,
    stamp: np.ndarray,
    gyro: np.ndarray,
    accel: np.ndarray,
    mag_stamp: np.ndarray,
    mag: np.ndarray,
    rate: float | None,
) -> Track:
    count, c = len(stamp), setup.constants
    prepared = prepare(stamp, gyro, accel, mag_stamp, mag, rate)
    heading = Heading(c, setup.network)
    ends, said = [0], [(heading.angle, heading.share, heading.variance)]

    def look(s: State, end: int) -> None:
        heading.look(s.found, s.bank, s.R, s.P, s.memory, s.mean[3:], prepared.peer[end - 1], s.clock)
        ends.append(end)
        said.append((heading.angle, heading.share, heading.variance))

    R, x, shares, memory = filtered(prepared, gyro, accel, c, look if setup.network is not None else None)
    # What a look says counts from the sample after its own on.
    angle, share, variance = np.repeat(np.array(said).T, np.diff([*ends, count]), axis=1)
    trust = shares[:, 0] if setup.filtered else np.zeros(count)
    w, q = np.empty((count, 3)), np.empty((count, 4))
    sweeps.compose_all(prepared.peer, R, x, angle, share, trust, gyro, packed(c), w, q)
    known = np.maximum.accumulate(prepared.used >= 0)
    variances = np.empty((count, 2))
    sweeps.bounds_all(memory, shares[:, 1], trust, share, variance, packed(c), variances)
    covariance = np.zeros((count, 3, 3))
    covariance[:, 0, 0] = covariance[:, 1, 1] = variances[:, 0]
    covariance[:, 2, 2] = np.where(known, variances[:, 1], UNKNOWN_HEADING)
    return Track(stamp, q, covariance, w, x[:, 3:6].copy(), trust, share, prepared.rest)

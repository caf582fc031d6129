"""Compiled loops over a whole recording: what the kernel does to one sample, in the order of the estimator."""

from __future__ import annotations

import numpy as np
from numba import njit

from nn_estimation.attitude import compiled_vqf
from nn_estimation.attitude.field import CAPACITY, carry, turn
from nn_estimation.attitude.inclination import tilt_variance
from nn_estimation.attitude.kernel import (
    LOOK,
    RESTART,
    advance,
    bounds,
    compose,
    keep_time,
    scale_turn,
    trust,
    turn_rate,
)
from nn_estimation.attitude.state import SPACE


@njit(cache=True)
def run(first, states, inputs, constants, kept, stop):  # type: ignore[no-untyped-def]
    """`advance` from sample `first` on, to the end or, with `stop`, through the next look.

    Args:
        first: index.
        states: (1,) record of `state.LAYOUT`; changed.
        inputs: gyro (N, 3) [rad/s], accel (N, 3) [m/s^2], fields (N, 3) and used (N,) of `carry_all`, dt (N,) [s],
            rest (N,) bool.
        constants: see `constants.packed`.
        kept: (N, 3, 3), (N, 22), (N, 2), (N, MEMORY) that receive R, x, the share of the filter with its tilt
            variance, and the memory.
        stop: bool.

    Returns:
        Index of the next sample, whether it stopped at a look, number of restarts.
    """
    gyro, accel, fields, used, dt, rest = inputs
    rotations, errors, shares, memories = kept
    s, c = states[0], constants[0]
    restarts = 0
    for n in range(first, len(dt)):
        heard = used[n] >= 0
        if heard:
            s.carried[:] = fields[n]
        ended = advance(s, gyro[n], accel[n], heard, dt[n], rest[n], constants)
        restarts += ended == RESTART
        rotations[n], errors[n], memories[n] = s.R, s.x, s.memory
        shares[n, 0], shares[n, 1] = trust(s.P, s.memory, c), tilt_variance(s.P)
        if stop and ended == LOOK:
            return n + 1, True, restarts
    return len(dt), False, restarts


@njit(cache=True)
def compose_all(peer, R, x, angle, share, trusted, gyro, constants, w, out):  # type: ignore[no-untyped-def]
    """`compose` of N samples; into (N, 3) and (N, 4)."""
    c, space = constants[0], np.empty((SPACE, 3, 3))
    for n in range(len(peer)):
        turn_rate(x[n], gyro[n], w[n])
        compose(peer[n], R[n], angle[n], share[n], trusted[n], w[n], c, out[n], space)


@njit(cache=True)
def bounds_all(memory, tilt, trusted, share, heading, constants, out):  # type: ignore[no-untyped-def]
    """`bounds` of N samples; into (N, 2)."""
    c = constants[0]
    for n in range(len(out)):
        out[n] = bounds(memory[n], tilt[n], trusted[n], share[n], heading[n], c)


@njit(cache=True)
def vqf_all(vqf, dt, gyro, accel, fields, used, mag_stamp, peer, rest):  # type: ignore[no-untyped-def]
    """VQF over N samples.

    Args:
        vqf: (1,) record of `compiled_vqf.LAYOUT`; changed.
        dt: (N,) [s].
        gyro: (N, 3) [rad/s].
        accel: (N, 3) [m/s^2].
        fields: (N, 3) see `carry_all`.
        used: (N,) see `carry_all`.
        mag_stamp: (M,) [s].
        peer: (N, 4) receives w, x, y, z.
        rest: (N,) bool receives whether the body is at rest.
    """
    v, means, scaled, before = vqf[0], np.empty(2), np.empty(3), np.nan
    means[0], means[1] = v.interval, v.field_interval
    for n in range(len(dt)):
        heard, since = used[n] >= 0, np.nan
        if heard:
            since = mag_stamp[used[n]] - before
            before = mag_stamp[used[n]]
        keep_time(v, means, dt[n], since)
        scale_turn(v, gyro[n], dt[n], scaled)
        compiled_vqf.update(v, scaled, accel[n], fields[n], heard)
        compiled_vqf.attitude(v, peer[n])
        rest[n] = v.rest != 0


@njit(cache=True)
def carry_all(stamp, gyro, mag_stamp, mag, delay, used, fields):  # type: ignore[no-untyped-def]
    """The fields of a recording at the samples they count at.

    Args:
        stamp: (N,) [s].
        gyro: (N, 3) [rad/s].
        mag_stamp: (M,) [s].
        mag: (M, 3).
        delay: [s] see `field.DELAY`.
        used: (N,) int64 receives the index of the field that counts at a sample, or -1.
        fields: (N, 3) receives it, carried to the sample; zeros where there is none.
    """
    ring, stamps = np.zeros((CAPACITY, 3, 3)), np.full(CAPACITY, -np.inf)
    ring[0] = np.eye(3)
    stamps[0] = stamp[0]
    head, at, work = 0, 0, np.empty((3, 3))
    for n in range(len(stamp)):
        if n:
            head = turn(ring, stamps, head, stamp[n], gyro[n], stamp[n] - stamp[n - 1], work)
        used[n] = -1
        while at < len(mag_stamp) and mag_stamp[at] + delay <= stamp[n] + 1e-7:
            used[n] = at
            at += 1
        if used[n] >= 0 and not carry(
            ring, stamps, head, mag_stamp[used[n]], gyro[n], mag[used[n]], fields[n], work
        ):
            used[n] = -1

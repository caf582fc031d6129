"""The compiled part of the estimator: what is done at every sample, online and in `sweeps` over a recording alike.

A call from Python costs as much as the arithmetic of a sample: online there is one, `update`, on one record.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.attitude import compiled_vqf, features
from nn_estimation.attitude.field import DELAY, LONGEST, carry, turn
from nn_estimation.attitude.heading import twist
from nn_estimation.attitude.inclination import (
    ASTRAY,
    BIAS,
    LOST,
    MATRIX,
    NIS,
    POSITION,
    TIME,
    UNCALIBRATED,
    VELOCITY,
    begin,
    bridge,
    step,
    tilt_variance,
)
from nn_estimation.attitude.state import (
    BIAS_STD,
    COVARIANCE,
    FIELD,
    FIELD_TOO_LATE,
    GAP,
    GYRO_BIAS,
    QUEUE,
    RATE,
    RESTARTED,
    SAMPLE,
)
from nn_estimation.filters import matrix, quaternion, so3_exp_xyz, wrapped

# What a sample ended: nothing, a block, one with a field; or the filter began anew.
IDLE, BLOCK, LOOK, RESTART = range(4)
LARGEST = 1e4  # [m/s, m] of what must be near zero, from which on the inclination filter begins anew
FIELD_AGE = 0.5  # [s] after which a field is of no use
UNKNOWN_HEADING = math.pi**2 / 3.0  # [rad^2] variance of an angle that can be anything
OTHER_RATE = 1.33  # times the rate that VQF was made for, from which on it is made for another
_OVER = 1.0  # [s] over which intervals are averaged


@njit(cache=True)
def advance(s, gyro, accel, heard, dt, rest, constants):  # type: ignore[no-untyped-def]
    """One sample of the inclination filter, and the features at the end of a block.

    Args:
        s: record of `state.LAYOUT`; changed. Its carried field is turned along where there is none of this sample.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2].
        heard: whether the field is of this sample.
        dt: [s].
        rest: bool.
        constants: see `constants.packed`.

    Returns:
        IDLE, BLOCK, LOOK where the mean of the fields since the last one is due, or RESTART where the filter had
        diverged.
    """
    c, clock, field, w = constants[0], s.clock, s.carried, s.w
    clock[0] = 0.0 if heard else clock[0] + dt
    clock[1] += dt
    clock[2] += dt
    if dt > LONGEST:
        bridge(s.x, s.P, s.sums, s.memory, dt, c)
        s.mean[:] = 0.0
        clock[0] = max(clock[0], FIELD_AGE)  # the carried field was not turned along
        return IDLE
    if not heard:
        _along(field, gyro, dt, s.space[0])
    block = s.sums[TIME] + dt
    work = s.space[0], s.space[1], w, s.phi, s.rows, s.dx
    if not step(s.R, s.x, s.P, s.sums, s.memory, gyro, accel, dt, rest, c, work):
        return IDLE
    _forget(s.memory, clock, block, c)
    size = 0.0
    for i in range(2):
        size = max(size, abs(s.x[VELOCITY + i]), abs(s.x[POSITION + i]))
    if not size < LARGEST:
        begin(s.R, s.x, s.P, s.sums, s.memory, accel, c)
        return RESTART
    strength = field[0] * field[0] + field[1] * field[1] + field[2] * field[2]
    if not (clock[0] < FIELD_AGE and strength > 0.0):
        return BLOCK
    turn_rate(s.x, gyro, w)
    R, mean, world = s.R, s.mean, s.world
    for i in range(3):
        world[i] = R[i, 0] * field[0] + R[i, 1] * field[1] + R[i, 2] * field[2]
    rate = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    pull = math.sqrt(accel[0] * accel[0] + accel[1] * accel[1] + accel[2] * accel[2])
    features.look(s.bank, rate, pull, world, rest, clock[2], s.found)
    clock[2] = 0.0
    for i in range(3):
        mean[i] += world[i]
    if clock[1] < c.look - 1e-9:
        return BLOCK
    for i in range(3):
        mean[3 + i] = R[0, i] * mean[0] + R[1, i] * mean[1] + R[2, i] * mean[2]
    mean[:3] = 0.0
    return LOOK


@njit(cache=True)
def _forget(memory, clock, block, c):  # type: ignore[no-untyped-def]
    """What a gap left fades as VQF corrects, the heading only by fields: without, it drifts."""
    memory[ASTRAY] *= math.exp(-2.0 * block / c.peer_memory)
    if clock[0] < FIELD_AGE:
        # VQF takes the field for a disturbed one then, and corrects half as fast.
        memory[LOST] *= math.exp(-block / c.peer_field)
    else:
        memory[LOST] = min(memory[LOST] + 2.0 * c.heading_drift**2 * clock[0] * block, 1.0)


@njit(cache=True)
def _along(field, gyro, dt, E):  # type: ignore[no-untyped-def]
    """A field (3,) as the sensor sees it after a turn; E (3, 3) is work space."""
    so3_exp_xyz(gyro[0] * dt, gyro[1] * dt, gyro[2] * dt, E)
    a, b, d = field[0], field[1], field[2]
    for i in range(3):
        field[i] = E[0, i] * a + E[1, i] * b + E[2, i] * d


@njit(cache=True)
def turn_rate(x, gyro, out):  # type: ignore[no-untyped-def]
    """[rad/s] without bias, scale and cross-axis errors, into out (3,)."""
    for i in range(3):
        out[i] = gyro[i] - x[BIAS + i]
        for j in range(3):
            out[i] -= x[MATRIX + 3 * i + j] * gyro[j]


@njit(cache=True)
def trust(P, memory, c):  # type: ignore[no-untyped-def]
    """Share of the inclination filter in the inclination, by the variances of it and of VQF."""
    ours = tilt_variance(P) * (1.0 + c.doubt * memory[NIS])
    peers = c.peer_tilt**2 + memory[UNCALIBRATED] + memory[ASTRAY]
    return peers / (peers + ours)


@njit(cache=True)
def compose(peer, R, angle, share, trusted, w, c, out, space):  # type: ignore[no-untyped-def]
    """The attitude of a sample from those of VQF and of the inclination filter.

    Args:
        peer: (4,) w, x, y, z of VQF.
        R: (3, 3) of the inclination filter.
        angle: [rad] learned heading of its world.
        share: of the learned heading.
        trusted: share of its inclination.
        w: (3,) [rad/s] turn rate.
        c: `Constants`.
        out: (4,) receives x, y, z, w, sensor to world.
        space: (SPACE, 3, 3) to work in.
    """
    V, E, T, D = space[0], space[1], space[2], space[3]
    matrix(peer, V)
    from_peer = twist(V, R)
    off = share * wrapped(angle - from_peer)
    _turn(R, from_peer + off, E)
    _turn(V, off, T)
    # What is left between the two is about a horizontal axis.
    for i in range(3):
        for j in range(3):
            D[i, j] = T[i, 0] * E[j, 0] + T[i, 1] * E[j, 1] + T[i, 2] * E[j, 2]
    quaternion(D, out)
    sine = math.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2])
    scale = 0.0 if sine < 1e-15 else 2.0 * math.atan2(sine, out[3]) / sine * (1.0 - trusted)
    so3_exp_xyz(out[0] * scale, out[1] * scale, out[2] * scale, D)
    _product(D, E, T)
    so3_exp_xyz(w[0] * c.latency, w[1] * c.latency, w[2] * c.latency, D)
    _product(T, D, E)
    quaternion(E, out)


@njit(cache=True)
def bounds(memory, tilt, trusted, share, heading, c):  # type: ignore[no-untyped-def]
    """Variances [rad^2] of the inclination and of a known heading.

    Args:
        memory: see `inclination.step`.
        tilt: [rad^2] of the inclination filter.
        trusted: share of its inclination.
        share: of the learned heading.
        heading: [rad^2] of that.
        c: `Constants`.
    """
    mixed = trusted * trusted * tilt + ((1.0 - trusted) * c.peer_tilt) ** 2
    inclined = c.tilt_scale**2 * mixed + c.tilt_floor**2 + memory[ASTRAY]
    blended = c.heading_scale**2 * heading + c.heading_floor**2
    part = share / c.blend if c.blend > 0.0 else 0.0
    return inclined, (1.0 - part) * c.heading**2 + part * blended + memory[LOST]


@njit(cache=True)
def usable(vector):  # type: ignore[no-untyped-def]
    """Whether a vector (3,) has a length by which it can be divided."""
    square = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]
    return 0.0 < square < math.inf


@njit(cache=True)
def usable_sample(gyro, accel):  # type: ignore[no-untyped-def]
    """Whether a sample, (3,) and (3,), is finite and says where up is."""
    return math.isfinite(gyro[0] + gyro[1] + gyro[2]) and usable(accel)


@njit(cache=True)
def start(states, stamp, accel, interval, field_interval, constants):  # type: ignore[no-untyped-def]
    """Set a new state to its first sample.

    Args:
        states: (1,) record of `state.LAYOUT`; changed.
        stamp: [s].
        accel: (3,) [m/s^2].
        interval: [s] of the samples.
        field_interval: [s] of the fields.
        constants: see `constants.packed`.
    """
    s = states[0]
    begin(s.R, s.x, s.P, s.sums, s.memory, accel, constants[0])
    s.stamps[0] = s.stamp = stamp
    s.intervals[0], s.intervals[1] = interval, field_interval
    compiled_vqf.retime(s.vqf, interval, field_interval)


@njit(cache=True)
def queue(states, stamp, field):  # type: ignore[no-untyped-def]
    """Let a field (3,) of `stamp` [s] wait for its time; one of no use or of the past is left out."""
    s = states[0]
    newest = (s.first + s.waiting - 1) % QUEUE
    if not usable(field) or (s.waiting > 0 and stamp <= s.queue_stamps[newest]):
        return
    if s.waiting == QUEUE:  # no sample has come for long
        _drop(s)
    at = (s.first + s.waiting) % QUEUE
    s.waiting += 1
    s.queue_stamps[at] = stamp
    for i in range(3):
        s.queue[at, i] = field[i]


@njit(cache=True)
def _drop(s):  # type: ignore[no-untyped-def]
    """Take the first field out of the queue; its index."""
    at = s.first
    s.first = (at + 1) % QUEUE
    s.waiting -= 1
    return at


@njit(cache=True)
def update(states, constants, filtered, stamp, gyro, accel):  # type: ignore[no-untyped-def]
    """One sample, and the attitude at it, which is in `out` of the state then.

    Args:
        states: (1,) record of `state.LAYOUT`; changed.
        constants: see `constants.packed`.
        filtered: whether the inclination filter has a say.
        stamp: [s], after the sample before.
        gyro: (3,) [rad/s], finite.
        accel: (3,) [m/s^2], finite and not zero.

    Returns:
        What `advance` says.
    """
    s, c = states[0], constants[0]
    dt = stamp - s.stamp
    s.stamp = stamp
    heard = _arrive(s, stamp, gyro, dt)
    v = s.vqf
    compiled_vqf.update(v, s.scaled, accel, s.carried, heard)
    compiled_vqf.attitude(v, s.peer)
    ended = advance(s, gyro, accel, heard, dt, v.rest != 0, constants)
    out, x, P, heading = s.out, s.x, s.P, s.heading
    turn_rate(x, gyro, out[RATE:GYRO_BIAS])
    s.trust = trust(P, s.memory, c) if filtered else 0.0
    compose(s.peer, s.R, heading[0], heading[1], s.trust, out[RATE:GYRO_BIAS], c, out[:COVARIANCE], s.space)
    inclined, turned = bounds(s.memory, tilt_variance(P), s.trust, heading[1], heading[2], c)
    out[COVARIANCE:RATE] = 0.0
    out[COVARIANCE] = out[COVARIANCE + 4] = inclined
    out[COVARIANCE + 8] = UNKNOWN_HEADING if math.isnan(s.field_stamp) else turned
    for i in range(3):
        out[GYRO_BIAS + i] = x[BIAS + i]
    out[BIAS_STD] = math.sqrt((P[BIAS, BIAS] + P[BIAS + 1, BIAS + 1] + P[BIAS + 2, BIAS + 2]) / 3.0)
    s.counts[SAMPLE] += 1
    s.counts[GAP] += dt > LONGEST
    s.counts[RESTARTED] += ended == RESTART
    return ended


@njit(cache=True)
def _arrive(s, stamp, gyro, dt):  # type: ignore[no-untyped-def]
    """What VQF is given: the carried field, where this returns true, and the scaled turn rate."""
    if dt > 0.0:
        s.head = turn(s.ring, s.stamps, s.head, stamp, gyro, dt, s.space[0])
    newest = -1
    while s.waiting > 0 and s.queue_stamps[s.first] + DELAY <= stamp + 1e-7:
        newest = _drop(s)
    heard, since = False, np.nan
    if newest >= 0:
        at = s.queue_stamps[newest]
        heard = carry(s.ring, s.stamps, s.head, at, gyro, s.queue[newest], s.carried, s.space[0])
        s.counts[FIELD if heard else FIELD_TOO_LATE] += 1
        if heard:
            since = at - s.field_stamp
            s.field_stamp = at
    keep_time(s.vqf, s.intervals, dt, since)
    scale_turn(s.vqf, gyro, dt, s.scaled)
    return heard


@njit(cache=True)
def keep_time(v, means, dt, since):  # type: ignore[no-untyped-def]
    """Make VQF for other intervals where those of samples or fields have changed.

    Args:
        v: of `compiled_vqf`; changed.
        means: (2,) [s] mean intervals of samples and fields; changed.
        dt: [s] between this sample and the one before.
        since: [s] between this field and the one before, NaN where there are no two.

    Returns:
        Whether it was made for others.
    """
    samples = _changed(means, 0, v.interval, dt)
    fields = _changed(means, 1, v.field_interval, since)
    if samples or fields:
        interval = means[0] if samples else v.interval
        compiled_vqf.retime(v, interval, means[1] if fields else v.field_interval)
    return samples or fields


@njit(cache=True)
def scale_turn(v, gyro, dt, out):  # type: ignore[no-untyped-def]
    """The turn rate (3,) that turns VQF, which has an interval of its own, as far as the sensor in dt [s]."""
    scale = dt / v.interval if dt <= LONGEST else 0.0
    for i in range(3):
        out[i] = gyro[i] * scale


@njit(cache=True)
def _changed(means, i, made, dt):  # type: ignore[no-untyped-def]
    if not dt <= LONGEST:  # nor where there is none before
        return False
    means[i] += min(dt / _OVER, 0.5) * (dt - means[i])
    return not made / OTHER_RATE < means[i] < made * OTHER_RATE


@njit(cache=True)
def _turn(R, angle, out):  # type: ignore[no-untyped-def]
    c, s = math.cos(angle), math.sin(angle)
    for j in range(3):
        out[0, j] = c * R[0, j] - s * R[1, j]
        out[1, j] = s * R[0, j] + c * R[1, j]
        out[2, j] = R[2, j]


@njit(cache=True)
def _product(A, B, out):  # type: ignore[no-untyped-def]
    for i in range(3):
        for j in range(3):
            out[i, j] = A[i, 0] * B[0, j] + A[i, 1] * B[1, j] + A[i, 2] * B[2, j]

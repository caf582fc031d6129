"""The compiled part of the estimator: what is done at every sample, online and in `sweeps` over a recording alike."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.attitude import features
from nn_estimation.attitude.field import carry, turn
from nn_estimation.attitude.heading import matrix, twist, wrapped
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
from nn_estimation.filters import quaternion, so3_exp

# What a sample ended: nothing, a block, one with a field; or the filter began anew.
IDLE, BLOCK, LOOK, RESTART = range(4)
LARGEST = 1e4  # [m/s, m] of what must be near zero, from which on the inclination filter begins anew
LONGEST = 0.25  # [s] between two samples that are integrated; a longer gap is bridged
FIELD_AGE = 0.5  # [s] after which a field is of no use
OTHER_RATE = 1.33  # times the rate that VQF was made for, from which on it is made anew
_OVER = 1.0  # [s] over which rates are averaged
# Intervals of samples and of fields that VQF is made for, their means, the stamp of the last field.
MADE, MEAN, HEARD, CLOCKS = 0, 2, 4, 5
# In what `sample` writes: turn rate, quaternion, covariance, bias of the gyro.
RATE, TURNED, COVARIANCE, GYRO_BIAS, OUT = 0, 3, 7, 16, 19


@njit(cache=True)
def advance(state, gyro, accel, heard, dt, rest, constants, work):  # type: ignore[no-untyped-def]
    """One sample of the inclination filter, and the features at the end of a block.

    Args:
        state: of `estimator.State`; changed. Its field (3,) is turned along where there is none of this sample.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2].
        heard: whether the field is of this sample.
        dt: [s].
        rest: bool.
        constants: see `constants.packed`.
        work: of the inclination filter.

    Returns:
        IDLE, BLOCK, LOOK where the mean of the fields since the last one is due, or RESTART where the filter had
        diverged.
    """
    R, x, P, sums, memory, bank, found, clock, field, mean = state
    c = constants[0]
    clock[0] = 0.0 if heard else clock[0] + dt
    clock[1] += dt
    clock[2] += dt
    if dt > LONGEST:
        bridge(x, P, sums, memory, dt, c)
        mean[:] = 0.0
        return IDLE
    if not heard:
        _along(field, gyro, dt, work[0])
    block = sums[TIME] + dt
    if not step(R, x, P, sums, memory, gyro, accel, dt, rest, c, work):
        return IDLE
    _forget(memory, clock, block, c)
    size = 0.0
    for i in range(2):
        size = max(size, abs(x[VELOCITY + i]), abs(x[POSITION + i]))
    if not size < LARGEST:
        begin(R, x, P, sums, memory, accel, c)
        return RESTART
    strength = field[0] * field[0] + field[1] * field[1] + field[2] * field[2]
    if not (clock[0] < FIELD_AGE and strength > 0.0):
        return BLOCK
    w = work[2]
    turn_rate(x, gyro, w)
    world = np.empty(3)
    for i in range(3):
        world[i] = R[i, 0] * field[0] + R[i, 1] * field[1] + R[i, 2] * field[2]
    rate = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    pull = math.sqrt(accel[0] * accel[0] + accel[1] * accel[1] + accel[2] * accel[2])
    features.look(bank, rate, pull, world, rest, clock[2], found)
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
    so3_exp(gyro * dt, E)
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
def compose(peer, R, angle, share, trusted, w, c, out):  # type: ignore[no-untyped-def]
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
    """
    V, E, T, D = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    matrix(peer, V)
    from_peer = twist(V, R)
    off = share * wrapped(angle - from_peer)
    _turn(R, from_peer + off, E)
    _turn(V, off, T)
    # What is left between the two is about a horizontal axis.
    for i in range(3):
        for j in range(3):
            D[i, j] = T[i, 0] * E[j, 0] + T[i, 1] * E[j, 1] + T[i, 2] * E[j, 2]
    q = np.empty(4)
    quaternion(D, q)
    sine = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
    scale = 0.0 if sine < 1e-15 else 2.0 * math.atan2(sine, q[3]) / sine * (1.0 - trusted)
    so3_exp(q[:3] * scale, D)
    _product(D, E, T)
    so3_exp(w * c.latency, D)
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
def finite(vector):  # type: ignore[no-untyped-def]
    """Whether all of a vector (3,) are numbers."""
    return math.isfinite(vector[0] + vector[1] + vector[2])


@njit(cache=True)
def usable(vector):  # type: ignore[no-untyped-def]
    """Whether a vector (3,) has a direction."""
    return finite(vector) and (vector[0] != 0.0 or vector[1] != 0.0 or vector[2] != 0.0)


@njit(cache=True)
def arrive(arrays, head, stamp, gyro, dt, at, measured):  # type: ignore[no-untyped-def]
    """What VQF is given of a sample, and of the field that counts at it.

    Args:
        arrays: all changed. Ring and stamps of `field.turn`; clocks (5,) [s], see `MADE`, `MEAN`, `HEARD`; a field
            (3,), which becomes that of the sample where one counts; a turn rate (3,) that turns VQF, which has an
            interval of its own, as far as the sensor.
        head: index of the sample before.
        stamp: [s].
        gyro: (3,) [rad/s].
        dt: [s] since the sample before.
        at: [s] stamp of the field, NaN for none.
        measured: (3,) the field.

    Returns:
        Index of the sample, whether the field counts, whether VQF is to be made for other intervals.
    """
    ring, stamps, clocks, field, scaled = arrays
    if dt > 0.0:
        head = turn(ring, stamps, head, stamp, gyro, dt)
    heard = anew = False
    if not math.isnan(at):
        heard = carry(ring, stamps, head, at, gyro, measured, field)
    if heard:
        anew = changed(clocks[MEAN:HEARD], clocks[MADE:MEAN], at - clocks[HEARD], 1)
        clocks[HEARD] = at
    anew |= changed(clocks[MEAN:HEARD], clocks[MADE:MEAN], dt, 0)
    # Nothing is known of turns in a gap.
    scale = dt / clocks[MADE] if dt <= LONGEST else 0.0
    for i in range(3):
        scaled[i] = gyro[i] * scale
    return head, heard, anew


@njit(cache=True)
def sample(state, gyro, accel, heard, dt, rest, peer, heading, how, out):  # type: ignore[no-untyped-def]
    """`advance` by a sample, and its attitude.

    Args:
        state: see `advance`.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2].
        heard: see `advance`.
        dt: [s].
        rest: bool.
        peer: (4,) w, x, y, z of VQF.
        heading: angle [rad], share and variance [rad^2] of the learned one.
        how: whether the inclination filter counts; see `constants.packed`; work of the inclination filter.
        out: (19,) receives the parts of `estimator.Attitude`: see `RATE`, `TURNED`, `COVARIANCE`, `GYRO_BIAS`.

    Returns:
        What `advance` says, share of the inclination filter, variance [rad^2/s^2] of the gyro bias.
    """
    filtered, constants, work = how
    ended = advance(state, gyro, accel, heard, dt, rest, constants, work)
    R, x, P, memory = state[0], state[1], state[2], state[4]
    c = constants[0]
    angle, share, variance = heading
    turn_rate(x, gyro, out[RATE:TURNED])
    trusted = trust(P, memory, c) if filtered else 0.0
    compose(peer, R, angle, share, trusted, out[RATE:TURNED], c, out[TURNED:COVARIANCE])
    inclined, turned = bounds(memory, tilt_variance(P), trusted, share, variance, c)
    out[COVARIANCE:GYRO_BIAS] = 0.0
    out[COVARIANCE] = out[COVARIANCE + 4] = inclined
    out[COVARIANCE + 8] = turned
    for i in range(3):
        out[GYRO_BIAS + i] = x[BIAS + i]
    return ended, trusted, (P[BIAS, BIAS] + P[BIAS + 1, BIAS + 1] + P[BIAS + 2, BIAS + 2]) / 3.0


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


@njit(cache=True)
def changed(mean, made, dt, i):  # type: ignore[no-untyped-def]
    """Whether the interval between samples (i = 0) or fields (i = 1) is no longer what VQF was made for.

    Args:
        mean: (2,) [s] mean intervals; changed.
        made: (2,) [s] for which it was made; changed where it is.
        dt: [s] this interval.
        i: which.
    """
    if not dt <= LONGEST:  # nor where there is none before
        return False
    mean[i] += min(dt / _OVER, 0.5) * (dt - mean[i])
    if made[i] / OTHER_RATE < mean[i] < made[i] * OTHER_RATE:
        return False
    made[i] = mean[i]
    return True

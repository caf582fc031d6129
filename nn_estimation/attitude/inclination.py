"""The inclination filter: a self-calibrating error-state EKF on gravity, for bodies that stay near their place.

State: rotation R (sensor to a world whose z is up and whose heading is free), gyro bias b, gyro scale and cross-axis
matrix M, accelerometer bias, horizontal velocity and position. The turn rate is gyro - b - M gyro. The horizontal
velocity and position that the accelerometer gives must stay near zero: that is the only measurement, with standard
deviations that fit hands, bodies and hovering, not vehicles. How far it fails is in the innovations.

The rotation is integrated at every sample, the covariance in blocks of `period` (Trawny & Roumeliotis 2005 for the
error model, the pseudo-measurements as in Kok, Hol & Schön 2017, sec. 4.4).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.filters import so3_exp

SIZE = 22
REFERENCE = 0.035  # [s] between two pseudo-measurements that the constants' deviations are meant for
THETA, BIAS, MATRIX, ACCEL_BIAS, VELOCITY, POSITION = (
    0,
    3,
    6,
    15,
    18,
    20,
)  # where they begin in the error state
# Work of a block: sums of R dt (9), R gyro' dt (27), specific force dt (3), time, turned angle.
SUMS = 41
_FORCE, TIME, _TURNED = 36, 39, 40
# Memory: mean normalised innovation squared of the pseudo-measurements, by their number; the horizontal tilt [rad] of
# a filter that does not know the matrix, and its mean square; variances [rad^2] of inclination and heading that gaps
# and silent magnetometers leave for a while.
NIS, _TILT, UNCALIBRATED, ASTRAY, LOST, MEMORY = 0, 1, 3, 4, 5, 6
_ROWS = (0, 1, 2, 18, 19, 20, 21)  # of the error state that move within a block
ROWS = len(_ROWS)


@njit(cache=True)
def begin(R, x, P, sums, memory, accel, c):  # type: ignore[no-untyped-def]
    """First state from one specific force (3,): level, at rest, heading zero."""
    norm = math.sqrt(accel[0] ** 2 + accel[1] ** 2 + accel[2] ** 2)
    ux, uy, uz = accel[0] / norm, accel[1] / norm, accel[2] / norm
    across = math.hypot(ux, uy)
    axis = np.zeros(3)
    if across > 1e-12:
        angle = math.atan2(across, uz)
        axis[0], axis[1] = uy / across * angle, -ux / across * angle
    elif uz < 0.0:
        axis[0] = math.pi
    so3_exp(axis, R)
    x[:] = 0.0
    P[:] = 0.0
    sums[:] = 0.0
    memory[:] = 0.0
    for i in range(2):
        P[THETA + i, THETA + i] = c.tilt_0**2
        P[VELOCITY + i, VELOCITY + i] = c.velocity_0**2
        P[POSITION + i, POSITION + i] = c.position_0**2
    for i in range(3):
        P[BIAS + i, BIAS + i] = c.gyro_bias_0**2
        P[ACCEL_BIAS + i, ACCEL_BIAS + i] = c.accel_bias_0**2
    for i in range(9):
        P[MATRIX + i, MATRIX + i] = c.matrix_0**2


@njit(cache=True)
def step(R, x, P, sums, memory, gyro, accel, dt, rest, c, work):  # type: ignore[no-untyped-def]
    """One sample; at the end of a block the covariance and the pseudo-measurements.

    Args:
        R: (3, 3); changed.
        x: (22,) bias, matrix, accelerometer bias, velocity, position at their places; changed.
        P: (22, 22); changed.
        sums: (SUMS,) of the block; changed.
        memory: (MEMORY,) what is remembered of past blocks; changed. See `NIS`, `UNCALIBRATED`.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2].
        dt: [s] since the sample before.
        rest: whether the body is at rest.
        c: `Constants`.
        work: (3, 3), (3, 3), (3,), (ROWS, 22), (ROWS, 22) and (22,) to work in.

    Returns:
        Whether a block ended.
    """
    E, T, w, phi, rows, dx = work
    for i in range(3):
        w[i] = gyro[i] - x[BIAS + i]
        for j in range(3):
            w[i] -= x[MATRIX + 3 * i + j] * gyro[j]
        w[i] *= 0.5 * dt
    so3_exp(w, E)
    # The force counts in the middle of the turn: samples are means of their interval, and of those that are not the
    # rotation is half of an interval early.
    for i in range(3):
        for j in range(3):
            T[i, j] = R[i, 0] * E[0, j] + R[i, 1] * E[1, j] + R[i, 2] * E[2, j]
    a0, a1, a2 = accel[0] - x[ACCEL_BIAS], accel[1] - x[ACCEL_BIAS + 1], accel[2] - x[ACCEL_BIAS + 2]
    for i in range(3):
        force = T[i, 0] * a0 + T[i, 1] * a1 + T[i, 2] * a2
        sums[_FORCE + i] += force * dt
        if i < 2:
            x[POSITION + i] += x[VELOCITY + i] * dt + 0.5 * force * dt * dt
            x[VELOCITY + i] += force * dt
        for j in range(3):
            R[i, j] = T[i, 0] * E[0, j] + T[i, 1] * E[1, j] + T[i, 2] * E[2, j]
            moved = T[i, j] * dt
            sums[3 * i + j] += moved
            for k in range(3):
                sums[9 + 9 * i + 3 * j + k] += moved * gyro[k]
    sums[TIME] += dt
    sums[_TURNED] += 2.0 * math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    if sums[TIME] < c.period - 1e-9:
        return False
    _propagate(P, sums, c, phi, rows)
    _remember(x, sums, memory, c)
    _measure(R, x, P, sums[TIME], memory, gyro, rest, c, dx, E, T)
    sums[:] = 0.0
    return True


@njit(cache=True)
def _propagate(P, sums, c, phi, new):  # type: ignore[no-untyped-def]
    """P <- Phi P Phi' + Q over the block; Phi differs from the identity in seven rows."""
    time, n = sums[TIME], SIZE
    phi[:] = 0.0
    for i in range(3):
        phi[i, THETA + i] = 1.0
        for j in range(3):
            phi[i, BIAS + j] = -sums[3 * i + j]
        for j in range(9):
            phi[i, MATRIX + j] = -sums[9 + 9 * i + j]
    f0, f1, f2 = sums[_FORCE], sums[_FORCE + 1], sums[_FORCE + 2]
    for i in range(2):
        v, p = 3 + i, 5 + i
        phi[v, VELOCITY + i] = 1.0
        phi[p, POSITION + i], phi[p, VELOCITY + i] = 1.0, time
        # The change of the horizontal velocity is theta x force, with theta on its way through the block.
        for j in range(3):
            if i == 0:
                lever = f2 if j == 1 else (-f1 if j == 2 else 0.0)
            else:
                lever = -f2 if j == 0 else (f0 if j == 2 else 0.0)
            phi[v, THETA + j] = lever
            phi[p, THETA + j] = 0.5 * time * lever
            for k in range(3, 15):
                phi[v, k] += 0.5 * lever * phi[j, k]
                phi[p, k] += time / 6.0 * lever * phi[j, k]
            phi[v, ACCEL_BIAS + j] = -sums[3 * i + j]
            phi[p, ACCEL_BIAS + j] = -0.5 * time * sums[3 * i + j]
    for r in range(ROWS):
        for j in range(n):
            total = 0.0
            for k in range(n):
                if phi[r, k] != 0.0:
                    total += phi[r, k] * P[k, j]
            new[r, j] = total
    for r in range(ROWS):
        for j in range(n):
            P[_ROWS[r], j] = new[r, j]
    for r in range(ROWS):
        for q in range(r, ROWS):
            total = 0.0
            for k in range(n):
                total += new[r, k] * phi[q, k]
            P[_ROWS[r], _ROWS[q]] = total
            P[_ROWS[q], _ROWS[r]] = total
    for r in range(ROWS):
        for j in range(n):
            P[j, _ROWS[r]] = P[_ROWS[r], j]
    turned = c.gyro_turn * sums[_TURNED]
    for i in range(3):
        P[THETA + i, THETA + i] += c.gyro**2 * time + turned * turned
        P[BIAS + i, BIAS + i] += c.gyro_walk**2 * time
        P[ACCEL_BIAS + i, ACCEL_BIAS + i] += c.accel_walk**2 * time
    for i in range(9):
        P[MATRIX + i, MATRIX + i] += c.matrix_walk**2 * time
    for i in range(2):
        P[VELOCITY + i, VELOCITY + i] += c.accel**2 * time


@njit(cache=True)
def _remember(x, sums, memory, c):  # type: ignore[no-untyped-def]
    """The tilt that the matrix would make in a filter that corrects by gravity within `c.peer_memory`."""
    time = sums[TIME]
    forget = math.exp(-time / c.peer_memory)
    square = 0.0
    for i in range(2):
        turned = 0.0
        for j in range(9):
            turned += sums[9 + 9 * i + j] * x[MATRIX + j]
        memory[_TILT + i] = forget * memory[_TILT + i] + turned
        square += 0.5 * memory[_TILT + i] ** 2
    memory[UNCALIBRATED] += (1.0 - math.exp(-time / c.memory)) * (square - memory[UNCALIBRATED])


@njit(cache=True)
def _measure(R, x, P, time, memory, gyro, rest, c, dx, E, T):  # type: ignore[no-untyped-def]
    """The pseudo-measurements at the end of a block of `time`."""
    share = REFERENCE / time
    dx[:] = 0.0
    wide = 1.0 + c.adapt * memory[NIS]
    velocity = (c.rest_velocity if rest else c.velocity * wide) ** 2 * share
    position = (c.position * wide) ** 2 * share
    nis = 0.0
    for i in range(2):
        nis += _direct(P, VELOCITY + i, -(x[VELOCITY + i] + dx[VELOCITY + i]), velocity, dx)
        nis += _direct(P, POSITION + i, -(x[POSITION + i] + dx[POSITION + i]), position, dx)
    if rest:
        for i in range(3):
            innovation = gyro[i] - x[BIAS + i] - dx[BIAS + i]
            _direct(P, BIAS + i, innovation, c.rest_gyro**2 * share, dx)
    memory[NIS] += (1.0 - math.exp(-time / c.memory)) * (0.25 * nis - memory[NIS])
    so3_exp(dx[:3], E)
    for i in range(3):
        for j in range(3):
            T[i, j] = E[i, 0] * R[0, j] + E[i, 1] * R[1, j] + E[i, 2] * R[2, j]
    for i in range(3):
        for j in range(3):
            R[i, j] = T[i, j]
    for i in range(3, SIZE):
        x[i] += dx[i]


@njit(cache=True)
def _direct(P, i, innovation, variance, dx):  # type: ignore[no-untyped-def]
    """Measure state i itself; adds to the correction, returns the normalised innovation squared."""
    S = P[i, i] + variance
    gain = P[:, i] / S
    for a in range(SIZE):
        dx[a] += gain[a] * innovation
        for b in range(a, SIZE):
            value = P[a, b] - gain[a] * gain[b] * S
            P[a, b] = value
            P[b, a] = value
    return innovation * innovation / S


@njit(cache=True)
def bridge(x, P, sums, memory, dt, c):  # type: ignore[no-untyped-def]
    """A gap of `dt` without samples: the turn in it is unknown, the place is as at the start."""
    sums[:] = 0.0
    unknown = min((c.gap_rate * dt) ** 2, 1.0)
    memory[ASTRAY] = min(memory[ASTRAY] + unknown, 1.0)
    memory[LOST] = min(memory[LOST] + unknown, 1.0)
    for i in range(2):
        P[THETA + i, THETA + i] += unknown
        for a, variance in ((VELOCITY + i, c.velocity_0**2), (POSITION + i, c.position_0**2)):
            x[a] = 0.0
            P[a, :] = 0.0
            P[:, a] = 0.0
            P[a, a] = variance


@njit(cache=True)
def tilt_variance(P):  # type: ignore[no-untyped-def]
    """Mean of the two variances of the inclination [rad^2]."""
    return 0.5 * (P[THETA, THETA] + P[THETA + 1, THETA + 1])

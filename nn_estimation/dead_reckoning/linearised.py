"""Pose and velocity of a source of aiding against what the state predicts of them, compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning.filter import SIZE, cross_add, skew
from nn_estimation.filters import quaternion, rotate_right

POSITION, ROTATION, WORLD_VELOCITY, VELOCITY = range(
    4
)  # kinds of three values, the last along the IMU's axes


@njit(cache=True)
def predict(R, v, p, gyro_bias, gyro, arm, ahead, delay, turned, at, moves):  # type: ignore[no-untyped-def]
    """A source at its stamp, world axes: it turns with the IMU.

    Args:
        R, v, p, gyro_bias: of the state.
        gyro: (3,) [rad/s].
        arm: (3,) [m] from the IMU to the source, IMU frame.
        ahead: [s] of the stamp from the state's.
        delay: [s] of the gyro.
        turned: (3, 3) receives the rotation.
        at: (3,) receives the position [m].
        moves: (3,) receives the velocity [m/s].
    """
    omega = gyro - gyro_bias
    turned[:] = R
    rotate_right(turned, omega * (delay + ahead), np.empty((3, 3)), np.empty((3, 3)))
    round_about = np.zeros(3)
    cross_add(omega, arm, 1.0, round_about)
    for i in range(3):
        at[i] = p[i] + ahead * v[i]
        moves[i] = v[i]
        for j in range(3):
            at[i] += turned[i, j] * arm[j]
            moves[i] += turned[i, j] * round_about[j]


@njit(cache=True)
def compare(kind, turned, at, moves, value, covariance, H, innovation, unexplained):  # type: ignore[no-untyped-def]
    """Three values less what is predicted of them; errors of position and velocity turn with that of the rotation.

    Args:
        kind: of the values.
        turned, at, moves: see `predict`.
        value: (3,) measured; a rotation by how it is turned from the predicted one, see `between`.
        covariance: (3, 3) of its noise.
        H: (3, 21) receives the derivatives by the error state, decorrelated: noise of variance 1.
        innovation: (3,) receives the difference, decorrelated.
        unexplained: (3,) receives the difference, world axes.
    """
    H[:] = 0.0
    innovation[:] = value
    if kind == VELOCITY:
        for i in range(3):
            for j in range(3):
                H[i, 3 + j] = turned[j, i]
                innovation[i] -= turned[j, i] * moves[j]
        for i in range(3):
            unexplained[i] = 0.0
            for j in range(3):
                unexplained[i] += turned[i, j] * innovation[j]
    else:
        if kind == POSITION:
            innovation -= at
            skew(at, -1.0, H[:, :3])
        elif kind == WORLD_VELOCITY:
            innovation -= moves
            skew(moves, -1.0, H[:, :3])
        first = 6 if kind == POSITION else 3 if kind == WORLD_VELOCITY else 0
        for i in range(3):
            H[i, first + i] = 1.0
        unexplained[:] = innovation
    _decorrelate(covariance, H, innovation)


@njit(cache=True)
def _decorrelate(covariance, H, innovation):  # type: ignore[no-untyped-def]
    """Both times the inverse of the Cholesky root of a covariance (3, 3), in place."""
    root = np.zeros((3, 3))
    for i in range(3):
        for j in range(i):
            rest = covariance[i, j]
            for k in range(j):
                rest -= root[i, k] * root[j, k]
            root[i, j] = rest / root[j, j]
        rest = covariance[i, i]
        for k in range(i):
            rest -= root[i, k] * root[i, k]
        if not rest > 0.0:
            raise ValueError("the covariance of a measurement is not positive definite")
        root[i, i] = math.sqrt(rest)
        for j in range(i):
            innovation[i] -= root[i, j] * innovation[j]
            for n in range(SIZE):
                H[i, n] -= root[i, j] * H[j, n]
        innovation[i] /= root[i, i]
        for n in range(SIZE):
            H[i, n] /= root[i, i]


@njit(cache=True)
def between(measured, predicted, out):  # type: ignore[no-untyped-def]
    """Rotation vector about the world axes, into out (3,), that turns one rotation (3, 3) into the measured one."""
    turn = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            turn[i, j] = 0.0
            for k in range(3):
                turn[i, j] += measured[i, k] * predicted[j, k]
    q = np.empty(4)
    quaternion(turn, q)
    size = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
    scale = 2.0 if size < 1e-9 else 2.0 * math.atan2(size, q[3]) / size
    for i in range(3):
        out[i] = scale * q[i]

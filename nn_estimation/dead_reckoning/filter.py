"""The right-invariant extended Kalman filter of a wheeled vehicle, compiled.

State: R (3, 3) IMU to world, v (3,) [m/s], p (3,) [m], gyro bias (3,) [rad/s], accelerometer bias (3,) [m/s^2],
C (3, 3) vehicle to IMU, lever (3,) [m] from the IMU to the point that does not slip. World: east, north, up.

Error state (21,), in this order, with the estimate written with a hat: R = exp(xi_R) R^, v = exp(xi_R) v^ + J xi_v,
p = exp(xi_R) p^ + J xi_p (left Jacobian J), biases and lever additive, C = exp(xi_C) C^. Barrau and Bonnabel 2017;
Brossard et al. 2020, eq. 7 to 19.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.filters import orthonormalise, so3_exp

SIZE = 21
ROTATION, VELOCITY, POSITION = slice(0, 3), slice(3, 6), slice(6, 9)
GYRO_BIAS, ACCEL_BIAS, MOUNT, LEVER = slice(9, 12), slice(12, 15), slice(15, 18), slice(18, 21)
GRAVITY = 9.80655  # [m/s^2] as in the reference implementation


@njit(cache=True)
def cross_add(a, b, scale, out):  # type: ignore[no-untyped-def]
    """out += scale a x b."""
    out[0] += scale * (a[1] * b[2] - a[2] * b[1])
    out[1] += scale * (a[2] * b[0] - a[0] * b[2])
    out[2] += scale * (a[0] * b[1] - a[1] * b[0])


@njit(cache=True)
def skew(a, scale, out):  # type: ignore[no-untyped-def]
    """out <- scale [a]x."""
    out[0, 0] = out[1, 1] = out[2, 2] = 0.0
    out[0, 1], out[0, 2], out[1, 2] = -scale * a[2], scale * a[1], -scale * a[0]
    out[1, 0], out[2, 0], out[2, 1] = scale * a[2], -scale * a[1], scale * a[0]


@njit(cache=True)
def propagate(R, v, p, gyro_bias, accel_bias, P, gyro, accel, dt, earth, c):  # type: ignore[no-untyped-def]
    """One strapdown step over dt, state and covariance in place.

    Args:
        R, v, p, gyro_bias, accel_bias: the state.
        P: (21, 21).
        gyro: (3,) [rad/s], IMU frame.
        accel: (3,) [m/s^2], +g up at rest.
        dt: [s], > 0.
        earth: (3,) [rad/s] rate of the Earth in the world frame; zeros leave it out.
        c: Constants.
    """
    _grow(P, v, p, dt, c)
    turn = np.empty(3)
    world = np.zeros(3)
    for i in range(3):
        turn[i] = (gyro[i] - gyro_bias[i]) * dt
        for j in range(3):
            world[i] += R[i, j] * (accel[j] - accel_bias[j])
    world[2] -= GRAVITY
    cross_add(earth, v, -2.0, world)
    for i in range(3):
        p[i] += v[i] * dt + 0.5 * world[i] * dt * dt
        v[i] += world[i] * dt
    E = np.empty((3, 3))
    T = np.empty((3, 3))
    so3_exp(turn, E)
    for i in range(3):
        for j in range(3):
            T[i, j] = R[i, 0] * E[0, j] + R[i, 1] * E[1, j] + R[i, 2] * E[2, j]
    _carry(P, R, T, v, p, dt)
    for j in range(3):
        # The world frame turns with the Earth: exp(-earth dt) to first order.
        x, y, z = T[0, j], T[1, j], T[2, j]
        R[0, j] = x - dt * (earth[1] * z - earth[2] * y)
        R[1, j] = y - dt * (earth[2] * x - earth[0] * z)
        R[2, j] = z - dt * (earth[0] * y - earth[1] * x)
    orthonormalise(R, T)


@njit(cache=True)
def _grow(P, v, p, dt, c):  # type: ignore[no-untyped-def]
    """P += G Q G' dt; the gyro's noise turns velocity and position too."""
    q = c.gyro * dt
    for i in range(3):
        P[i, i] += q
        P[3 + i, 3 + i] += c.accel * dt
        P[9 + i, 9 + i] += c.gyro_walk * dt
        P[12 + i, 12 + i] += c.accel_walk * dt
        P[15 + i, 15 + i] += c.mount_walk * dt
        P[18 + i, 18 + i] += c.lever_walk * dt
    a = np.empty((3, 3))
    b = np.empty((3, 3))
    skew(v, 1.0, a)
    skew(p, 1.0, b)
    for i in range(3):
        for j in range(3):
            vv = a[i, 0] * a[j, 0] + a[i, 1] * a[j, 1] + a[i, 2] * a[j, 2]
            pv = b[i, 0] * a[j, 0] + b[i, 1] * a[j, 1] + b[i, 2] * a[j, 2]
            pp = b[i, 0] * b[j, 0] + b[i, 1] * b[j, 1] + b[i, 2] * b[j, 2]
            P[3 + i, j] += q * a[i, j]
            P[j, 3 + i] += q * a[i, j]
            P[6 + i, j] += q * b[i, j]
            P[j, 6 + i] += q * b[i, j]
            P[3 + i, 3 + j] += q * vv
            P[6 + i, 3 + j] += q * pv
            P[3 + j, 6 + i] += q * pv
            P[6 + i, 6 + j] += q * pp


@njit(cache=True)
def _carry(P, before, after, v, p, dt):  # type: ignore[no-untyped-def]
    """P <- Phi P Phi', Phi the transition of the error over dt; only its blocks that are not zero.

    Rotations before and after the step, velocity and position after it: the gyro's bias turns the error frame of
    all three.
    """
    R = 0.5 * (before + after)
    Rb = np.empty((3, 3))
    vb = np.empty((3, 3))
    pb = np.empty((3, 3))
    mv = np.empty((3, 3))
    mp = np.empty((3, 3))
    skew(v, dt, mv)
    skew(p, dt, mp)
    for i in range(3):
        for j in range(3):
            Rb[i, j] = -dt * R[i, j]
            vb[i, j] = -(mv[i, 0] * R[0, j] + mv[i, 1] * R[1, j] + mv[i, 2] * R[2, j])
            pb[i, j] = -(mp[i, 0] * R[0, j] + mp[i, 1] * R[1, j] + mp[i, 2] * R[2, j])
    T = np.empty((9, SIZE))
    for j in range(SIZE):
        _column(P[:, j], before, Rb, vb, pb, dt, T[:, j])
    row = np.empty(9)
    for i in range(9):
        _column(T[i], before, Rb, vb, pb, dt, row)
        for j in range(9):
            P[i, j] = row[j]
    for i in range(9):
        for j in range(i):
            P[i, j] = P[j, i] = 0.5 * (P[i, j] + P[j, i])
        for j in range(9, SIZE):
            P[i, j] = P[j, i] = T[i, j]


@njit(cache=True)
def _column(x, R, Rb, vb, pb, dt, out):  # type: ignore[no-untyped-def]
    """First nine rows of Phi x, x (21,)."""
    k = GRAVITY * dt
    half = 0.5 * dt
    for i in range(3):
        out[i] = x[i] + Rb[i, 0] * x[9] + Rb[i, 1] * x[10] + Rb[i, 2] * x[11]
        bias = -dt * (R[i, 0] * x[12] + R[i, 1] * x[13] + R[i, 2] * x[14])
        out[3 + i] = x[3 + i] + bias + vb[i, 0] * x[9] + vb[i, 1] * x[10] + vb[i, 2] * x[11]
        moved = x[6 + i] + dt * x[3 + i] + half * bias
        out[6 + i] = moved + pb[i, 0] * x[9] + pb[i, 1] * x[10] + pb[i, 2] * x[11]
    # [g]x of the tilt: g x e = GRAVITY (e_y, -e_x, 0)
    out[3] += k * x[1]
    out[4] -= k * x[0]
    out[6] += half * k * x[1]
    out[7] -= half * k * x[0]


@njit(cache=True)
def gather(P, H, innovation, variance, dx):  # type: ignore[no-untyped-def]
    """One scalar measurement into the error dx (21,) gathered so far; P in place, by Joseph's form.

    Several in turn, then `retract`, equal one joint update.

    Returns:
        Innovation variance, dx taken into account.
    """
    PH = np.zeros(SIZE)
    S = variance
    for j in range(SIZE):
        if H[j] != 0.0:
            innovation -= H[j] * dx[j]
            for i in range(SIZE):
                PH[i] += P[i, j] * H[j]
    for i in range(SIZE):
        S += H[i] * PH[i]
    for i in range(SIZE):
        gain = PH[i] / S
        dx[i] += gain * innovation
        for j in range(i, SIZE):
            value = P[i, j] - gain * PH[j]
            P[i, j] = value
            P[j, i] = value
        if P[i, i] < 0.0:
            P[i, i] = 0.0
    return S


@njit(cache=True)
def retract(R, v, p, gyro_bias, accel_bias, C, lever, dx):  # type: ignore[no-untyped-def]
    """The state moved by the error dx (21,), in place."""
    E = np.empty((3, 3))
    T = np.empty((3, 3))
    so3_exp(dx[:3], E)
    _move(E, dx[:3], v, dx[3:6])
    _move(E, dx[:3], p, dx[6:9])
    _rotate_left(E, R, T)
    so3_exp(dx[15:18], E)
    _rotate_left(E, C, T)
    for i in range(3):
        gyro_bias[i] += dx[9 + i]
        accel_bias[i] += dx[12 + i]
        lever[i] += dx[18 + i]
    orthonormalise(C, T)


@njit(cache=True)
def _rotate_left(E, R, T):  # type: ignore[no-untyped-def]
    for i in range(3):
        for j in range(3):
            T[i, j] = E[i, 0] * R[0, j] + E[i, 1] * R[1, j] + E[i, 2] * R[2, j]
    for i in range(3):
        for j in range(3):
            R[i, j] = T[i, j]


@njit(cache=True)
def _move(E, w, x, dx):  # type: ignore[no-untyped-def]
    """x <- E x + J(w) dx, J the left Jacobian of SO(3); Taylor series near zero."""
    angle2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2]
    if angle2 < 1e-8:
        a = 0.5 - angle2 / 24.0
        b = 1.0 / 6.0 - angle2 / 120.0
    else:
        angle = math.sqrt(angle2)
        a = (1.0 - math.cos(angle)) / angle2
        b = (angle - math.sin(angle)) / (angle2 * angle)
    first = np.zeros(3)
    second = np.zeros(3)
    cross_add(w, dx, 1.0, first)
    cross_add(w, first, 1.0, second)
    x0, x1, x2 = x[0], x[1], x[2]
    for i in range(3):
        x[i] = E[i, 0] * x0 + E[i, 1] * x1 + E[i, 2] * x2 + dx[i] + a * first[i] + b * second[i]

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
PERIOD = 0.01  # [s] between two pseudo-measurements that the constants' variances are meant for
LONGEST = 0.1  # [s] one counts for at most, however long ago the last one was


@njit(cache=True)
def _cross_add(a, b, scale, out):  # type: ignore[no-untyped-def]
    """out += scale a x b."""
    out[0] += scale * (a[1] * b[2] - a[2] * b[1])
    out[1] += scale * (a[2] * b[0] - a[0] * b[2])
    out[2] += scale * (a[0] * b[1] - a[1] * b[0])


@njit(cache=True)
def _skew(a, scale, out):  # type: ignore[no-untyped-def]
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
    _cross_add(earth, v, -2.0, world)
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
    _skew(v, 1.0, a)
    _skew(p, 1.0, b)
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
    _skew(v, dt, mv)
    _skew(p, dt, mp)
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
def vehicle_velocity(R, v, gyro_bias, C, lever, gyro, rows, out):  # type: ignore[no-untyped-def]
    """Velocity and yaw rate in the vehicle frame, and their derivatives by the error state.

    Args:
        R, v, gyro_bias, C, lever: the state.
        gyro: (3,) [rad/s].
        rows: (4, 21) receives the Jacobian.
        out: (4,) receives velocity of the point that does not slip [m/s] and yaw rate [rad/s].
    """
    omega = np.empty(3)
    x = np.empty(3)
    for i in range(3):
        omega[i] = gyro[i] - gyro_bias[i]
        x[i] = R[0, i] * v[0] + R[1, i] * v[1] + R[2, i] * v[2]
    _cross_add(omega, lever, 1.0, x)
    by_bias = np.empty((3, 3))
    by_mount = np.empty((3, 3))
    by_lever = np.empty((3, 3))
    _skew(lever, 1.0, by_bias)
    _skew(x, 1.0, by_mount)
    _skew(omega, 1.0, by_lever)
    rows[:] = 0.0
    for i in range(3):
        out[i] = C[0, i] * x[0] + C[1, i] * x[1] + C[2, i] * x[2]
        for j in range(3):
            for k in range(3):
                rows[i, 3 + j] += C[k, i] * R[j, k]
                rows[i, 9 + j] += C[k, i] * by_bias[k, j]
                rows[i, 15 + j] += C[k, i] * by_mount[k, j]
                rows[i, 18 + j] += C[k, i] * by_lever[k, j]
    out[3] = C[0, 2] * omega[0] + C[1, 2] * omega[1] + C[2, 2] * omega[2]
    for j in range(3):
        rows[3, 9 + j] = -C[j, 2]
        for k in range(3):
            rows[3, 15 + j] += C[k, 2] * by_lever[k, j]


@njit(cache=True)
def slip_residual(R, v, gyro_bias, C, lever, gyro, forward_accel, c, H, r):  # type: ignore[no-untyped-def]
    """Lateral and vertical velocity beyond what tyres and springs explain, negated, and its Jacobian.

    Args:
        R, v, gyro_bias, C, lever: the state.
        gyro: (3,) [rad/s].
        forward_accel: [m/s^2] smoothed, vehicle frame.
        c: Constants.
        H: (2, 21) receives the derivatives of the predicted values.
        r: (2,) receives the innovation, 0 - predicted [m/s].
    """
    rows = np.empty((4, SIZE))
    out = np.empty(4)
    vehicle_velocity(R, v, gyro_bias, C, lever, gyro, rows, out)
    speed, rate = out[0], out[3]
    lateral = c.slip + c.slip_speed * abs(speed)  # [m/rad]
    vertical = c.squat * forward_accel + c.lift * rate * rate
    r[0] = lateral * rate * speed - out[1]
    r[1] = vertical * speed - out[2]
    by_speed = (c.slip + 2.0 * c.slip_speed * abs(speed)) * rate
    for j in range(SIZE):
        H[0, j] = rows[1, j] - by_speed * rows[0, j] - lateral * speed * rows[3, j]
        H[1, j] = rows[2, j] - vertical * rows[0, j] - 2.0 * c.lift * rate * speed * rows[3, j]


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
    _cross_add(w, dx, 1.0, first)
    _cross_add(w, first, 1.0, second)
    x0, x1, x2 = x[0], x[1], x[2]
    for i in range(3):
        x[i] = E[i, 0] * x0 + E[i, 1] * x1 + E[i, 2] * x2 + dx[i] + a * first[i] + b * second[i]


@njit(cache=True)
def constrain(  # type: ignore[no-untyped-def]
    R, v, p, gyro_bias, accel_bias, C, lever, P, gyro, forward_accel, dt, mean, variance, c
):
    """The pseudo-measurement of a vehicle that slips neither sideways nor upwards.

    Args:
        R, v, p, gyro_bias, accel_bias, C, lever, P: state and covariance; changed.
        gyro: (3,) [rad/s].
        forward_accel: [m/s^2] smoothed.
        dt: [s] since the last one; twice as many count half as much each.
        mean: (2,) [m/s] expected lateral and vertical velocity beyond the constants' slip.
        variance: (2,) [m^2/s^2] at one every `PERIOD`.
        c: Constants.

    Returns:
        Normalised innovation squared, summed over the two; chi-square with 2 degrees of freedom.
    """
    H = np.empty((2, SIZE))
    r = np.empty(2)
    slip_residual(R, v, gyro_bias, C, lever, gyro, forward_accel, c, H, r)
    dx = np.zeros(SIZE)
    nis = 0.0
    for n in range(2):
        innovation = r[n] + mean[n]
        left = innovation
        for j in range(SIZE):
            left -= H[n, j] * dx[j]
        S = gather(P, H[n], innovation, variance[n] * PERIOD / min(dt, LONGEST), dx)
        nis += left * left / S
    retract(R, v, p, gyro_bias, accel_bias, C, lever, dx)
    return nis


@njit(cache=True)
def hold_still(  # type: ignore[no-untyped-def]
    R, v, p, gyro_bias, accel_bias, C, lever, P, gyro, dt, earth, c
):
    """Zero velocity and zero rotation of a vehicle that stands; arguments as in `propagate` and `constrain`."""
    scale = PERIOD / min(dt, LONGEST)
    dx = np.zeros(SIZE)
    H = np.zeros(SIZE)
    for i in range(3):
        H[3 + i] = 1.0
        gather(P, H, -v[i], c.still_velocity * scale, dx)
        H[3 + i] = 0.0
    for i in range(3):
        turn = R[0, i] * earth[0] + R[1, i] * earth[1] + R[2, i] * earth[2]
        H[9 + i] = 1.0
        gather(P, H, gyro[i] - turn - gyro_bias[i], c.still_gyro * scale, dx)
        H[9 + i] = 0.0
    retract(R, v, p, gyro_bias, accel_bias, C, lever, dx)


# What the filter remembers of the signals: forward acceleration, means and spread of gyro and accelerometer,
# how long they have been quiet.
FORWARD_ACCEL, GYRO_MEAN, ACCEL_MEAN, GYRO_SPREAD, ACCEL_SPREAD, QUIET, MEMORY = 0, 1, 4, 7, 8, 9, 10
SMOOTHING = 0.25  # [s] time constant of the forward acceleration
WATCH = 0.2  # [s] of the means that standstill is told by


@njit(cache=True)
def remember(memory, gyro, accel, accel_bias, C, dt, c):  # type: ignore[no-untyped-def]
    """Update the memory (10,) with a sample; True while the vehicle stands."""
    forward = 0.0
    for i in range(3):
        forward += C[i, 0] * (accel[i] - accel_bias[i])
    memory[FORWARD_ACCEL] += min(dt / SMOOTHING, 1.0) * (forward - memory[FORWARD_ACCEL])
    share = min(dt / WATCH, 1.0)
    turning = shaking = 0.0
    for i in range(3):
        memory[GYRO_MEAN + i] += share * (gyro[i] - memory[GYRO_MEAN + i])
        memory[ACCEL_MEAN + i] += share * (accel[i] - memory[ACCEL_MEAN + i])
        turning += (gyro[i] - memory[GYRO_MEAN + i]) ** 2
        shaking += (accel[i] - memory[ACCEL_MEAN + i]) ** 2
    memory[GYRO_SPREAD] += share * (turning - memory[GYRO_SPREAD])
    memory[ACCEL_SPREAD] += share * (shaking - memory[ACCEL_SPREAD])
    quiet = memory[GYRO_SPREAD] < c.quiet_gyro and memory[ACCEL_SPREAD] < c.quiet_accel
    memory[QUIET] = memory[QUIET] + dt if quiet else 0.0
    return memory[QUIET] > c.quiet_for


@njit(cache=True)
def step(  # type: ignore[no-untyped-def]
    R, v, p, gyro_bias, accel_bias, C, lever, P, memory, gyro, accel, dt, earth, mean, variance, c
):
    """One sample: propagate, then say what a vehicle that drives or stands cannot do.

    Returns:
        Normalised innovation squared of the pseudo-measurement (2 degrees of freedom); -1 at a standstill, -2
        across a gap, which is bridged at constant velocity with a covariance that says so.
    """
    if dt > c.longest_step:
        _coast(R, v, p, gyro_bias, accel_bias, P, dt, c)
        memory[:] = 0.0
        memory[GYRO_MEAN : GYRO_MEAN + 3] = gyro
        memory[ACCEL_MEAN : ACCEL_MEAN + 3] = accel
        return -2.0
    propagate(R, v, p, gyro_bias, accel_bias, P, gyro, accel, dt, earth, c)
    still = remember(memory, gyro, accel, accel_bias, C, dt, c)
    if still and v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < c.quiet_speed * c.quiet_speed:
        hold_still(R, v, p, gyro_bias, accel_bias, C, lever, P, gyro, dt, earth, c)
        return -1.0
    return constrain(
        R, v, p, gyro_bias, accel_bias, C, lever, P, gyro, memory[FORWARD_ACCEL], dt, mean, variance, c
    )


@njit(cache=True)
def _coast(R, v, p, gyro_bias, accel_bias, P, dt, c):  # type: ignore[no-untyped-def]
    """Constant velocity over a gap dt [s], driven by unknown turns and accelerations."""
    noise = np.zeros(SIZE)
    noise[:3] = c.gap_turn * c.gap_turn * dt * dt
    noise[3:6] = c.gap_accel * c.gap_accel * dt * dt
    noise[6:9] = 0.25 * c.gap_accel * c.gap_accel * dt**4
    for i in range(SIZE):
        P[i, i] += noise[i]
    steady = np.empty(3)
    for i in range(3):
        steady[i] = GRAVITY * R[2, i] + accel_bias[i]
    propagate(R, v, p, gyro_bias, accel_bias, P, gyro_bias, steady, dt, np.zeros(3), c)


@njit(cache=True, nogil=True)
def run(  # type: ignore[no-untyped-def]
    stamp, gyro, accel, R, v, p, gyro_bias, accel_bias, C, lever, P, memory, earth, mean, variance, c,
    Rs, vs, ps, biases, Ps, nis,
):  # fmt: skip
    """`step` over N samples from a state at stamp[0]; the same numbers as one by one.

    Args:
        stamp: (N,) [s]; samples that do not come later than the one before are left out.
        gyro, accel: (N, 3).
        R ... memory: the state, changed.
        earth: (3,) [rad/s].
        mean, variance: (N, 2) of the pseudo-measurement.
        c: Constants.
        Rs, vs, ps, biases: (N, 3, 3), (N, 3), (N, 3), (N, 3) of the gyro; receive the states.
        Ps: (N, 21, 21), or (0, 21, 21) to keep none.
        nis: (N,) receives what `step` returns.
    """
    last = stamp[0]
    for i in range(stamp.shape[0]):
        dt = stamp[i] - last
        nis[i] = np.nan
        if dt > 0.0:
            last = stamp[i]
            nis[i] = step(
                R, v, p, gyro_bias, accel_bias, C, lever, P, memory, gyro[i], accel[i], dt, earth, mean[i],
                variance[i], c,
            )  # fmt: skip
        Rs[i], vs[i], ps[i], biases[i] = R, v, p, gyro_bias
        if Ps.shape[0]:
            Ps[i] = P

"""What a wheeled vehicle cannot do, told to the filter: slip, rise, or move while it stands."""

from __future__ import annotations

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning.filter import GRAVITY, SIZE, cross_add, gather, propagate, retract, skew

PERIOD = 0.01  # [s] between two pseudo-measurements that the constants' variances are meant for
LONGEST = 0.1  # [s] one counts for at most, however long ago the last one was


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
    cross_add(omega, lever, 1.0, x)
    by_bias = np.empty((3, 3))
    by_mount = np.empty((3, 3))
    by_lever = np.empty((3, 3))
    skew(lever, 1.0, by_bias)
    skew(x, 1.0, by_mount)
    skew(omega, 1.0, by_lever)
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
def spreads(stamp, gyro, accel, c):  # type: ignore[no-untyped-def]
    """Spread of gyro [rad^2/s^2] and accelerometer [m^2/s^4] that `remember` sees at each of N samples: (N, 2)."""
    out = np.zeros((stamp.shape[0], 2))
    memory, level, none = np.zeros(MEMORY), np.eye(3), np.zeros(3)
    memory[GYRO_MEAN : GYRO_MEAN + 3] = gyro[0]
    memory[ACCEL_MEAN : ACCEL_MEAN + 3] = accel[0]
    for i in range(1, stamp.shape[0]):
        remember(memory, gyro[i], accel[i], none, level, stamp[i] - stamp[i - 1], c)
        out[i, 0], out[i, 1] = memory[GYRO_SPREAD], memory[ACCEL_SPREAD]
    return out


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
    turn, change = (c.gap_turn * dt) ** 2, (c.gap_accel * dt) ** 2
    # A turn in the middle of the gap, there where the vehicle is then: the invariant error of the position is
    # p x that of the rotation, else the world would have turned about its origin. The velocity turns with the body.
    lift = np.empty((3, 3))
    skew(p + 0.5 * dt * v, 1.0, lift)
    for i in range(3):
        P[i, i] += turn
        P[3 + i, 3 + i] += change
        P[6 + i, 6 + i] += 0.25 * change * dt * dt
        for j in range(3):
            P[6 + i, j] += turn * lift[i, j]
            P[j, 6 + i] += turn * lift[i, j]
            for k in range(3):
                P[6 + i, 6 + j] += turn * lift[i, k] * lift[j, k]
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

"""The compiled steps of the localization filter: predict over time, update by the links of an epoch.

The error state has 15 entries: position, velocity (map frame), rotation (body frame, R exp(.)), angular rate or
gyro bias, accelerometer bias. States that a robot does not have (height of a planar one, tilt without an IMU) are
masked: their variance is and stays zero.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.filters import innovation_variance, orthonormalise, rotate_right, scalar_update
from nn_estimation.uwb.gate import ACCEPTED, INVALID, REJECTED_CHI2, REJECTED_KINEMATIC, kinematic_bound
from nn_estimation.uwb.geometry import fill_geometry

SIZE = 15
POSITION, VELOCITY, ROTATION, RATE, ACCEL_BIAS = (slice(i, i + 3) for i in range(0, SIZE, 3))
GRAVITY = 9.80665  # [m/s^2]


@njit(cache=True)
def _propagate(P, F, mask, Q):  # type: ignore[no-untyped-def]
    """P <- F P F' + diag-block Q on the states the robot has."""
    P[:] = F @ P @ F.T
    for i in range(SIZE):
        for j in range(SIZE):
            P[i, j] = 0.5 * (P[i, j] + P[j, i])
    for i in range(SIZE):
        for j in range(SIZE):
            if mask[i] and mask[j]:
                P[i, j] += Q[i, j]
            else:
                P[i, j] = 0.0


@njit(cache=True)
def _white_noise_integrals(Q, first, second, density, dt):  # type: ignore[no-untyped-def]
    """Noise of a state (first) driven by white noise [density per sqrt(Hz)] on its derivative (second)."""
    q = density * density
    for i in range(3):
        Q[first + i, first + i] += q * dt**3 / 3.0
        Q[first + i, second + i] += q * dt**2 / 2.0
        Q[second + i, first + i] += q * dt**2 / 2.0
        Q[second + i, second + i] += q * dt


@njit(cache=True)
def predict_free(p, v, R, rate, P, mask, dt, acceleration, angular_acceleration):  # type: ignore[no-untyped-def]
    """Constant velocity and turn rate over dt [s], driven by white accelerations [m/s^2, rad/s^2 per sqrt(Hz)]."""
    F = np.eye(SIZE)
    Q = np.zeros((SIZE, SIZE))
    turn = np.empty(3)
    for i in range(3):
        F[i, 3 + i] = dt
        F[6 + i, 9 + i] = dt
        if mask[i]:
            p[i] += v[i] * dt
        turn[i] = rate[i] * dt
    rotate_right(R, turn, np.empty((3, 3)), np.empty((3, 3)))
    _white_noise_integrals(Q, 0, 3, acceleration, dt)
    _white_noise_integrals(Q, 6, 9, angular_acceleration, dt)
    _propagate(P, F, mask, Q)


@njit(cache=True)
def predict_imu(  # type: ignore[no-untyped-def]
    p, v, R, gyro_bias, accel_bias, P, mask, gyro, accel, dt, gyro_noise, accel_noise, gyro_walk, accel_walk
):
    """Strapdown step over dt [s] by one IMU sample; gyro [rad/s], accel [m/s^2, +g up at rest] in base_link."""
    F = np.eye(SIZE)
    Q = np.zeros((SIZE, SIZE))
    turn = np.empty(3)
    a = np.empty(3)
    for i in range(3):
        turn[i] = (gyro[i] - gyro_bias[i]) * dt
        a[i] = accel[i] - accel_bias[i]
    for i in range(3):
        world = R[i, 0] * a[0] + R[i, 1] * a[1] + R[i, 2] * a[2]
        if i == 2:
            world -= GRAVITY
        if mask[3 + i]:
            p[i] += v[i] * dt + 0.5 * world * dt * dt
            v[i] += world * dt
        F[i, 3 + i] = dt
        # d(R a) = -R [a]x dtheta
        F[3 + i, 6] = -(R[i, 1] * a[2] - R[i, 2] * a[1]) * dt
        F[3 + i, 7] = -(R[i, 2] * a[0] - R[i, 0] * a[2]) * dt
        F[3 + i, 8] = -(R[i, 0] * a[1] - R[i, 1] * a[0]) * dt
        for j in range(3):
            F[3 + i, 12 + j] = -R[i, j] * dt
        F[6 + i, 9 + i] = -dt
        Q[6 + i, 6 + i] = gyro_noise**2 * dt
        Q[9 + i, 9 + i] = gyro_walk**2 * dt
        Q[12 + i, 12 + i] = accel_walk**2 * dt
    _white_noise_integrals(Q, 0, 3, accel_noise, dt)
    # exp(-turn) to first order: the turn of one IMU sample is small
    F[6, 7], F[6, 8] = turn[2], -turn[1]
    F[7, 6], F[7, 8] = -turn[2], turn[0]
    F[8, 6], F[8, 7] = turn[1], -turn[0]
    for i in range(3):
        if not mask[6 + i]:
            turn[i] = 0.0
    rotate_right(R, turn, np.empty((3, 3)), np.empty((3, 3)))
    _propagate(P, F, mask, Q)


@njit(cache=True)
def _accumulate(p, R, anchor, lever, R_body_tag, weights, H):  # type: ignore[no-untyped-def]
    """Add weights . d(distance, azimuth, elevation)/d(error state) of one end of a link to H (15,)."""
    world = np.empty(3)
    body = np.empty(3)
    for i in range(3):
        world[i] = anchor[i] - p[i] - (R[i, 0] * lever[0] + R[i, 1] * lever[1] + R[i, 2] * lever[2])
    for i in range(3):
        body[i] = R[0, i] * world[0] + R[1, i] * world[1] + R[2, i] * world[2]
    ex = R_body_tag[0, 0] * body[0] + R_body_tag[1, 0] * body[1] + R_body_tag[2, 0] * body[2]
    ey = R_body_tag[0, 1] * body[0] + R_body_tag[1, 1] * body[1] + R_body_tag[2, 1] * body[2]
    ez = R_body_tag[0, 2] * body[0] + R_body_tag[1, 2] * body[1] + R_body_tag[2, 2] * body[2]
    rho2 = max(ex * ex + ey * ey, 1e-6)
    rho = math.sqrt(rho2)
    d2 = rho2 + ez * ez
    d = math.sqrt(d2)
    # gradient in the tag frame, of the vector from tag to anchor
    gx = weights[0] * ex / d - weights[1] * ey / rho2 - weights[2] * ez * ex / (rho * d2)
    gy = weights[0] * ey / d + weights[1] * ex / rho2 - weights[2] * ez * ey / (rho * d2)
    gz = weights[0] * ez / d + weights[2] * rho / d2
    bx = R_body_tag[0, 0] * gx + R_body_tag[0, 1] * gy + R_body_tag[0, 2] * gz
    by = R_body_tag[1, 0] * gx + R_body_tag[1, 1] * gy + R_body_tag[1, 2] * gz
    bz = R_body_tag[2, 0] * gx + R_body_tag[2, 1] * gy + R_body_tag[2, 2] * gz
    for i in range(3):
        H[i] -= R[i, 0] * bx + R[i, 1] * by + R[i, 2] * bz
    # the vector turns by (body + lever) x ... : d e = [body + lever]x dtheta in the body frame
    mx, my, mz = body[0] + lever[0], body[1] + lever[1], body[2] + lever[2]
    H[6] += by * mz - bz * my
    H[7] += bz * mx - bx * mz
    H[8] += bx * my - by * mx


@njit(cache=True)
def link_jacobian(  # type: ignore[no-untyped-def]
    p, R, mask, anchors, levers, R_body_tag, tag, anchor_a, anchor_b, gradient, H
):
    """d(predicted range, bias included)/d(error state) into H (15,).

    The bias's own derivatives, gradient = d bias / d(distance, azimuth_tag, elevation_tag) of anchor a, are
    part of it: where the antenna pattern is steep the range says something about the heading.
    """
    weights = np.zeros(3)
    H[:] = 0.0
    weights[1], weights[2] = gradient[1], gradient[2]
    if anchor_b >= 0:
        weights[0] = gradient[0] - 1.0
        _accumulate(p, R, anchors[anchor_a], levers[tag], R_body_tag[tag], weights, H)
        weights[0], weights[1], weights[2] = 1.0, 0.0, 0.0
        _accumulate(p, R, anchors[anchor_b], levers[tag], R_body_tag[tag], weights, H)
    else:
        weights[0] = 1.0 + gradient[0]
        _accumulate(p, R, anchors[anchor_a], levers[tag], R_body_tag[tag], weights, H)
    for i in range(SIZE):
        if not mask[i]:
            H[i] = 0.0


@njit(cache=True)
def _wrap(angle):  # type: ignore[no-untyped-def]
    return angle - 2.0 * math.pi * math.floor((angle + math.pi) / (2.0 * math.pi))


@njit(cache=True)
def _innovation(measured, now, before, bias, gradient):  # type: ignore[no-untyped-def]
    """Measured - predicted, the bias carried from the geometry it was predicted at to the present one."""
    predicted = now[0] if math.isnan(now[5]) else now[5] - now[0]
    predicted += bias + gradient[0] * (now[0] - before[0])
    predicted += gradient[1] * _wrap(now[1] - before[1]) + gradient[2] * (now[2] - before[2])
    return measured - predicted


@njit(cache=True)
def gate_links(  # type: ignore[no-untyped-def]
    p, R, P, mask, anchors, levers, R_body_tag, tag, anchor_a, anchor_b,
    geometry, measured, bias, variance, gradient, dt, shut, gate, status, ratio,
):  # fmt: skip
    """Status and innovation test ratio of every link, at the prediction.

    The ratio is innovation^2 / (chi2_sigmas^2 S): below 0.5 healthy, above 1 rejected when the gate is shut.
    gate holds max_speed, max_acceleration, noise_sigmas, chi2_sigmas.
    """
    H = np.empty(SIZE)
    for n in range(tag.shape[0]):
        if status[n] == INVALID:
            continue
        link_jacobian(
            p, R, mask, anchors, levers, R_body_tag, tag[n], anchor_a[n], anchor_b[n], gradient[n], H
        )
        innovation = _innovation(measured[n], geometry[n], geometry[n], bias[n], gradient[n])
        S = innovation_variance(P, H) + variance[n]
        ratio[n] = innovation * innovation / (gate[3] * gate[3] * S)
        status[n] = ACCEPTED
        if shut:
            sigma = math.sqrt(S)
            if abs(innovation) > kinematic_bound(dt, sigma, gate[0], gate[1], gate[2]):
                status[n] = REJECTED_KINEMATIC
            elif ratio[n] > 1.0:
                status[n] = REJECTED_CHI2


@njit(cache=True)
def update_links(  # type: ignore[no-untyped-def]
    p, v, R, rate, accel_bias, P, mask, anchors, R_world_anchor, levers, R_body_tag, tag, anchor_a, anchor_b,
    geometry, measured, bias, variance, gradient, inflation, robust_scale, status,
):  # fmt: skip
    """Fuse the accepted links of an epoch one by one, each at the state the ones before it left.

    The variance is inflated, (N,), for residuals that are correlated over time; the Geman-McClure weight
    1 / (1 + innovation^2 / (c^2 S))^2 looks at the innovation under the un-inflated one.
    """
    H = np.empty(SIZE)
    dx = np.empty(SIZE)
    E = np.empty((3, 3))
    T = np.empty((3, 3))
    one = np.zeros(1, dtype=np.int64)
    now = np.empty((1, 10))
    position = p.reshape(1, 3)
    rotation = R.reshape(1, 3, 3)
    for n in range(tag.shape[0]):
        if status[n] != ACCEPTED:
            continue
        fill_geometry(
            position, rotation, one, anchors, R_world_anchor, levers, R_body_tag,
            tag[n : n + 1], anchor_a[n : n + 1], anchor_b[n : n + 1], now,
        )  # fmt: skip
        innovation = _innovation(measured[n], now[0], geometry[n], bias[n], gradient[n])
        link_jacobian(
            p, R, mask, anchors, levers, R_body_tag, tag[n], anchor_a[n], anchor_b[n], gradient[n], H
        )
        S = innovation_variance(P, H) + variance[n]
        ratio2 = innovation * innovation / (robust_scale * robust_scale * S)
        weight = 1.0 / (1.0 + ratio2) ** 2
        scalar_update(P, H, innovation, variance[n] * inflation[n] / weight, dx)
        for i in range(3):
            p[i] += dx[i]
            v[i] += dx[3 + i]
            rate[i] += dx[9 + i]
            accel_bias[i] += dx[12 + i]
        rotate_right(R, dx[6:9], E, T)
    orthonormalise(R, T)

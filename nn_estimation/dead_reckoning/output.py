"""What is published of a state, in the order of a nav_msgs/Odometry, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from nn_estimation.filters import quaternion, rotate_right

# Of the values of an estimate: first those of the message, then those in the world.
POSITION, QUATERNION, POSE_COVARIANCE = slice(0, 3), slice(3, 7), slice(7, 43)
BODY_VELOCITY, TURN, TWIST_COVARIANCE = slice(43, 46), slice(46, 49), slice(49, 85)
R_WORLD_IMU, VELOCITY, VELOCITY_COVARIANCE = slice(85, 94), slice(94, 97), slice(97, 106)
MESSAGE, VALUES = 85, 106


@njit(cache=True)
def present(R, v, p, gyro_bias, P, gyro, dt, c, out):  # type: ignore[no-untyped-def]
    """The state as it is published: with the rotation of now, where the gyro is late.

    Args:
        R, v, p, gyro_bias, P: of the state.
        gyro: (3,) [rad/s] of the last sample.
        dt: [s] from the sample before it; infinite where there is none.
        c: Constants.
        out: (VALUES,) receives them.
    """
    now = out[R_WORLD_IMU].reshape((3, 3))
    now[:] = R
    turn = out[TURN]
    for i in range(3):
        turn[i] = gyro[i] - gyro_bias[i]
    if c.gyro_delay != 0.0:
        rotate_right(now, turn * c.gyro_delay, np.empty((3, 3)), np.empty((3, 3)))
    quaternion(now, out[QUATERNION])
    out[POSITION] = p
    out[VELOCITY] = v
    body = out[BODY_VELOCITY]
    for i in range(3):
        body[i] = now[0, i] * v[0] + now[1, i] * v[1] + now[2, i] * v[2]
    pose, twist = out[POSE_COVARIANCE].reshape((6, 6)), out[TWIST_COVARIANCE].reshape((6, 6))
    covariances(now, v, p, P, c.gyro / dt, pose, twist, out[VELOCITY_COVARIANCE].reshape((3, 3)))


@njit(cache=True)
def covariances(R, v, p, P, gyro_noise, pose, twist, velocity):  # type: ignore[no-untyped-def]
    """Of pose, twist and velocity.

    A position is off by xi_p - p x xi_R; the velocity in the IMU frame by R' xi_v, whatever the rotation is off by.

    Args:
        R, v, p: rotation IMU to world, velocity and position.
        P: (21, 21) of the error state of `filter`.
        gyro_noise: [rad^2/s^2] white noise of a sample.
        pose: (6, 6) receives position and rotation, world axes.
        twist: (6, 6) receives velocity and angular velocity, IMU frame.
        velocity: (3, 3) receives the velocity, world axes.
    """
    for i in range(3):
        i1, i2 = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            j1, j2 = (j + 1) % 3, (j + 2) % 3
            # (a x b)_i = a_i1 b_i2 - a_i2 b_i1
            pose[i, j] = (
                P[6 + i, 6 + j]
                - (P[6 + i, j2] * p[j1] - P[6 + i, j1] * p[j2])
                - (p[i1] * P[i2, 6 + j] - p[i2] * P[i1, 6 + j])
                + p[i1] * (P[i2, j2] * p[j1] - P[i2, j1] * p[j2])
                - p[i2] * (P[i1, j2] * p[j1] - P[i1, j1] * p[j2])
            )
            velocity[i, j] = (
                P[3 + i, 3 + j]
                - (P[3 + i, j2] * v[j1] - P[3 + i, j1] * v[j2])
                - (v[i1] * P[i2, 3 + j] - v[i2] * P[i1, 3 + j])
                + v[i1] * (P[i2, j2] * v[j1] - P[i2, j1] * v[j2])
                - v[i2] * (P[i1, j2] * v[j1] - P[i1, j1] * v[j2])
            )
            pose[3 + i, 3 + j] = P[i, j]
            cross = P[6 + i, j] - (p[i1] * P[i2, j] - p[i2] * P[i1, j])
            pose[i, 3 + j] = cross
            pose[3 + j, i] = cross
            linear = mixed = 0.0
            for k in range(3):
                mixed -= R[k, i] * P[3 + k, 9 + j]
                for n in range(3):
                    linear += R[k, i] * P[3 + k, 3 + n] * R[n, j]
            twist[i, j] = linear
            twist[i, 3 + j] = mixed
            twist[3 + j, i] = mixed
            twist[3 + i, 3 + j] = P[9 + i, 9 + j]
        twist[3 + i, 3 + i] += gyro_noise

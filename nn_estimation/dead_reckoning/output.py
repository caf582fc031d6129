"""Covariances as a nav_msgs/Odometry wants them, from that of the invariant error, compiled."""

from __future__ import annotations

from numba import njit


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

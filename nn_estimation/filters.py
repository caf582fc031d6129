"""Compiled error-state Kalman core: sequential scalar updates and rotations on SO(3)."""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True)
def scalar_update(P, H, innovation, variance, dx):  # type: ignore[no-untyped-def]
    """One scalar measurement: adds to the error state and updates its covariance in place.

    The covariance is that of Joseph's form, P - K (PH)' - (PH) K' + K S K', symmetric by construction.

    Args:
        P: (n, n) covariance of the error state; changed.
        H: (n,) measurement Jacobian.
        innovation: measured - predicted.
        variance: of the measurement noise, > 0.
        dx: (n,) receives the correction K * innovation.
    """
    n = H.shape[0]
    S = variance
    for i in range(n):
        s = 0.0
        for j in range(n):
            s += P[i, j] * H[j]
        dx[i] = s  # P H
        S += H[i] * s
    for i in range(n):
        for j in range(i, n):
            value = P[i, j] - dx[i] * dx[j] / S
            P[i, j] = value
            P[j, i] = value
        if P[i, i] < 0.0:
            P[i, i] = 0.0
    gain = innovation / S
    for i in range(n):
        dx[i] *= gain


@njit(cache=True)
def innovation_variance(P, H):  # type: ignore[no-untyped-def]
    """H P H' of a scalar measurement with Jacobian H (n,)."""
    total = 0.0
    for i in range(H.shape[0]):
        if H[i] != 0.0:
            s = 0.0
            for j in range(H.shape[0]):
                s += P[i, j] * H[j]
            total += H[i] * s
    return total


@njit(cache=True)
def so3_exp(w, out):  # type: ignore[no-untyped-def]
    """Rotation matrix of a rotation vector w (3,) [rad], into out (3, 3)."""
    so3_exp_xyz(w[0], w[1], w[2], out)


@njit(cache=True)
def so3_exp_xyz(x, y, z, out):  # type: ignore[no-untyped-def]
    """Rotation matrix of a rotation vector x, y, z [rad], into out (3, 3); Taylor series near zero."""
    angle2 = x * x + y * y + z * z
    if angle2 < 1e-8:
        a = 1.0 - angle2 / 6.0
        b = 0.5 - angle2 / 24.0
    else:
        angle = math.sqrt(angle2)
        a = math.sin(angle) / angle
        b = (1.0 - math.cos(angle)) / angle2
    out[0, 0] = 1.0 - b * (y * y + z * z)
    out[1, 1] = 1.0 - b * (x * x + z * z)
    out[2, 2] = 1.0 - b * (x * x + y * y)
    out[0, 1] = b * x * y - a * z
    out[1, 0] = b * x * y + a * z
    out[0, 2] = b * x * z + a * y
    out[2, 0] = b * x * z - a * y
    out[1, 2] = b * y * z - a * x
    out[2, 1] = b * y * z + a * x


@njit(cache=True)
def rotate_right(R, w, E, T):  # type: ignore[no-untyped-def]
    """R <- R exp(w), in place; E and T are (3, 3) work space."""
    so3_exp(w, E)
    for i in range(3):
        for j in range(3):
            T[i, j] = R[i, 0] * E[0, j] + R[i, 1] * E[1, j] + R[i, 2] * E[2, j]
    for i in range(3):
        for j in range(3):
            R[i, j] = T[i, j]


@njit(cache=True)
def orthonormalise(R, T):  # type: ignore[no-untyped-def]
    """One Newton step of R towards SO(3), in place: R (3 I - R'R) / 2, enough from rounding errors."""
    for i in range(3):
        for j in range(3):
            T[i, j] = -0.5 * (R[0, i] * R[0, j] + R[1, i] * R[1, j] + R[2, i] * R[2, j])
        T[i, i] += 1.5
    for i in range(3):
        a, b, c = R[i, 0], R[i, 1], R[i, 2]
        for j in range(3):
            R[i, j] = a * T[0, j] + b * T[1, j] + c * T[2, j]


@njit(cache=True)
def quaternion(R, out):  # type: ignore[no-untyped-def]
    """Unit quaternion x, y, z, w of a rotation matrix R (3, 3), into out (4,), w >= 0 (Shepperd 1978)."""
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    largest, i = trace, 3
    for n in range(3):
        if R[n, n] > largest:
            largest, i = R[n, n], n
    if i == 3:
        out[0] = R[2, 1] - R[1, 2]
        out[1] = R[0, 2] - R[2, 0]
        out[2] = R[1, 0] - R[0, 1]
        out[3] = 1.0 + trace
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        out[i] = 1.0 - trace + 2.0 * R[i, i]
        out[j] = R[j, i] + R[i, j]
        out[k] = R[k, i] + R[i, k]
        out[3] = R[k, j] - R[j, k]
    norm = 0.0
    for n in range(4):
        norm += out[n] * out[n]
    norm = math.copysign(math.sqrt(norm), out[3])
    for n in range(4):
        out[n] /= norm


@njit(cache=True)
def matrix(q, out):  # type: ignore[no-untyped-def]
    """Rotation matrix of a unit quaternion w, x, y, z, into out (3, 3)."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@njit(cache=True)
def wrapped(angle):  # type: ignore[no-untyped-def]
    """An angle [rad] in [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi

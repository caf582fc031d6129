"""The same filter as a textbook writes it, in numpy with whole matrices: what the compiled one is compared with."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import State, skew
from nn_estimation.dead_reckoning.filter import GRAVITY, SIZE
from nn_estimation.dead_reckoning.vehicle import LONGEST, PERIOD


def step(
    state: State, gyro: np.ndarray, accel: np.ndarray, dt: float, earth: np.ndarray, c: Constants
) -> None:
    """One sample of a vehicle that drives; see `vehicle.step`, of which it leaves out standstill, gaps and squat."""
    _propagate(state, gyro, accel, dt, earth, c)
    _constrain(state, gyro, dt, c)
    state.stamp += dt


def _propagate(
    s: State, gyro: np.ndarray, accel: np.ndarray, dt: float, earth: np.ndarray, c: Constants
) -> None:
    G = np.zeros((SIZE, 18))
    G[0:3, 0:3], G[3:6, 0:3], G[6:9, 0:3] = s.R, skew(s.v) @ s.R, skew(s.p) @ s.R
    G[3:6, 3:6] = s.R
    G[9:21, 6:18] = np.eye(12)
    densities = (c.gyro, c.accel, c.gyro_walk, c.accel_walk, c.mount_walk, c.lever_walk)
    Q = np.diag(np.repeat(densities, 3)) * dt
    world = s.R @ (accel - s.accel_bias) + np.array([0.0, 0.0, -GRAVITY]) - 2.0 * np.cross(earth, s.v)
    before = s.R.copy()
    s.p[:] = s.p + s.v * dt + 0.5 * world * dt**2
    s.v[:] = s.v + world * dt
    turned = s.R @ Rotation.from_rotvec((gyro - s.gyro_bias) * dt).as_matrix()
    middle = 0.5 * (before + turned)
    Phi = np.eye(SIZE)
    g = skew(np.array([0.0, 0.0, -GRAVITY]))
    Phi[3:6, 0:3], Phi[6:9, 0:3], Phi[6:9, 3:6] = g * dt, 0.5 * g * dt**2, np.eye(3) * dt
    Phi[0:3, 9:12], Phi[3:6, 9:12], Phi[6:9, 9:12] = (
        -middle * dt,
        -skew(s.v) @ middle * dt,
        -skew(s.p) @ middle * dt,
    )
    Phi[3:6, 12:15], Phi[6:9, 12:15] = -before * dt, -0.5 * before * dt**2
    s.P[:] = Phi @ (s.P + G @ Q @ G.T) @ Phi.T
    s.R[:] = (np.eye(3) - skew(earth) * dt) @ turned


def _constrain(s: State, gyro: np.ndarray, dt: float, c: Constants) -> None:
    omega = gyro - s.gyro_bias
    x = s.R.T @ s.v + np.cross(omega, s.lever)
    forward, lateral, vertical = s.C.T @ x
    rate = (s.C.T @ omega)[2]
    J = np.zeros((4, SIZE))
    J[:3, 3:6], J[:3, 9:12], J[:3, 15:18], J[:3, 18:21] = (
        s.C.T @ part for part in (s.R.T, skew(s.lever), skew(x), skew(omega))
    )
    J[3, 9:12], J[3, 15:18] = -s.C[:, 2], (s.C.T @ skew(omega))[2]
    slip = c.slip + c.slip_speed * abs(forward)
    lift = c.lift * rate**2
    H = np.stack([
        J[1] - (c.slip + 2.0 * c.slip_speed * abs(forward)) * rate * J[0] - slip * forward * J[3],
        J[2] - lift * J[0] - 2.0 * c.lift * rate * forward * J[3],
    ])  # fmt: skip
    r = np.array([slip * rate * forward - lateral, lift * forward - vertical])
    N = np.diag([c.lateral, c.vertical]) * PERIOD / min(dt, LONGEST)
    K = s.P @ H.T @ np.linalg.inv(H @ s.P @ H.T + N)
    left = np.eye(SIZE) - K @ H
    s.P[:] = left @ s.P @ left.T + K @ N @ K.T
    dx = K @ r
    E, V = Rotation.from_rotvec(dx[:3]).as_matrix(), left_jacobian(dx[:3])
    s.v[:], s.p[:], s.R[:] = E @ s.v + V @ dx[3:6], E @ s.p + V @ dx[6:9], E @ s.R
    s.gyro_bias += dx[9:12]
    s.accel_bias += dx[12:15]
    s.C[:] = Rotation.from_rotvec(dx[15:18]).as_matrix() @ s.C
    s.lever += dx[18:21]


def left_jacobian(w: np.ndarray) -> np.ndarray:
    """(3, 3) of SO(3) at the rotation vector w (3,) [rad], to third order."""
    W = skew(w)
    return np.eye(3) + W / 2.0 + W @ W / 6.0 + W @ W @ W / 24.0

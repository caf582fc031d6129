"""Pre-integration: the same motion in fewer samples, for trainings and searches that run a filter many times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.filters import so3_exp


def preintegrated(drive: Drive, period: float = 0.1) -> Drive:
    """A drive without gaps at a lower rate, whose filter turns and speeds up as at the full one.

    Each sample is the constant rate and acceleration that turn and speed the IMU up as the samples since the one
    before did (Forster et al. 2017, eq. 33), so that one strapdown step equals theirs but for the second order of
    the position.

    Args:
        drive: of any rate.
        period: [s] between two samples.
    """
    count = max(1, round(period / float(np.median(np.diff(drive.stamp)))))
    rows = np.arange(0, len(drive.stamp), count)
    gyro, accel = np.empty((len(rows), 3)), np.empty((len(rows), 3))
    _integrate(drive.stamp, drive.gyro, drive.accel, rows, gyro, accel)
    return replace(
        drive,
        stamp=drive.stamp[rows],
        gyro=gyro,
        accel=accel,
        R=drive.R[rows],
        position=drive.position[rows],
        velocity=drive.velocity[rows],
        scored=drive.scored[rows],
    )


@njit(cache=True)
def _integrate(stamp, gyro, accel, rows, out_gyro, out_accel):  # type: ignore[no-untyped-def]
    turned = np.empty((3, 3))
    step = np.empty((3, 3))
    after = np.empty((3, 3))
    out_gyro[0] = gyro[0]
    out_accel[0] = accel[0]
    for n in range(1, rows.shape[0]):
        turned[:] = np.eye(3)
        speed = np.zeros(3)
        for i in range(rows[n - 1] + 1, rows[n] + 1):
            dt = stamp[i] - stamp[i - 1]
            for a in range(3):
                for b in range(3):
                    speed[a] += turned[a, b] * accel[i, b] * dt
            so3_exp(gyro[i] * dt, step)
            for a in range(3):
                for b in range(3):
                    after[a, b] = (
                        turned[a, 0] * step[0, b] + turned[a, 1] * step[1, b] + turned[a, 2] * step[2, b]
                    )
            turned[:] = after
        span = stamp[rows[n]] - stamp[rows[n - 1]]
        cosine = min(1.0, max(-1.0, 0.5 * (turned[0, 0] + turned[1, 1] + turned[2, 2] - 1.0)))
        angle = np.arccos(cosine)
        scale = 0.5 / span if angle < 1e-4 else 0.5 * angle / (np.sin(angle) * span)
        out_gyro[n, 0] = scale * (turned[2, 1] - turned[1, 2])
        out_gyro[n, 1] = scale * (turned[0, 2] - turned[2, 0])
        out_gyro[n, 2] = scale * (turned[1, 0] - turned[0, 1])
        out_accel[n] = speed / span

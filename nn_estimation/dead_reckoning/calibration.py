"""What the truth says directly: how late the gyro is, how tyres slip, how the IMU sits, how stops sound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.estimator import earth_rate
from nn_estimation.dead_reckoning.vehicle import SMOOTHING, spreads

WINDOW = 15.0  # [s] over which the gyro's rotation is compared with the true one
MIN_SPEED = 2.0  # [m/s] from which on a vehicle says how it slips
ROBUST = 3.0  # standard deviations beyond which an equation is left out
STANDS, MOVES = 0.05, 0.3  # [m/s] true speed below and above which a vehicle does
SETTLED = 1.0  # [s] of standing after which the spreads are those of a stop
MIN_WHEELS = 200  # wheel speeds that a scale takes
SHORTEST_STOPS = 10.0  # [s] in all, below which standstill is not detected


class CalibrationError(ValueError):
    """Drives that do not say enough; the message says what they lack."""


def calibrate(drives: Sequence[Drive], start: Constants | None = None) -> Constants:
    """Constants with the delay, slip, mount and lever arm that fit the truth of the drives.

    Args:
        drives: without gaps, scored samples only are used.
        start: whose other constants are kept.

    Raises:
        CalibrationError: too little driving.
    """
    start = start or Constants()
    return start._replace(gyro_delay=gyro_delay(drives), **_slip(drives))


def gyro_delay(drives: Sequence[Drive]) -> float:
    """[s] by which the true orientation leads the gyro.

    Over a window, the true rotation less the gyro's is delay x (rate at its end - rate at its beginning), plus what
    the bias makes of it.

    Raises:
        CalibrationError: fewer than 10 windows.
    """
    errors, changes = [], []
    for drive in drives:
        edges = np.searchsorted(drive.stamp, np.arange(drive.stamp[0], drive.stamp[-1], WINDOW))
        step = np.diff(drive.stamp)[:, None]
        rate = drive.gyro - np.einsum("nij,i->nj", drive.R, earth_rate(drive.latitude))
        turns = Rotation.from_rotvec(rate[1:] * step)  # as the filter integrates it
        smooth = _smoothed(drive.gyro, 5)
        for a, b in pairwise(edges):
            if b - a < 10 or not drive.scored[a : b + 1].all():
                continue
            product = _product(turns[a:b])
            off = product.inv() * Rotation.from_matrix(drive.R[a].T @ drive.R[b])
            errors.append(off.as_rotvec()[2])
            changes.append(smooth[b, 2] - smooth[a, 2])
    if len(errors) < 10:
        raise CalibrationError(f"{len(errors)} windows of {WINDOW:.0f} s with truth: the delay needs 10")
    columns = np.column_stack([changes, np.ones(len(changes))])
    return float(_solve(columns, np.array(errors))[0])


def standstill(drives: Sequence[Drive], start: Constants) -> dict[str, float]:
    """Spreads of gyro and accelerometer below which the vehicle stands; 0, which is never, where that is not clear.

    Twice those of nine in ten samples of a stop, as long as a hundred times fewer of the samples in motion are below.
    """
    stopped, moving = [np.empty((0, 2))], [np.empty((0, 2))]
    seconds = 0.0
    for drive in drives:
        found = spreads(drive.stamp, drive.gyro, drive.accel, start)
        speed = np.linalg.norm(drive.velocity, axis=1)
        period = float(np.median(np.diff(drive.stamp)))
        long = max(1, round(SETTLED / period))
        stands = drive.scored & (_smoothed((speed >= STANDS).astype(float), long) < 0.5 / long)
        stands[:long] = False
        seconds += stands.sum() * period
        stopped.append(found[stands])
        moving.append(found[drive.scored & (speed > MOVES)])
    if seconds < SHORTEST_STOPS:
        return {"quiet_gyro": 0.0, "quiet_accel": 0.0}
    still, driving = np.concatenate(stopped), np.concatenate(moving)
    limits = 2.0 * np.quantile(still, 0.9, axis=0)
    if (driving < limits).all(axis=1).mean() > 0.01:
        return {"quiet_gyro": 0.0, "quiet_accel": 0.0}
    return {"quiet_gyro": float(limits[0]), "quiet_accel": float(limits[1])}


def wheel_speed(drives: Sequence[Drive]) -> dict[str, float]:
    """Scale and variance of the wheels' speed; nothing where no drive has any.

    The variance is that of one a second as often as they come: their errors stay alike for about so long.
    """
    true, measured, rates = [], [], []
    for drive in drives:
        if len(drive.wheels) < 2:
            continue
        forward = np.einsum("nj,nj->n", drive.R[:, :, 0], drive.velocity)
        stamp, speed = drive.wheels.T
        use = (stamp >= drive.stamp[0]) & (stamp <= drive.stamp[-1]) & (speed > MIN_SPEED)
        use &= np.interp(stamp, drive.stamp, drive.scored) == 1.0
        true.append(np.interp(stamp[use], drive.stamp, forward))
        measured.append(speed[use])
        rates.append(1.0 / np.median(np.diff(stamp)))
    if sum(map(len, true)) < MIN_WHEELS:
        return {}
    wheels, velocity = np.concatenate(measured), np.concatenate(true)
    scale = float(_solve(wheels[:, None], velocity)[0])
    spread = float(np.mean((velocity - scale * wheels) ** 2))
    return {"speed_scale": scale, "wheel_speed": spread * max(float(np.median(rates)), 1.0)}


def _slip(drives: Sequence[Drive]) -> dict[str, float]:
    rows, values = [], []
    for drive in drives:
        velocity = np.einsum("nji,nj->ni", drive.R, drive.velocity)
        use = drive.scored & (velocity[:, 0] > MIN_SPEED)
        accel = _smoothed(drive.accel[:, 0], max(1, round(2 * SMOOTHING / np.median(np.diff(drive.stamp)))))
        v, (_, y, z), a = velocity[use, 0], drive.gyro[use].T, accel[use]
        zero = np.zeros_like(v)
        # slip, squat, lift, pitch, yaw, lever x: see vehicle.slip_residual at small mount angles. slip_speed is too
        # much like the two others at the speeds of a town.
        rows.append(np.column_stack([z * v, zero, zero, zero, v, -z]))
        values.append(velocity[use, 1])
        rows.append(np.column_stack([zero, a * v, z * z * v, -v, zero, y]))
        values.append(velocity[use, 2])
    if sum(map(len, values)) < 1000:
        raise CalibrationError(f"less than 1000 samples above {MIN_SPEED} m/s with truth")
    found = _solve(np.concatenate(rows), np.concatenate(values))
    names = ("slip", "squat", "lift", "mount_pitch", "mount_yaw", "lever_x")
    return dict(zip(names, found.tolist(), strict=True))


def _solve(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least squares, three times, each without what the one before found far off."""
    use = np.ones(len(values), dtype=bool)
    for _ in range(3):
        found = np.linalg.lstsq(columns[use], values[use], rcond=None)[0]
        residual = values - columns @ found
        use = np.abs(residual) < ROBUST * residual[use].std() + 1e-12
    return found


def _smoothed(values: np.ndarray, count: int) -> np.ndarray:
    """Means of the last `count` samples along the first axis."""
    total = np.cumsum(values, axis=0)
    total[count:] -= total[:-count].copy()
    divisor = np.minimum(np.arange(1, len(values) + 1), count)
    return total / (divisor if values.ndim == 1 else divisor[:, None])


def _product(turns: Rotation) -> Rotation:
    """Rotations one after another, multiplied in pairs."""
    while len(turns) > 1:
        odd = turns[-1:] if len(turns) % 2 else None
        turns = turns[: len(turns) // 2 * 2 : 2] * turns[1::2]
        if odd is not None:
            turns = Rotation.concatenate([turns, odd])
    return turns[0]

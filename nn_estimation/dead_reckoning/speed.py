"""Steps a second of the compiled filter on one core, and of the textbook one beside it."""

from __future__ import annotations

import time

import numpy as np

from nn_estimation.dead_reckoning import textbook
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning, earth_rate, first_state, track
from nn_estimation.dead_reckoning.filter import GRAVITY

LATITUDE = 0.85  # [rad]
CONSTANTS = Constants(slip=-0.05, slip_speed=-0.0006, lift=0.012, mount_pitch=-0.01, lever_x=0.1)
SPEED = 12.0  # [m/s]


def report() -> str:
    """Table of steps a second, and how far the filters' positions are apart."""
    stamp, gyro, accel = road(60_000)
    start = first_state(CONSTANTS, stamp[0], np.zeros(3), np.eye(3), np.array([SPEED, 0.0, 0.0]))
    track(CONSTANTS, stamp[:100], gyro[:100], accel[:100], start, LATITUDE)  # compiles
    begin = time.perf_counter()
    compiled = track(CONSTANTS, stamp, gyro, accel, start, LATITUDE)
    batch = len(stamp) / (time.perf_counter() - begin)

    few = 4000
    online = DeadReckoning(CONSTANTS, LATITUDE)
    online.start(stamp[0], np.zeros(3), np.eye(3), np.array([SPEED, 0.0, 0.0]))
    begin = time.perf_counter()
    for n in range(1, few):
        online.update(stamp[n], gyro[n], accel[n])
    single = (few - 1) / (time.perf_counter() - begin)

    state, earth = start.copy(), earth_rate(LATITUDE)
    begin = time.perf_counter()
    for n in range(1, few):
        textbook.step(state, gyro[n], accel[n], stamp[n] - stamp[n - 1], earth, CONSTANTS)
    plain = (few - 1) / (time.perf_counter() - begin)
    apart = float(np.linalg.norm(state.p - compiled.position[few - 1]))
    rows = (
        ("compiled, a recording at once", batch),
        ("compiled, sample by sample with its estimate", single),
        ("textbook numpy filter", plain),
    )
    lines = [f"{'21 error states, propagate and update':<46}  [steps/s]"]
    lines += [f"{name:<46}  {rate:>9,.0f}" for name, rate in rows]
    return "\n".join([*lines, f"\nafter {few} steps the two filters' positions differ by {apart:.1g} m"])


def road(count: int, dt: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,) [s], gyro (N, 3) [rad/s] and accelerometer (N, 3) [m/s^2] of a winding road, with noise."""
    rng = np.random.default_rng(0)
    stamp = dt * np.arange(count)
    gyro, accel = rng.normal(0.0, 0.002, (count, 3)), rng.normal(0.0, 0.05, (count, 3))
    gyro[:, 2] += 0.2 * np.sin(0.2 * stamp)
    accel[:, 1] += SPEED * 0.2 * np.sin(0.2 * stamp)
    accel[:, 2] += GRAVITY
    return stamp, gyro, accel

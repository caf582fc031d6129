"""Steps a second of the compiled filter on one core, the textbook one beside it, and the work of a live message."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from nn_estimation import cdr
from nn_estimation.dead_reckoning import textbook
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning, earth_rate, first_state, track
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.replay import encode_estimate
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, DeadReckoningStream, StreamParams
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.inference import Model

LATITUDE = 0.85  # [rad]
CONSTANTS = Constants(slip=-0.05, slip_speed=-0.0006, lift=0.012, mount_pitch=-0.01, lever_x=0.1)
SPEED = 12.0  # [m/s]
MESSAGES = 10_000


def report(model: str | Path) -> str:
    """Steps a second, how far the filters' positions are apart, and the work of a message with and without network.

    Args:
        model: ONNX file.
    """
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
    lines.append(f"\nafter {few} steps the two filters' positions differ by {apart:.1g} m\n")
    lines.append(f"{'a message, from its bytes to those of the odometry':<46}  {'p50':>8}  {'p99':>8} [us]")
    setups = load_setups(Model.load(model, provider="cpu"))
    for method in ("tuned", "network"):
        p50, p99 = np.quantile(_messages(setups[method], stamp, gyro, accel), (0.5, 0.99)) * 1e6
        lines.append(f"{method:<46}  {p50:8.0f}  {p99:8.0f}")
    return "\n".join(lines)


def _messages(setup: Setup, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray) -> np.ndarray:
    """(N,) [s] of work of the node on each message."""
    warm_up(setup)
    stream = DeadReckoningStream(setup, StreamParams(start=Start(speed=SPEED)))
    none, level = np.zeros(9), np.array([0.0, 0.0, 0.0, 1.0])
    took = []
    for t, w, a in zip(stamp[:MESSAGES] + 1.0, gyro, accel, strict=False):
        data = cdr.encode_imu(cdr.ImuMessage(round(t * 1e9), "imu_link", w, a, level, none, none, none))
        begin = time.perf_counter()
        estimate = stream.feed(IMU_TOPIC, data)
        if estimate is not None:
            encode_estimate(estimate)
            took.append(time.perf_counter() - begin)
    return np.array(took)


def road(count: int, dt: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,) [s], gyro (N, 3) [rad/s] and accelerometer (N, 3) [m/s^2] of a winding road, with noise."""
    rng = np.random.default_rng(0)
    stamp = dt * np.arange(count)
    gyro, accel = rng.normal(0.0, 0.002, (count, 3)), rng.normal(0.0, 0.05, (count, 3))
    gyro[:, 2] += 0.2 * np.sin(0.2 * stamp)
    accel[:, 1] += SPEED * 0.2 * np.sin(0.2 * stamp)
    accel[:, 2] += GRAVITY
    return stamp, gyro, accel

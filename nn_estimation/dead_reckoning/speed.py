"""Steps a second of the compiled filter on one core, the textbook one beside it, and the work of a live message."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nn_estimation import cdr
from nn_estimation.dead_reckoning import textbook
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning, earth_rate, first_state, track
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.learned_covariance import BY_MODEL, REASONS
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.replay import encode_estimate
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, ODOMETRY_TOPIC, DeadReckoningStream, StreamParams
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.inference import Model
from nn_estimation.yardstick import HEADER, Yardstick, clock

LATITUDE = 0.85  # [rad]
CONSTANTS = Constants(slip=-0.05, slip_speed=-0.0006, lift=0.012, mount_pitch=-0.01, lever_x=0.1)
SPEED = 12.0  # [m/s]
BATCH, FEW = 60_000, 4000  # samples
RUNS = 3
MESSAGES = 10_000
STEP_BAR, MESSAGE_BAR = 200_000, 150  # [steps/s] of a recording at once, [us] at the 99th percentile


def report(model: str | Path) -> str:
    """Steps a second, how far the filters' positions are apart, and the work of a message beside a yardstick.

    Args:
        model: ONNX file.
    """
    stamp, gyro, accel = road(BATCH)
    lines = [*_steps(stamp, gyro, accel), ""]
    lines.append(f"{'a message, from its bytes to those of the odometry':<52}  {'count':>5}  {HEADER}")
    setups = load_setups(Model.load(model, provider="cpu"))
    for method in ("tuned", "network"):
        for name, yardstick in _messages(setups[method], stamp, gyro, accel).items():
            lines.append(f"{f'{method}, {name}':<52}  {len(yardstick):5}  {yardstick.row()}")
    lines.append("fixed: the same few calls of numpy after each, whose p99 is the machine's")
    lines.append(f"the bar is {MESSAGE_BAR} us at p99, with the network on")
    return "\n".join(lines)


def _steps(stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray) -> list[str]:
    """Rows of steps a second, of the fastest of some runs: caches were cold in the others."""
    start = first_state(CONSTANTS, stamp[0], np.zeros(3), np.eye(3), np.array([SPEED, 0.0, 0.0]))
    track(CONSTANTS, stamp[:100], gyro[:100], accel[:100], start, LATITUDE)  # compiles
    batch = single = 0.0
    for _ in range(RUNS):
        begin = clock()
        compiled = track(CONSTANTS, stamp, gyro, accel, start, LATITUDE)
        batch = max(batch, len(stamp) / (clock() - begin))
        online = DeadReckoning(CONSTANTS, LATITUDE)
        online.start(stamp[0], np.zeros(3), np.eye(3), np.array([SPEED, 0.0, 0.0]))
        begin = clock()
        for n in range(1, FEW):
            online.update(stamp[n], gyro[n], accel[n])
        single = max(single, (FEW - 1) / (clock() - begin))
    state, earth = start.copy(), earth_rate(LATITUDE)
    begin = clock()
    for n in range(1, FEW):
        textbook.step(state, gyro[n], accel[n], stamp[n] - stamp[n - 1], earth, CONSTANTS)
    plain = (FEW - 1) / (clock() - begin)
    apart = float(np.linalg.norm(state.p - compiled.position[FEW - 1]))
    return [
        f"{'processor time, 21 error states':<46}  [steps/s]      bar",
        f"{'compiled, a recording at once':<46}  {batch:9,.0f}  {STEP_BAR:,}",
        f"{'compiled, sample by sample with its estimate':<46}  {single:9,.0f}",
        f"{'textbook numpy filter':<46}  {plain:9,.0f}",
        f"after {FEW} steps the two filters' positions differ by {apart:.1g} m",
    ]


def _messages(setup: Setup, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray) -> dict[str, Yardstick]:
    """Work of the node on each message until it is published, by kind, and of the network after that.

    Of a drive that nothing aids and one that an Odometry does.
    """
    samples, thought, aided, odometry = (Yardstick() for _ in range(4))
    for aiding in ("none", "odometry"):
        warm_up(setup)
        stream = DeadReckoningStream(setup, StreamParams(aiding, start=Start(speed=SPEED)))
        for n in range(min(MESSAGES, len(stamp))):
            data = _imu(stamp[n], gyro[n], accel[n])
            begin = clock()
            estimate = stream.feed(IMU_TOPIC, data)
            if estimate is None:
                continue
            encode_estimate(estimate, stream.stamp_ns)
            (samples if aiding == "none" else aided).add(clock() - begin)
            calls, begin = _calls(setup), clock()
            stream.think()
            took = clock() - begin
            if _calls(setup) > calls:
                thought.add(took)
            if aiding != "none" and n % 10 == 5:
                data = _odometry(encode_estimate(estimate, stream.stamp_ns))
                begin = clock()
                stream.feed(ODOMETRY_TOPIC, data)
                odometry.add(clock() - begin)
    kinds = {"a sample": samples, "a sample, aided": aided, "an Odometry that aids": odometry}
    kinds["once published, if it is due"] = thought
    return {kind: times for kind, times in kinds.items() if len(times)}


def _imu(stamp: float, gyro: np.ndarray, accel: np.ndarray) -> bytes:
    ns = round((stamp + 1.0) * 1e9)
    return cdr.encode_imu(cdr.ImuMessage.of(ns, "imu_link", gyro, accel))


def _odometry(data: bytes) -> bytes:
    """Of a source that finds the same."""
    known = (0.04 * np.eye(6)).ravel()
    return cdr.encode_odometry(
        cdr.decode_odometry(data)._replace(covariance=known, velocity_covariance=known)
    )


def _calls(setup: Setup) -> int:
    """Of the network so far."""
    return setup.network.counts[REASONS[BY_MODEL]] if setup.network else 0


def road(count: int, dt: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,) [s], gyro (N, 3) [rad/s] and accelerometer (N, 3) [m/s^2] of a winding road, with noise."""
    rng = np.random.default_rng(0)
    stamp = dt * np.arange(count)
    gyro, accel = rng.normal(0.0, 0.002, (count, 3)), rng.normal(0.0, 0.05, (count, 3))
    gyro[:, 2] += 0.2 * np.sin(0.2 * stamp)
    accel[:, 1] += SPEED * 0.2 * np.sin(0.2 * stamp)
    accel[:, 2] += GRAVITY
    return stamp, gyro, accel

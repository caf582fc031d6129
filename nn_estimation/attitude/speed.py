"""Samples a second of processor time of the attitude beside the published VQF, and the work of a live message."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from vqf import VQF

from nn_estimation import cdr
from nn_estimation.attitude.batch import track
from nn_estimation.attitude.estimator import AttitudeEstimator
from nn_estimation.attitude.model import Setup, load_setups
from nn_estimation.attitude.replay import outputs
from nn_estimation.attitude.stream import AttitudeStream
from nn_estimation.attitude.trial import IMU_TOPIC, MAG_TOPIC, Trial
from nn_estimation.inference import Model
from nn_estimation.messages import ImuMessage, MagneticFieldMessage

RATE = 285.0  # [Hz]
BATCH, FEW = 100_000, 10_000  # samples
RUNS = 3
WARM = 1000  # messages before the clock runs
GRAVITY = np.array([0.0, 0.0, 9.81])  # [m/s^2]
FIELD = np.array([0.0, 19e-6, -45e-6])  # [T] east, north, up, as in central Europe
BARS = {"filter": 300_000, "network": 50_000}  # [samples/s] of a recording at once
MESSAGE_BAR = 100  # [us] at the 99th percentile


def report(model: str | Path) -> str:
    """Samples a second with and without the network, and p50 and p99 of the work of a message.

    Args:
        model: ONNX file.
    """
    setups = load_setups(Model.load(model, provider="cpu"))
    trial = motion(BATCH)
    lines = [f"{'processor time, nine axes':<46}  [samples/s]        bar"]
    published = VQF(1.0 / RATE)
    lines.append(_row("vqf package, a recording at once", BATCH / _time(lambda: _published_batch(trial))))
    lines.append(_row("vqf package, sample by sample", FEW / _time(lambda: _published(published, trial))))
    for method, bar in BARS.items():
        setup = setups[method]
        _batch(setup, motion(WARM))  # compiles
        rate = BATCH / _time(lambda setup=setup: _batch(setup, trial))  # type: ignore[misc]
        lines.append(_row(f"{method}, a recording at once", rate, bar))
        rate = FEW / _time(lambda setup=setup: _online(setup, trial))  # type: ignore[misc]
        lines.append(_row(f"{method}, sample by sample with its covariance", rate))
    lines.append(
        f"\n{'a message, from its bytes to those of the attitude':<46}  {'p50':>8}  {'p99':>8} [us]  bar"
    )
    for method in BARS:
        for topic, took in _messages(setups[method], trial).items():
            p50, p99 = np.quantile(took, (0.5, 0.99)) * 1e6
            lines.append(f"{f'{method}, {topic}':<50}  {p50:8.0f}  {p99:8.0f}  {MESSAGE_BAR:8d}")
    return "\n".join(lines)


def motion(count: int) -> Trial:
    """A sensor turned in all directions by hand, with noise."""
    rng = np.random.default_rng(0)
    stamp = 1.0 + np.arange(count) / RATE
    angles = np.column_stack([np.sin(f * stamp) for f in (0.9, 0.7, 0.5)])
    R = Rotation.from_euler("xyz", angles)
    gyro = np.zeros((count, 3))
    gyro[1:] = (R[:-1].inv() * R[1:]).as_rotvec() * RATE
    gyro += rng.normal(0.0, 0.004, (count, 3))
    accel = R.inv().apply(GRAVITY) + rng.normal(0.0, 0.3, (count, 3))
    mag = R.inv().apply(FIELD) + rng.normal(0.0, 3e-7, (count, 3))
    return Trial("motion", stamp, gyro, accel, stamp, mag, R.as_quat(), np.ones(count, dtype=bool))


def _row(name: str, rate: float, bar: int | None = None) -> str:
    return f"{name:<46}  {rate:11,.0f}" + (f"  {bar:9,}" if bar else "")


def _time(work: Callable[[], None]) -> float:
    """[s] of processor time of the fastest of some runs: caches were cold in the others."""
    took = []
    for _ in range(RUNS):
        begin = time.process_time()
        work()
        took.append(time.process_time() - begin)
    return min(took)


def _published_batch(trial: Trial) -> None:
    VQF(1.0 / RATE).updateBatch(trial.gyro, trial.accel, trial.mag)


def _published(filter_: VQF, trial: Trial) -> None:
    for w, a, m in zip(trial.gyro[:FEW], trial.accel, trial.mag, strict=False):
        filter_.update(w, a, m)
        filter_.getQuat9D()


def _batch(setup: Setup, trial: Trial) -> None:
    track(setup, trial.stamp, trial.gyro, trial.accel, trial.mag_stamp, trial.mag)


def _online(setup: Setup, trial: Trial) -> None:
    estimator = AttitudeEstimator(setup)
    for t, w, a, m in zip(trial.stamp[:FEW], trial.gyro, trial.accel, trial.mag, strict=False):
        estimator.magnetic(t, m)
        estimator.update(t, w, a)


def _messages(setup: Setup, trial: Trial) -> dict[str, np.ndarray]:
    """[s] of processor time of the node on each message, by topic."""
    stream = AttitudeStream(setup)
    none, level = np.zeros(9), np.array([0.0, 0.0, 0.0, 1.0])
    took: dict[str, list[float]] = {IMU_TOPIC: [], MAG_TOPIC: []}
    for t, w, a, m in zip(trial.stamp[: WARM + FEW], trial.gyro, trial.accel, trial.mag, strict=False):
        ns = round(t * 1e9)
        field = cdr.encode_mag(MagneticFieldMessage(ns, "imu_link", m, none))
        sample = cdr.encode_imu(ImuMessage(ns, "imu_link", w, a, level, none, none, none))
        for topic, data in ((MAG_TOPIC, field), (IMU_TOPIC, sample)):
            begin = time.process_time()
            attitude = stream.feed(topic, data)
            if attitude is not None and stream.sample is not None:
                outputs(attitude, stream.sample)
            took[topic].append(time.process_time() - begin)
    return {topic: np.array(each[WARM:]) for topic, each in took.items()}

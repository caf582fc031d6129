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
from nn_estimation.attitude.heading import BY_MODEL, REASONS
from nn_estimation.attitude.model import Setup, load_setups
from nn_estimation.attitude.replay import outputs
from nn_estimation.attitude.stream import AttitudeStream
from nn_estimation.attitude.trial import IMU_TOPIC, MAG_TOPIC, Trial
from nn_estimation.inference import Model
from nn_estimation.messages import UNKNOWN, ImuMessage, MagneticFieldMessage
from nn_estimation.yardstick import HEADER, Yardstick, clock

RATE = 285.0  # [Hz]
BATCH, FEW = 100_000, 10_000  # samples
RUNS = 3
WARM = 1000  # messages before the clock runs
GRAVITY = np.array([0.0, 0.0, 9.81])  # [m/s^2]
FIELD = np.array([0.0, 19e-6, -45e-6])  # [T] east, north, up, as in central Europe
BENT = np.array([4e-6, 0.0, 4e-6])  # [T] at most
BARS = {"filter": 300_000, "network": 50_000}  # [samples/s] of a recording at once


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
    lines.append(f"\n{'a message, from its bytes to those of the attitude':<50}  {'count':>5}  {HEADER}")
    for method in BARS:
        for name, yardstick in _messages(setups[method], trial).items():
            lines.append(f"{f'{method}, {name}':<50}  {len(yardstick):5}  {yardstick.row()}")
    lines.append("processor time; fixed: the same few calls of numpy after each, whose p99 is the machine's")
    return "\n".join(lines)


def motion(count: int) -> Trial:
    """A sensor turned in all directions by hand, with noise, in a field that is bent now and then."""
    rng = np.random.default_rng(0)
    stamp = 1.0 + np.arange(count) / RATE
    angles = np.column_stack([np.sin(f * stamp) for f in (0.9, 0.7, 0.5)])
    R = Rotation.from_euler("xyz", angles)
    gyro = np.zeros((count, 3))
    gyro[1:] = (R[:-1].inv() * R[1:]).as_rotvec() * RATE
    gyro += rng.normal(0.0, 0.004, (count, 3))
    accel = R.inv().apply(GRAVITY) + rng.normal(0.0, 0.3, (count, 3))
    mag = R.inv().apply(FIELD + np.sin(stamp)[:, None] * BENT) + rng.normal(0.0, 3e-7, (count, 3))
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


def _messages(setup: Setup, trial: Trial) -> dict[str, Yardstick]:
    """Work of the node on each message until it is published, by topic, and of the network after that."""
    stream = AttitudeStream(setup)
    took = {IMU_TOPIC: Yardstick(), MAG_TOPIC: Yardstick()}
    thought = Yardstick()
    for n in range(min(WARM + FEW, len(trial.stamp))):
        ns = round(trial.stamp[n] * 1e9)
        field = cdr.encode_mag(MagneticFieldMessage(ns, "imu_link", trial.mag[n], UNKNOWN))
        sample = ImuMessage.of(ns, "imu_link", trial.gyro[n], trial.accel[n])
        for topic, data in ((IMU_TOPIC, cdr.encode_imu(sample)), (MAG_TOPIC, field)):
            begin = clock()
            attitude = stream.feed(topic, data)
            if attitude is not None and stream.imu is not None:
                outputs(attitude, stream.imu, bias=stream.bias_due)
            spent = clock() - begin
            if n >= WARM:
                took[topic].add(spent)
            calls, begin = _calls(setup), clock()
            stream.think()
            spent = clock() - begin
            if _calls(setup) > calls:
                thought.add(spent)
    return took if setup.network is None else {**took, "once published, if it is due": thought}


def _calls(setup: Setup) -> int:
    """Of the network so far."""
    return setup.network.counts[REASONS[BY_MODEL]] if setup.network else 0

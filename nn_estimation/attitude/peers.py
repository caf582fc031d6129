"""The published filters beside ours, each as its own package ships it, with its default parameters."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.trial import Trial

G = 9.80665  # [m/s^2] that imufusion calls one
EAST_FROM_NORTH = Rotation.from_euler("z", 90.0, degrees=True)  # north-west-up -> east-north-up


@dataclass(frozen=True, slots=True)
class Peer:
    """A published filter."""

    package: str  # on PyPI, and to import
    heading: bool  # whether it has one
    run: Callable[[Trial], np.ndarray]  # (N, 4) x, y, z, w; sensor to world

    @property
    def installed(self) -> bool:
        """Whether the package can be imported."""
        return util.find_spec(self.package) is not None


def vqf(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """The reference implementation of Laidig and Seel 2023, over a recording at once.

    Without a magnetometer its heading is relative to the start.

    Returns:
        (N, 4) x, y, z, w, and the gyro bias (N, 3) [rad/s].
    """
    package = importlib.import_module("vqf")
    step = _step(trial.stamp)
    gyro, accel = np.ascontiguousarray(trial.gyro), np.ascontiguousarray(trial.accel)
    if not len(trial.mag):
        found = package.VQF(step).updateBatch(gyro, accel)
        return _scalar_last(found["quat6D"]), found["bias"]
    # It skips a field of zero, which is how one batch holds a magnetometer of another rate.
    field = np.zeros_like(gyro)
    at = np.searchsorted(trial.stamp, trial.mag_stamp)
    field[at[at < len(field)]] = trial.mag[at < len(field)]
    mag_step = _step(trial.mag_stamp) if len(trial.mag) > 1 else step
    found = package.VQF(step, step, mag_step).updateBatch(gyro, accel, field)
    return _scalar_last(found["quat9D"]), found["bias"]


def carried_forward(quaternion: np.ndarray, angular_velocity: np.ndarray, latency: float) -> np.ndarray:
    """What an output becomes in the time that the sensor is late.

    Args:
        quaternion: (N, 4) x, y, z, w; sensor to world.
        angular_velocity: (N, 3) [rad/s] of the sensor, in its frame.
        latency: [s].

    Returns:
        (N, 4) q * exp(omega latency).
    """
    turn = Rotation.from_rotvec(latency * angular_velocity)
    return (Rotation.from_quat(quaternion) * turn).as_quat()


def _riann(trial: Trial) -> np.ndarray:
    """Weber et al. 2021: no heading, trained at 50 to 500 Hz."""
    package = importlib.import_module("riann")
    # Its own search for the file fails on Python 3.11 and before.
    network = package.RIANN(str(Path(str(package.__file__)).parent / "riann.onnx"))
    return _scalar_last(network.predict(trial.accel, trial.gyro, 1.0 / _step(trial.stamp)))


def _madgwick(trial: Trial) -> np.ndarray:
    """Madgwick et al. 2011, x to the north."""
    package = importlib.import_module("ahrs.filters")
    field = _held(trial) if len(trial.mag) else None
    found = package.Madgwick(gyr=trial.gyro, acc=trial.accel, mag=field, frequency=1.0 / _step(trial.stamp))
    return (EAST_FROM_NORTH * Rotation.from_quat(_scalar_last(found.Q))).as_quat()


def _imufusion(trial: Trial) -> np.ndarray:
    """Madgwick's revised filter; rejection is off by default."""
    package = importlib.import_module("imufusion")
    # Version 1.3 takes no notice of its convention: north-west-up is what comes.
    fusion = package.Ahrs().set_settings(package.AhrsSettings(sample_rate=1.0 / _step(trial.stamp)))
    found = np.empty((len(trial.stamp), 4))
    for k, (w, a, m) in enumerate(zip(np.degrees(trial.gyro), trial.accel / G, _held(trial), strict=True)):
        found[k] = fusion.update(w, a, m).get_quaternion()
    return (EAST_FROM_NORTH * Rotation.from_quat(_scalar_last(found))).as_quat()


PEERS = {
    "riann": Peer("riann", False, _riann),
    "madgwick": Peer("ahrs", True, _madgwick),
    "imufusion": Peer("imufusion", True, _imufusion),
}


def installed() -> dict[str, Peer]:
    """Those of `PEERS` that can be run here."""
    return {name: peer for name, peer in PEERS.items() if peer.installed}


def versions() -> str:
    """Of the packages behind the rows, vqf among them."""
    packages = ["vqf", *(peer.package for peer in installed().values())]
    return ", ".join(f"{package} {metadata.version(package)}" for package in packages)


def _step(stamp: np.ndarray) -> float:
    """[s], without the noise of stamps that are large."""
    return round(float(np.median(np.diff(stamp))), 9)


def _scalar_last(quaternion: np.ndarray) -> np.ndarray:
    return np.roll(quaternion, -1, axis=1)


def _held(trial: Trial) -> np.ndarray:
    """(N, 3) the last field at each IMU sample, zero before the first, which these packages take as none."""
    last = np.searchsorted(trial.mag_stamp, trial.stamp, side="right")
    return np.vstack([np.zeros((1, 3)), trial.mag])[last]

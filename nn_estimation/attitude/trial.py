"""A trial: IMU and magnetometer of a bag beside the true orientation, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation, Slerp

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.messages import OdometryMessage
from nn_estimation.recorded import IMU_TOPIC, TRUTH_TOPIC, UNKNOWN, columns, decoded, reached, scored

MAG_TOPIC = "imu/mag"
MAX_TRUTH_GAP = 0.02  # [s] over which the truth is interpolated


class TrialError(ValueError):
    """A bag that attitude cannot be trained or scored on; the message names what it lacks."""


@dataclass(frozen=True, slots=True)
class Trial:
    """N samples of an IMU, with the truth at their stamps, and M of a magnetometer."""

    name: str
    stamp: np.ndarray  # (N,) [s] of the IMU, increasing
    gyro: np.ndarray  # (N, 3) [rad/s]
    accel: np.ndarray  # (N, 3) [m/s^2], +g up at rest
    mag_stamp: np.ndarray  # (M,) [s], increasing
    mag: np.ndarray  # (M, 3) as in the bag [T]; M = 0 without
    truth: np.ndarray  # (N, 4) x, y, z, w; sensor to world (east, north, up); NaN where unknown
    scored: np.ndarray  # (N,) bool, truth known and inside the scored intervals
    relative_heading: bool = False  # the truth's heading counts only up to a constant
    align: tuple[float, float] | None = (
        None  # [s] stamps between which a relative heading is aligned, at rest
    )


def read_trial(path: str | Path, remap: Mapping[str, str] | None = None, truth: str | None = None) -> Trial:
    """The trial in a bag.

    Args:
        path: of the bag.
        remap: topic in the bag -> name it is read as.
        truth: topic of the true Odometry of the IMU.

    Raises:
        BagError, CdrError: cannot be read, or no IMU or no truth in it.
        TrialError: too few samples, or none with a true orientation.
    """
    truth = truth or TRUTH_TOPIC
    with BagReader(path, remap) as bag:
        bag.require({IMU_TOPIC: cdr.IMU, truth: cdr.ODOMETRY}, "--remap or --truth")
        bag.expect({MAG_TOPIC: cdr.MAG})
        imu, mags, odometry = decoded(
            bag, {IMU_TOPIC: cdr.decode_imu, MAG_TOPIC: cdr.decode_mag, truth: cdr.decode_odometry}
        )
        custom = bag.custom_data
    stamp, gyro, accel = columns(imu, "gyro", "accel")
    mag_stamp, mag = columns(mags, "field")
    if len(stamp) < 2:
        raise TrialError(f"{path} holds {len(stamp)} IMU samples")
    quaternion = _truth_at(stamp, odometry)
    known = np.isfinite(quaternion[:, 0])
    if not known.any():
        raise TrialError(
            f"{path}: none of the {len(stamp)} IMU samples is at, or within {MAX_TRUTH_GAP} s between two of, "
            f"the {len(odometry)} true orientations"
        )
    return Trial(
        name=Path(path).name,
        stamp=stamp,
        gyro=gyro,
        accel=accel,
        mag_stamp=mag_stamp,
        mag=mag,
        truth=quaternion,
        scored=known & scored(stamp, custom),
        relative_heading=custom.get("heading") == "relative",
        align=_interval(path, custom.get("align", "null")),
    )


def _interval(path: str | Path, text: str) -> tuple[float, float] | None:
    try:
        found = yaml.safe_load(text)
        return None if found is None else (float(found[0]), float(found[1]))
    except (yaml.YAMLError, TypeError, ValueError, LookupError):
        raise TrialError(f"{path} has align: {text!r} in its metadata; expected [begin, end] in s") from None


def _truth_at(stamp: np.ndarray, odometry: list[OdometryMessage]) -> np.ndarray:
    """(N, 4) x, y, z, w at stamps (N,) [s]; NaN where the truth does not reach."""
    found = np.full((len(stamp), 4), np.nan)
    true_stamp, quaternion = columns(
        [m for m in odometry if m.covariance[21:36:7].max() < UNKNOWN and m.quaternion.any()], "quaternion"
    )
    if len(true_stamp) < 2:
        return found
    use = reached(stamp, true_stamp, MAX_TRUTH_GAP)
    found[use] = Slerp(true_stamp, Rotation.from_quat(quaternion))(stamp[use]).as_quat()
    return found

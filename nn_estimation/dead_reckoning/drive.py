"""A drive: the IMU of a bag beside its truth, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import State, first_state
from nn_estimation.recorded import (
    IMU_TOPIC,
    TRUTH_TOPIC,
    UNKNOWN,
    columns,
    decoded,
    interpolated,
    reached,
    scored,
)

WHEEL_TOPIC = "wheel/twist"
MAX_TRUTH_GAP = 0.3  # [s] over which the truth is interpolated


class DriveError(ValueError):
    """A bag that dead reckoning cannot be trained or scored on; the message names what it lacks."""


@dataclass(frozen=True, slots=True)
class Drive:
    """N samples of an IMU, with the truth at their stamps."""

    name: str
    stamp: np.ndarray  # (N,) [s], increasing
    gyro: np.ndarray  # (N, 3) [rad/s], IMU frame
    accel: np.ndarray  # (N, 3) [m/s^2], +g up at rest
    R: np.ndarray  # (N, 3, 3) true, IMU to world
    position: np.ndarray  # (N, 3) [m], world
    velocity: np.ndarray  # (N, 3) [m/s], world
    scored: np.ndarray  # (N,) bool, where the truth counts
    latitude: float | None = None  # [rad]
    wheels: np.ndarray = field(
        default_factory=lambda: np.empty((0, 2))
    )  # (M, 2) stamp [s], forward speed [m/s]

    def start(self, constants: Constants, at: int = 0) -> State:
        """The true state at a sample."""
        return first_state(
            constants, self.stamp[at], self.position[at], self.R[at], self.velocity[at], self.gyro[at]
        )

    def cut(self, rows: slice, name: str) -> Drive:
        """A stretch of it."""
        columns = {f: getattr(self, f)[rows] for f in _COLUMNS}
        within = (self.wheels[:, 0] >= columns["stamp"][0]) & (self.wheels[:, 0] <= columns["stamp"][-1])
        return replace(self, name=name, wheels=self.wheels[within], **columns)

    def without_gaps(self, longest: float = 0.25) -> list[Drive]:
        """The stretches between gaps of the IMU, but for single samples."""
        edges = [0, *(np.flatnonzero(np.diff(self.stamp) > longest) + 1), len(self.stamp)]
        return [self.cut(slice(a, b), f"{self.name}[{a}:{b}]") for a, b in pairwise(edges) if b - a > 1]


_COLUMNS = ("stamp", "gyro", "accel", "R", "position", "velocity", "scored")


def read_drive(path: str | Path, remap: Mapping[str, str] | None = None, truth: str | None = None) -> Drive:
    """The drive in a bag.

    Args:
        path: of the bag.
        remap: topic in the bag -> name it is read as.
        truth: topic of the true Odometry of the IMU.

    Raises:
        BagError, CdrError: cannot be read, or no IMU or no truth in it.
        DriveError: too few of either.
    """
    truth = truth or TRUTH_TOPIC
    with BagReader(path, remap) as bag:
        bag.require({IMU_TOPIC: cdr.IMU, truth: cdr.ODOMETRY}, "--remap or --truth")
        bag.expect({WHEEL_TOPIC: cdr.TWIST_COVARIANCE})
        imu, odometry, wheels = decoded(
            bag,
            {
                IMU_TOPIC: cdr.decode_imu,
                truth: cdr.decode_odometry,
                WHEEL_TOPIC: cdr.decode_twist_covariance,
            },
        )
        custom = bag.custom_data
    stamp, gyro, accel = columns(imu, "gyro", "accel")
    true_stamp, position, quaternion, velocity, known = columns(
        odometry, "position", "quaternion", "velocity", "velocity_covariance"
    )
    if len(stamp) < 2 or len(true_stamp) < 2:
        raise DriveError(f"{path} holds {len(stamp)} IMU samples and {len(true_stamp)} true poses")
    use = (stamp >= true_stamp[0]) & (stamp <= true_stamp[-1])
    stamp, gyro, accel = stamp[use], gyro[use], accel[use]
    turn = Slerp(true_stamp, Rotation.from_quat(quaternion))(stamp)
    world = Rotation.from_quat(quaternion).apply(velocity)
    if known[:, 0].max() > UNKNOWN:
        world = np.gradient(position, true_stamp, axis=0)
    latitude = float(np.radians(float(custom["latitude_deg"]))) if "latitude_deg" in custom else None
    position, world = (interpolated(stamp, true_stamp, values) for values in (position, world))
    wheel_stamp, wheel_velocity = columns(wheels, "velocity")
    return Drive(
        Path(path).name,
        stamp,
        gyro,
        accel,
        turn.as_matrix(),
        position,
        world,
        reached(stamp, true_stamp, MAX_TRUTH_GAP) & scored(stamp, custom),
        latitude,
        np.column_stack([wheel_stamp, wheel_velocity[:, 0]]) if wheels else np.empty((0, 2)),
    )

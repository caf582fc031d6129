"""From messages of pose, velocity and place to what the filter takes, with covariances that can be trusted."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation import cdr
from nn_estimation.dead_reckoning.linearised import POSITION, ROTATION, VELOCITY
from nn_estimation.dead_reckoning.measurements import Aid, Known, Speed
from nn_estimation.geodesy import LocalFrame
from nn_estimation.imu_stream import UnusableError

UNKNOWN = 1e5  # variance from which on a value counts as not given
FLOOR = 1e-6  # of a variance, in its own unit squared
# Standard deviations where a source gives none (zeros, REP-103): position [m], rotation [rad], velocity [m/s].
POSITION_STD, ROTATION_STD, VELOCITY_STD = 1.0, 0.05, 0.3
FIX_STD = 3.0  # [m] of a fix that gives none


class SourceError(UnusableError):
    """A message that says nothing usable; the message names the reason."""


def of_odometry(message: cdr.OdometryMessage) -> Aid:
    """Pose and velocity of the IMU in a nav_msgs/Odometry.

    Raises:
        SourceError: not finite, no rotation, or nothing given.
    """
    return _posed(message, message.velocity, message.velocity_covariance)


def of_pose(message: cdr.PoseCovarianceMessage) -> Aid:
    """Pose of the IMU in a geometry_msgs/PoseWithCovarianceStamped.

    Raises:
        SourceError: not finite, no rotation, or nothing given.
    """
    return _posed(message, _NOTHING, _UNKNOWN)


def of_fix(message: cdr.FixMessage, frame: LocalFrame, antenna: np.ndarray) -> Aid:
    """Position of an antenna in a sensor_msgs/NavSatFix.

    Args:
        message: with a fix.
        frame: whose east, north, up are the world.
        antenna: (3,) [m] from the IMU, IMU frame.

    Raises:
        SourceError: no fix, or not finite.
    """
    if message.status < 0:
        raise SourceError("no fix")
    if not np.isfinite(message.place).all() or abs(message.place[0]) > 90.0:
        raise SourceError("invalid place")
    latitude, longitude = np.radians(message.place[:2])
    covariance = np.where(message.covariance_type > 0, message.covariance.reshape(3, 3), 0.0)
    known = _known(frame.position(latitude, longitude, message.place[2]), covariance, FIX_STD)
    if known is None:
        raise SourceError("unknown place")
    return Aid(message.stamp_ns * 1e-9, known, stated=bool(covariance.any()), arm=antenna)


def of_velocity(message: cdr.TwistCovarianceMessage, antenna: np.ndarray) -> Aid:
    """Velocity east, north, up of an antenna in a geometry_msgs/TwistWithCovarianceStamped.

    Raises:
        SourceError: not finite, or not given.
    """
    covariance = message.covariance.reshape(6, 6)[:3, :3]
    known = _known(message.velocity, covariance, VELOCITY_STD)
    if known is None:
        raise SourceError("unknown velocity")
    return Aid(message.stamp_ns * 1e-9, world_velocity=known, stated=bool(covariance.any()), arm=antenna)


def of_wheels(message: cdr.TwistCovarianceMessage) -> Speed:
    """Forward speed in a geometry_msgs/TwistWithCovarianceStamped of the vehicle.

    Raises:
        SourceError: not finite, or not given.
    """
    speed, variance = float(message.velocity[0]), float(message.covariance[0])
    if not (math.isfinite(speed) and math.isfinite(variance)):
        raise SourceError("invalid speed")
    if not 0.0 <= variance < UNKNOWN:
        raise SourceError("unknown speed")
    return Speed(message.stamp_ns * 1e-9, speed, variance)


def _posed(
    message: cdr.OdometryMessage | cdr.PoseCovarianceMessage,
    velocity: np.ndarray,
    velocity_covariance: np.ndarray,
) -> Aid:
    aid = Aid(message.stamp_ns * 1e-9)
    pose = message.position, message.quaternion, message.covariance
    moving = velocity, velocity_covariance
    problem, aid.stated = _sound_pose(*(*pose, *moving, _STDS, aid.given, aid.said, aid.R))
    if problem:
        raise SourceError(_PROBLEMS[problem])
    return aid


def _known(value: np.ndarray, covariance: np.ndarray, std: float) -> Known | None:
    """None where it is flagged unknown; a covariance that is none is made one."""
    sound = np.empty((3, 3))
    found = _sound(value, np.ascontiguousarray(covariance), std, sound)
    if found == _INVALID:
        raise SourceError("invalid number")
    return None if found == _NOT_GIVEN else Known(value, sound)


_GIVEN, _NOT_GIVEN, _INVALID = range(3)
_NOTHING, _UNKNOWN = np.zeros(3), np.full(36, UNKNOWN)
_STDS = np.array([POSITION_STD, ROTATION_STD, VELOCITY_STD])
_PROBLEMS = "", "invalid number", "invalid rotation", "unknown pose and velocity"


@njit(cache=True)
def _sound_pose(  # type: ignore[no-untyped-def]
    position, quaternion, pose, velocity, twist, stds, given, said, R
):
    """What an `Aid` says, into its given, said and R; covariances (36,) of pose and twist as ROS has them.

    Returns:
        Index into _PROBLEMS, and whether the pose has a covariance of its own.
    """
    if not _matrix_of(quaternion, R):
        return 2, False
    pose, twist = pose.reshape(6, 6), twist.reshape(6, 6)
    for kind, value, covariance, std in (
        (POSITION, position, pose[:3, :3], stds[0]),
        (ROTATION, np.zeros(3), pose[3:, 3:], stds[1]),
        (VELOCITY, velocity, twist[:3, :3], stds[2]),
    ):
        said[kind, 0] = value
        found = _sound(value, covariance, std, said[kind, 1:])
        if found == _INVALID:
            return 1, False
        given[kind] = found == _GIVEN
    return (0 if given.any() else 3), bool(pose.any())


@njit(cache=True)
def _sound(value, covariance, std, out):  # type: ignore[no-untyped-def]
    """A covariance (3, 3) that can be trusted, into out (3, 3): of `std` where it is zeros, else at least `FLOOR`.

    Returns:
        _GIVEN, _NOT_GIVEN where it is flagged unknown, or _INVALID: no numbers, or no covariance by far.
    """
    if not (np.isfinite(value).all() and np.isfinite(covariance).all()):
        return _INVALID
    if max(covariance[0, 0], covariance[1, 1], covariance[2, 2]) >= UNKNOWN or covariance[0, 0] < 0.0:
        return _NOT_GIVEN
    if _contradicts(covariance):
        return _INVALID
    out[:] = 0.0
    if not covariance.any():
        for i in range(3):
            out[i, i] = std * std
        return _GIVEN
    if np.count_nonzero(covariance) == np.count_nonzero(np.diag(covariance)):
        for i in range(3):
            out[i, i] = max(covariance[i, i], FLOOR)
        return _GIVEN
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    for n in range(3):
        least = max(values[n], FLOOR)
        for i in range(3):
            for j in range(3):
                out[i, j] += vectors[i, n] * least * vectors[j, n]
    return _GIVEN


@njit(cache=True)
def _contradicts(covariance):  # type: ignore[no-untyped-def]
    """Whether two of three values are said to vary together more than each of them does."""
    for i in range(3):
        for j in range(3):
            together = max(covariance[i, i], FLOOR) * max(covariance[j, j], FLOOR)
            if i != j and abs(covariance[i, j]) > math.sqrt(together) * (1.0 + 1e-6):
                return True
    return False


@njit(cache=True)
def _matrix_of(quaternion, out):  # type: ignore[no-untyped-def]
    """The rotation of x, y, z, w, normalised, into out (3, 3); False where it is none."""
    size = math.sqrt(np.sum(quaternion * quaternion))
    if not abs(size - 1.0) < 0.01:
        return False
    x, y, z, w = quaternion[0] / size, quaternion[1] / size, quaternion[2] / size, quaternion[3] / size
    out[0, 0] = 1.0 - 2.0 * (y * y + z * z)
    out[1, 1] = 1.0 - 2.0 * (x * x + z * z)
    out[2, 2] = 1.0 - 2.0 * (x * x + y * y)
    out[0, 1], out[1, 0] = 2.0 * (x * y - z * w), 2.0 * (x * y + z * w)
    out[0, 2], out[2, 0] = 2.0 * (x * z + y * w), 2.0 * (x * z - y * w)
    out[1, 2], out[2, 1] = 2.0 * (y * z - x * w), 2.0 * (y * z + x * w)
    return True

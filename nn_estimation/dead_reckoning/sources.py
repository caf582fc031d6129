"""From messages of pose, velocity and place to what the filter takes, with covariances that can be trusted."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation import cdr
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
    pose, twist = _matrix(message.covariance), _matrix(message.velocity_covariance)
    velocity = _known(message.velocity, twist[:3, :3], VELOCITY_STD)
    return _posed(message.stamp_ns, message.position, message.quaternion, pose, velocity)


def of_pose(message: cdr.PoseCovarianceMessage) -> Aid:
    """Pose of the IMU in a geometry_msgs/PoseWithCovarianceStamped.

    Raises:
        SourceError: not finite, no rotation, or nothing given.
    """
    return _posed(message.stamp_ns, message.position, message.quaternion, _matrix(message.covariance), None)


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
    covariance = message.covariance.reshape(3, 3) * (message.covariance_type > 0)
    known = _known(frame.position(latitude, longitude, message.place[2]), covariance, FIX_STD)
    if known is None:
        raise SourceError("unknown place")
    return Aid(message.stamp_ns * 1e-9, known, stated=bool(covariance.any()), arm=antenna)


def of_velocity(message: cdr.TwistCovarianceMessage, antenna: np.ndarray) -> Aid:
    """Velocity east, north, up of an antenna in a geometry_msgs/TwistWithCovarianceStamped.

    Raises:
        SourceError: not finite, or not given.
    """
    covariance = _matrix(message.covariance)[:3, :3]
    known = _known(message.velocity, covariance, VELOCITY_STD)
    if known is None:
        raise SourceError("unknown velocity")
    return Aid(message.stamp_ns * 1e-9, world_velocity=known, stated=bool(covariance.any()), arm=antenna)


def of_wheels(message: cdr.TwistCovarianceMessage) -> Speed:
    """Forward speed in a geometry_msgs/TwistWithCovarianceStamped of the vehicle.

    Raises:
        SourceError: not finite.
    """
    speed, variance = float(message.velocity[0]), float(message.covariance[0])
    if not (math.isfinite(speed) and math.isfinite(variance)):
        raise SourceError("invalid speed")
    return Speed(message.stamp_ns * 1e-9, speed, max(variance, 0.0))


def _posed(
    stamp_ns: int,
    position: np.ndarray,
    quaternion: np.ndarray,
    covariance: np.ndarray,
    velocity: Known | None,
) -> Aid:
    R = np.empty((3, 3))
    if not _matrix_of(quaternion, R):
        raise SourceError("invalid rotation")
    rotation = _known(np.zeros(3), covariance[3:, 3:], ROTATION_STD)
    place = _known(position, covariance[:3, :3], POSITION_STD)
    if place is None and rotation is None and velocity is None:
        raise SourceError("unknown pose and velocity")
    return Aid(
        stamp_ns * 1e-9,
        place,
        None if rotation is None else R,
        None if rotation is None else rotation.covariance,
        velocity,
        stated=bool(covariance.any()),
    )


def _known(value: np.ndarray, covariance: np.ndarray, std: float) -> Known | None:
    """None where it is flagged unknown; a covariance that is none is made one."""
    sound = np.empty((3, 3))
    found = _sound(value, np.ascontiguousarray(covariance), std, sound)
    if found == _INVALID:
        raise SourceError("invalid number")
    return None if found == _NOT_GIVEN else Known(value, sound)


def _matrix(covariance: np.ndarray) -> np.ndarray:
    return np.asarray(covariance).reshape(6, 6)


_GIVEN, _NOT_GIVEN, _INVALID = range(3)


@njit(cache=True)
def _sound(value, covariance, std, out):  # type: ignore[no-untyped-def]
    """A covariance (3, 3) that can be trusted, into out (3, 3): of `std` where it is zeros, else at least `FLOOR`.

    Returns:
        _GIVEN, _NOT_GIVEN where it is flagged unknown, or _INVALID.
    """
    if not (np.isfinite(value).all() and np.isfinite(covariance).all()):
        return _INVALID
    if max(covariance[0, 0], covariance[1, 1], covariance[2, 2]) >= UNKNOWN or covariance[0, 0] < 0.0:
        return _NOT_GIVEN
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

"""The values that messages of this package carry, as `cdr` decodes them from bytes and encodes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class RangeMessage:
    """sensor_msgs/Range."""

    stamp_ns: int
    frame_id: str
    range: float  # [m]
    variance: float  # [m^2], 0 unknown
    field_of_view: float = 0.0  # [rad]
    min_range: float = 0.0  # [m]
    max_range: float = 0.0  # [m]


@dataclass(frozen=True, slots=True)
class Vector3Message:
    """geometry_msgs/Vector3Stamped."""

    stamp_ns: int
    frame_id: str
    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class ImuMessage:
    """sensor_msgs/Imu, REP-145."""

    stamp_ns: int
    frame_id: str
    gyro: np.ndarray  # (3,) [rad/s]
    accel: np.ndarray  # (3,) [m/s^2]
    orientation: np.ndarray  # (4,) x, y, z, w
    orientation_covariance: np.ndarray  # (9,); first entry -1: no orientation
    gyro_covariance: np.ndarray  # (9,)
    accel_covariance: np.ndarray  # (9,)


@dataclass(frozen=True, slots=True)
class MagneticFieldMessage:
    """sensor_msgs/MagneticField."""

    stamp_ns: int
    frame_id: str
    field: np.ndarray  # (3,) [T]
    covariance: np.ndarray  # (9,) [T^2]; zeros: unknown


@dataclass(frozen=True, slots=True)
class OdometryMessage:
    """nav_msgs/Odometry; velocities in the child frame."""

    stamp_ns: int
    frame_id: str
    child_frame_id: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) x, y, z, w
    covariance: np.ndarray  # (36,)
    velocity: np.ndarray  # (3,) [m/s]
    angular_velocity: np.ndarray  # (3,) [rad/s]
    velocity_covariance: np.ndarray  # (36,)


@dataclass(frozen=True, slots=True)
class PoseMessage:
    """geometry_msgs/PoseStamped."""

    stamp_ns: int
    frame_id: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) x, y, z, w


@dataclass(frozen=True, slots=True)
class PoseCovarianceMessage:
    """geometry_msgs/PoseWithCovarianceStamped."""

    stamp_ns: int
    frame_id: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) x, y, z, w
    covariance: np.ndarray  # (36,)


@dataclass(frozen=True, slots=True)
class TwistCovarianceMessage:
    """geometry_msgs/TwistWithCovarianceStamped."""

    stamp_ns: int
    frame_id: str
    velocity: np.ndarray  # (3,) [m/s]
    angular_velocity: np.ndarray  # (3,) [rad/s]
    covariance: np.ndarray  # (36,)


@dataclass(frozen=True, slots=True)
class FixMessage:
    """sensor_msgs/NavSatFix."""

    stamp_ns: int
    frame_id: str
    status: int  # below 0: no fix
    place: np.ndarray  # (3,) latitude, longitude [deg], altitude above the ellipsoid [m]
    covariance: np.ndarray  # (9,) [m^2] east, north, up
    covariance_type: int  # 0: unknown

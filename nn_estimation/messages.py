"""The values that messages of this package carry, as `cdr` decodes them from bytes and encodes them.

They are tuples with names: those of an IMU come a thousand times a second, and a frozen dataclass takes 1 us more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GYRO, ACCEL = 13, 25  # where they begin in the values of an ImuMessage
LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
NONE, UNKNOWN = np.array([-1.0, *[0.0] * 8]), np.zeros(9)  # covariances, of nothing and of something


class RangeMessage(NamedTuple):
    """sensor_msgs/Range."""

    stamp_ns: int
    frame_id: str
    range: float  # [m]
    variance: float  # [m^2], 0 unknown
    field_of_view: float = 0.0  # [rad]
    min_range: float = 0.0  # [m]
    max_range: float = 0.0  # [m]


class Vector3Message(NamedTuple):
    """geometry_msgs/Vector3Stamped."""

    stamp_ns: int
    frame_id: str
    x: float
    y: float
    z: float


class ImuMessage(NamedTuple):
    """sensor_msgs/Imu, REP-145."""

    stamp_ns: int
    frame_id: str
    values: np.ndarray  # (37,) in the order of the message, of which the properties are parts

    @classmethod
    def of(
        cls,
        stamp_ns: int,
        frame_id: str,
        gyro: np.ndarray,
        accel: np.ndarray,
        gyro_covariance: np.ndarray = UNKNOWN,
        accel_covariance: np.ndarray = UNKNOWN,
        orientation: np.ndarray = LEVEL,
        orientation_covariance: np.ndarray = NONE,
    ) -> ImuMessage:
        """Of its parts, see the properties; by default without an orientation."""
        parts = orientation, orientation_covariance, gyro, gyro_covariance, accel, accel_covariance
        return cls(stamp_ns, frame_id, np.concatenate(parts, dtype=np.float64))

    @property
    def orientation(self) -> np.ndarray:
        """(4,) x, y, z, w."""
        return self.values[:4]

    @property
    def orientation_covariance(self) -> np.ndarray:
        """(9,); first entry -1: no orientation."""
        return self.values[4:13]

    @property
    def gyro(self) -> np.ndarray:
        """(3,) [rad/s]."""
        return self.values[GYRO : GYRO + 3]

    @property
    def gyro_covariance(self) -> np.ndarray:
        """(9,)."""
        return self.values[16:25]

    @property
    def accel(self) -> np.ndarray:
        """(3,) [m/s^2]."""
        return self.values[ACCEL : ACCEL + 3]

    @property
    def accel_covariance(self) -> np.ndarray:
        """(9,)."""
        return self.values[28:]


class MagneticFieldMessage(NamedTuple):
    """sensor_msgs/MagneticField."""

    stamp_ns: int
    frame_id: str
    field: np.ndarray  # (3,) [T]
    covariance: np.ndarray  # (9,) [T^2]; zeros: unknown


class OdometryMessage(NamedTuple):
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


class PoseMessage(NamedTuple):
    """geometry_msgs/PoseStamped."""

    stamp_ns: int
    frame_id: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) x, y, z, w


class PoseCovarianceMessage(NamedTuple):
    """geometry_msgs/PoseWithCovarianceStamped."""

    stamp_ns: int
    frame_id: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) x, y, z, w
    covariance: np.ndarray  # (36,)


class TwistCovarianceMessage(NamedTuple):
    """geometry_msgs/TwistWithCovarianceStamped."""

    stamp_ns: int
    frame_id: str
    velocity: np.ndarray  # (3,) [m/s]
    angular_velocity: np.ndarray  # (3,) [rad/s]
    covariance: np.ndarray  # (36,)


class FixMessage(NamedTuple):
    """sensor_msgs/NavSatFix."""

    stamp_ns: int
    frame_id: str
    status: int  # below 0: no fix
    place: np.ndarray  # (3,) latitude, longitude [deg], altitude above the ellipsoid [m]
    covariance: np.ndarray  # (9,) [m^2] east, north, up
    covariance_type: int  # 0: unknown

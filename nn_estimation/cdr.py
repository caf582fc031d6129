"""The messages of this package to values and back, straight from their CDR bytes.

Nodes subscribe raw and the replay reads raw: both decode here, in a few microseconds, without rclpy. Layout: OMG
DDS-XTYPES plain CDR, little or big endian, after a 4 byte encapsulation header; alignment counts from behind it.
"""

from __future__ import annotations

import struct
import sys
from functools import lru_cache

import numpy as np

from nn_estimation.messages import (
    FixMessage,
    ImuMessage,
    MagneticFieldMessage,
    OdometryMessage,
    PoseCovarianceMessage,
    PoseMessage,
    RangeMessage,
    TwistCovarianceMessage,
    Vector3Message,
)

RANGE = "sensor_msgs/msg/Range"
VECTOR3 = "geometry_msgs/msg/Vector3Stamped"
IMU = "sensor_msgs/msg/Imu"
MAG = "sensor_msgs/msg/MagneticField"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE = "geometry_msgs/msg/PoseStamped"
POSE_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
TWIST_COVARIANCE = "geometry_msgs/msg/TwistWithCovarianceStamped"
FIX = "sensor_msgs/msg/NavSatFix"
CLOCK = "rosgraph_msgs/msg/Clock"

_HEADER = b"\x00\x01\x00\x00"
_UWB_RADIATION = 1  # sensor_msgs/Range knows ultrasound 0 and infrared 1; no constant for radio
_GPS = 1  # NavSatStatus.SERVICE_GPS
_ENDIAN = {b"\x00\x00": ">", b"\x00\x01": "<"}
_STAMP = {e: struct.Struct(f"{e}4xiII") for e in "<>"}  # behind the encapsulation header, with a size
_SECONDS = {e: struct.Struct(f"{e}4xiI") for e in "<>"}
_TIME = struct.Struct("<iI")
_RANGE = {e: struct.Struct(f"{e}fffff") for e in "<>"}
_FLOAT = {e: np.dtype(f"{e}f8") for e in "<>"}
_AS_BYTES = np.dtype(np.float64) if sys.byteorder == "little" else None  # of arrays that are CDR as they lie


class CdrError(ValueError):
    """Bytes that are not the message they should be."""


def _begin(cdr: bytes) -> tuple[str, int, int, int]:
    """Endianness, stamp [ns], and where the frame_id begins and ends (without its zero)."""
    endian = _ENDIAN.get(bytes(cdr[:2]))
    if endian is None or len(cdr) < 16:
        raise CdrError(f"{len(cdr)} bytes are no CDR message with a header")
    seconds, nanoseconds, size = _STAMP[endian].unpack_from(cdr)
    if size < 1 or 16 + size > len(cdr):
        raise CdrError(f"frame_id of {size} bytes in a message of {len(cdr)}")
    return endian, seconds * 1_000_000_000 + nanoseconds, 16, 16 + size - 1


def stamp_ns(cdr: bytes) -> int:
    """The stamp [ns] of any message that begins with a header.

    Raises:
        CdrError: it does not.
    """
    return _begin(cdr)[1]


def _text(cdr: bytes, start: int, end: int) -> str:
    try:
        return str(cdr[start:end], "utf-8")
    except UnicodeDecodeError as error:
        raise CdrError(f"frame_id is not UTF-8: {error}") from error


def _align(offset: int, size: int) -> int:
    return 4 + -(-(offset - 4) // size) * size


def _array(cdr: bytes, endian: str, offset: int, count: int) -> np.ndarray:
    try:
        return np.frombuffer(cdr, _FLOAT[endian], count, offset).astype(np.float64)  # aligned and writable
    except ValueError:
        raise CdrError(f"message ends after {len(cdr)} bytes, {offset + 8 * count} are needed") from None


def _doubles(cdr: bytes, count: int) -> tuple[int, str, np.ndarray]:
    """Stamp [ns], frame_id, and (count,) values of a message that is a header and doubles."""
    offset = len(cdr) - 8 * count
    known = _known_head(b"".join((cdr[:4], cdr[12:offset]))) if offset > 16 else None
    if known is None:
        endian, stamp, start, end = _begin(cdr)
        return stamp, _text(cdr, start, end), _array(cdr, endian, _align(end + 1, 8), count)
    seconds, kind, frame_id = known
    s, ns = seconds.unpack_from(cdr)
    return s * 1_000_000_000 + ns, frame_id, np.frombuffer(cdr, kind, count, offset).astype(np.float64)


@lru_cache(maxsize=256)
def _known_head(head: bytes) -> tuple[struct.Struct, np.dtype, str] | None:
    """How to read a message whose head is this, but for the stamp; None where it must be looked at closely."""
    try:
        endian, _, start, end = _begin(head[:4] + bytes(8) + head[4:])
        frame_id = _text(head, start - 8, end - 8)
    except CdrError:
        return None
    return (_SECONDS[endian], _FLOAT[endian], frame_id) if len(head) == _align(end + 1, 8) - 8 else None


def _head(stamp_ns: int, frame_id: str) -> bytearray:
    text = frame_id.encode() + b"\0"
    out = bytearray(_HEADER)
    out += struct.pack("<iII", stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000, len(text)) + text
    return out


@lru_cache(maxsize=256)
def _frame_of_doubles(frame_id: str) -> bytes:
    """The frame_id in a header, padded to where doubles begin."""
    out = _head(0, frame_id)
    _pad(out, 8)
    return bytes(out[12:])


def _pad(out: bytearray, size: int) -> None:
    out += bytes(_align(len(out), size) - len(out))


def _range_at(cdr: bytes, end: int) -> tuple[int, bool]:
    """Offset of the five floats, and whether the variance is there (Humble has four)."""
    offset = _align(end + 1 + 1, 4)
    if offset + 16 > len(cdr):
        raise CdrError(f"Range ends after {len(cdr)} bytes")
    return offset, offset + 20 <= len(cdr)


def decode_range(cdr: bytes) -> RangeMessage:
    """sensor_msgs/Range; variance 0 where the message has none.

    Raises:
        CdrError: too short or malformed.
    """
    endian, stamp, start, end = _begin(cdr)
    offset, has_variance = _range_at(cdr, end)
    if has_variance:
        fov, low, high, value, variance = _RANGE[endian].unpack_from(cdr, offset)
    else:
        fov, low, high, value = struct.unpack_from(f"{endian}ffff", cdr, offset)
        variance = 0.0
    return RangeMessage(stamp, _text(cdr, start, end), value, variance, fov, low, high)


def encode_range(message: RangeMessage) -> bytes:
    """CDR bytes of a sensor_msgs/Range."""
    out = _head(message.stamp_ns, message.frame_id)
    out.append(_UWB_RADIATION)
    _pad(out, 4)
    out += struct.pack(
        "<fffff",
        message.field_of_view,
        message.min_range,
        message.max_range,
        message.range,
        message.variance,
    )
    return bytes(out)


def patch_range(cdr: bytes, value: float, variance: float) -> bytes:
    """The same Range message, header untouched, with another range [m] and variance [m^2].

    Raises:
        CdrError: not a Range.
    """
    endian, _, _, end = _begin(cdr)
    offset, _ = _range_at(cdr, end)
    return b"".join((cdr[: offset + 12], struct.pack(f"{endian}ff", value, variance)))


def present_range(cdr: bytes) -> bytes:
    """The same Range message, with variance 0 where it has none (Humble).

    Raises:
        CdrError: not a Range.
    """
    offset, has_variance = _range_at(cdr, _begin(cdr)[3])
    return cdr if has_variance else cdr[: offset + 16] + bytes(4)


def decode_vector3(cdr: bytes) -> Vector3Message:
    """geometry_msgs/Vector3Stamped.

    Raises:
        CdrError: too short or malformed.
    """
    stamp, frame_id, v = _doubles(cdr, 3)
    return Vector3Message(stamp, frame_id, *v.tolist())


def encode_vector3(message: Vector3Message) -> bytes:
    """CDR bytes of a geometry_msgs/Vector3Stamped."""
    time = _TIME.pack(*divmod(message.stamp_ns, 1_000_000_000))
    frame = _frame_of_doubles(message.frame_id)
    return b"".join((_HEADER, time, frame, struct.pack("<3d", message.x, message.y, message.z)))


def decode_imu(cdr: bytes) -> ImuMessage:
    """sensor_msgs/Imu.

    Raises:
        CdrError: too short or malformed.
    """
    return ImuMessage(*_doubles(cdr, 37))


def encode_imu(message: ImuMessage) -> bytes:
    """CDR bytes of a sensor_msgs/Imu."""
    return _stamped(message, message.values)


def decode_mag(cdr: bytes) -> MagneticFieldMessage:
    """sensor_msgs/MagneticField.

    Raises:
        CdrError: too short or malformed.
    """
    stamp, frame_id, v = _doubles(cdr, 12)
    return MagneticFieldMessage(stamp, frame_id, v[:3], v[3:])


def encode_mag(message: MagneticFieldMessage) -> bytes:
    """CDR bytes of a sensor_msgs/MagneticField."""
    return _stamped(message, message.field, message.covariance)


def decode_odometry(cdr: bytes) -> OdometryMessage:
    """nav_msgs/Odometry.

    Raises:
        CdrError: too short or malformed.
    """
    endian, stamp, start, end = _begin(cdr)
    at = _align(end + 1, 4)
    if at + 4 > len(cdr):
        raise CdrError(f"Odometry ends after {len(cdr)} bytes")
    (size,) = struct.unpack_from(f"{endian}I", cdr, at)
    if size < 1 or at + 4 + size > len(cdr):
        raise CdrError(f"child_frame_id of {size} bytes in a message of {len(cdr)}")
    v = _array(cdr, endian, _align(at + 4 + size, 8), 85)
    child = _text(cdr, at + 4, at + 3 + size)
    return OdometryMessage(
        stamp, _text(cdr, start, end), child, v[:3], v[3:7], v[7:43], v[43:46], v[46:49], v[49:85]
    )


def encode_odometry(message: OdometryMessage) -> bytes:
    """CDR bytes of a nav_msgs/Odometry."""
    stamp_ns, frame_id, child_frame_id, *parts = message
    values = np.concatenate([np.ravel(part) for part in parts], dtype=np.float64)
    return encode_odometry_values(stamp_ns, frame_id, child_frame_id, values)


def encode_odometry_values(stamp_ns: int, frame_id: str, child_frame_id: str, values: np.ndarray) -> bytes:
    """CDR bytes of a nav_msgs/Odometry; values (85,) float64 are those of `OdometryMessage` one after the other."""
    head = (
        _HEADER + _TIME.pack(*divmod(stamp_ns, 1_000_000_000)) + _frames_of_odometry(frame_id, child_frame_id)
    )
    return head + values.astype(_FLOAT["<"], copy=False).tobytes()


@lru_cache(maxsize=256)
def _frames_of_odometry(frame_id: str, child_frame_id: str) -> bytes:
    out = _head(0, frame_id)
    _pad(out, 4)
    child = child_frame_id.encode() + b"\0"
    out += struct.pack("<I", len(child)) + child
    _pad(out, 8)
    return bytes(out[12:])


def decode_pose(cdr: bytes) -> PoseMessage:
    """geometry_msgs/PoseStamped.

    Raises:
        CdrError: too short or malformed.
    """
    stamp, frame_id, v = _doubles(cdr, 7)
    return PoseMessage(stamp, frame_id, v[:3], v[3:7])


def encode_pose(message: PoseMessage) -> bytes:
    """CDR bytes of a geometry_msgs/PoseStamped."""
    return _stamped(message, message.position, message.quaternion)


def decode_pose_covariance(cdr: bytes) -> PoseCovarianceMessage:
    """geometry_msgs/PoseWithCovarianceStamped.

    Raises:
        CdrError: too short or malformed.
    """
    stamp, frame_id, v = _doubles(cdr, 43)
    return PoseCovarianceMessage(stamp, frame_id, v[:3], v[3:7], v[7:])


def encode_pose_covariance(message: PoseCovarianceMessage) -> bytes:
    """CDR bytes of a geometry_msgs/PoseWithCovarianceStamped."""
    return _stamped(message, message.position, message.quaternion, message.covariance)


def decode_twist_covariance(cdr: bytes) -> TwistCovarianceMessage:
    """geometry_msgs/TwistWithCovarianceStamped.

    Raises:
        CdrError: too short or malformed.
    """
    stamp, frame_id, v = _doubles(cdr, 42)
    return TwistCovarianceMessage(stamp, frame_id, v[:3], v[3:6], v[6:])


def encode_twist_covariance(message: TwistCovarianceMessage) -> bytes:
    """CDR bytes of a geometry_msgs/TwistWithCovarianceStamped."""
    return _stamped(message, message.velocity, message.angular_velocity, message.covariance)


def decode_fix(cdr: bytes) -> FixMessage:
    """sensor_msgs/NavSatFix.

    Raises:
        CdrError: too short or malformed.
    """
    endian, stamp, start, end = _begin(cdr)
    at = _align(_align(end + 2, 2) + 2, 8)
    v = _array(cdr, endian, at, 12)
    if at + 97 > len(cdr):
        raise CdrError(f"NavSatFix ends after {len(cdr)} bytes")
    (status,) = struct.unpack_from("b", cdr, end + 1)
    return FixMessage(stamp, _text(cdr, start, end), status, v[:3], v[3:], cdr[at + 96])


def encode_fix(message: FixMessage) -> bytes:
    """CDR bytes of a sensor_msgs/NavSatFix."""
    out = _head(message.stamp_ns, message.frame_id)
    out += struct.pack("b", message.status)
    _pad(out, 2)
    out += struct.pack("<H", _GPS)
    _pad(out, 8)
    out += np.asarray(message.place, dtype="<f8").tobytes()
    out += np.asarray(message.covariance, dtype="<f8").tobytes()
    out.append(message.covariance_type)
    return bytes(out)


def _stamped(
    message: ImuMessage | MagneticFieldMessage | PoseMessage | PoseCovarianceMessage | TwistCovarianceMessage,
    *parts: np.ndarray,
) -> bytes:
    time = _TIME.pack(*divmod(message.stamp_ns, 1_000_000_000))
    return b"".join((_HEADER, time, _frame_of_doubles(message.frame_id), *map(_as_bytes, parts)))


def _as_bytes(part: np.ndarray) -> bytes:
    if part.dtype is _AS_BYTES and part.flags.c_contiguous:
        return part.data  # type: ignore[return-value]  # a buffer
    return part.astype(_FLOAT["<"]).tobytes()


def encode_clock(stamp_ns: int) -> bytes:
    """CDR bytes of a rosgraph_msgs/Clock."""
    return _HEADER + _TIME.pack(*divmod(stamp_ns, 1_000_000_000))


def decode_clock(cdr: bytes) -> int:
    """Stamp [ns] of a rosgraph_msgs/Clock.

    Raises:
        CdrError: too short.
    """
    endian = _ENDIAN.get(bytes(cdr[:2]))
    if endian is None or len(cdr) < 12:
        raise CdrError(f"{len(cdr)} bytes are no Clock")
    seconds, nanoseconds = struct.unpack_from(f"{endian}iI", cdr, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)

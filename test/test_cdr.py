"""The codec of the project's messages, against rosbags and against rclpy."""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from nn_estimation import cdr

STORE = get_typestore(Stores.ROS2_KILTED)
stamps = st.integers(0, 2**31 * 10**9 - 1)
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
floats32 = st.floats(width=32)
doubles = st.floats()


def arrays(size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(doubles, min_size=size, max_size=size).map(np.array)


MESSAGES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    cdr.RANGE: (
        st.builds(cdr.RangeMessage, stamps, names, *[floats32] * 5),
        cdr.encode_range,
        cdr.decode_range,
    ),
    cdr.VECTOR3: (
        st.builds(cdr.Vector3Message, stamps, names, *[doubles] * 3),
        cdr.encode_vector3,
        cdr.decode_vector3,
    ),
    cdr.IMU: (
        st.builds(cdr.ImuMessage.of, stamps, names, *map(arrays, (3, 3, 9, 9, 4, 9))),
        cdr.encode_imu,
        cdr.decode_imu,
    ),
    cdr.MAG: (
        st.builds(cdr.MagneticFieldMessage, stamps, names, *map(arrays, (3, 9))),
        cdr.encode_mag,
        cdr.decode_mag,
    ),
    cdr.ODOMETRY: (
        st.builds(cdr.OdometryMessage, stamps, names, names, *map(arrays, (3, 4, 36, 3, 3, 36))),
        cdr.encode_odometry,
        cdr.decode_odometry,
    ),
    cdr.POSE: (
        st.builds(cdr.PoseMessage, stamps, names, *map(arrays, (3, 4))),
        cdr.encode_pose,
        cdr.decode_pose,
    ),
    cdr.POSE_COVARIANCE: (
        st.builds(cdr.PoseCovarianceMessage, stamps, names, *map(arrays, (3, 4, 36))),
        cdr.encode_pose_covariance,
        cdr.decode_pose_covariance,
    ),
    cdr.TWIST_COVARIANCE: (
        st.builds(cdr.TwistCovarianceMessage, stamps, names, *map(arrays, (3, 3, 36))),
        cdr.encode_twist_covariance,
        cdr.decode_twist_covariance,
    ),
    cdr.FIX: (
        st.builds(cdr.FixMessage, stamps, names, st.integers(-1, 2), *map(arrays, (3, 9)), st.integers(0, 3)),
        cdr.encode_fix,
        cdr.decode_fix,
    ),
}
KINDS = list(MESSAGES)


def test_arrays_of_another_layout_or_precision_are_the_same_message() -> None:
    plain = cdr.MagneticFieldMessage(1, "imu_link", np.arange(3.0), np.arange(9.0))
    strided = plain._replace(covariance=np.arange(0.0, 9.0, 0.5)[::2])
    whole = plain._replace(field=np.arange(3))
    assert cdr.encode_mag(plain) == cdr.encode_mag(strided) == cdr.encode_mag(whole)


def same(a: Any, b: Any) -> bool:
    pairs = ((getattr(a, name), getattr(b, name)) for name in a._fields)
    return all(np.array_equal(x, y, equal_nan=not isinstance(x, str)) for x, y in pairs)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_decoding_inverts_encoding(kind: str, data: st.DataObject) -> None:
    strategy, encode, decode = MESSAGES[kind]
    message = data.draw(strategy)
    assert same(decode(encode(message)), message)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_rosbags_reads_what_is_encoded_and_writes_the_same_bytes(kind: str, data: st.DataObject) -> None:
    strategy, encode, _ = MESSAGES[kind]
    encoded = encode(data.draw(strategy))
    assert bytes(STORE.serialize_cdr(STORE.deserialize_cdr(encoded, kind), kind)) == encoded


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_big_endian_messages_decode_to_the_same_values(kind: str, data: st.DataObject) -> None:
    strategy, encode, decode = MESSAGES[kind]
    message = data.draw(strategy)
    other = STORE.serialize_cdr(STORE.deserialize_cdr(encode(message), kind), kind, little_endian=False)
    assert same(decode(bytes(other)), message)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_cut_message_is_refused_or_never_misread(kind: str, data: st.DataObject) -> None:
    strategy, encode, decode = MESSAGES[kind]
    encoded = encode(data.draw(strategy))
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    if kind == cdr.RANGE and len(cut) >= len(encoded) - 4:
        return  # four floats are the Range of ROS 2 Humble, which has no variance
    with pytest.raises(cdr.CdrError):
        decode(cut)


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(max_size=400))
def test_noise_raises_nothing_but_cdr_errors(kind: str, noise: bytes) -> None:
    try:
        MESSAGES[kind][2](noise)
    except cdr.CdrError:
        pass


@given(MESSAGES[cdr.RANGE][0], floats32, floats32)
def test_a_patched_range_keeps_all_but_range_and_variance(
    message: cdr.RangeMessage, value: float, variance: float
) -> None:
    patched = cdr.decode_range(cdr.patch_range(cdr.encode_range(message), value, variance))
    expected = cdr.RangeMessage(
        message.stamp_ns,
        message.frame_id,
        value,
        variance,
        message.field_of_view,
        message.min_range,
        message.max_range,
    )
    assert same(patched, expected)


def test_a_range_without_variance_decodes_with_variance_unknown() -> None:
    encoded = cdr.encode_range(cdr.RangeMessage(5, "a0", 2.5, 0.1))
    old = cdr.decode_range(encoded[:-4])
    assert (old.range, old.variance) == (2.5, 0.0)
    assert cdr.patch_range(encoded[:-4], 2.5, 0.1) == cdr.patch_range(encoded, 2.5, 0.1) == encoded
    assert cdr.present_range(encoded[:-4]) == cdr.patch_range(encoded, 2.5, 0.0)
    assert cdr.present_range(encoded) == encoded


@given(stamps)
def test_the_clock_survives(stamp: int) -> None:
    encoded = cdr.encode_clock(stamp)
    assert cdr.decode_clock(encoded) == stamp
    message = STORE.deserialize_cdr(encoded, cdr.CLOCK)
    assert message.clock.sec * 10**9 + message.clock.nanosec == stamp  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_rclpy_reads_what_is_encoded_and_is_read_back(kind: str) -> None:
    serialization = pytest.importorskip("rclpy.serialization", reason="rclpy is not installed")
    package, _, name = kind.split("/")
    _, encode, decode = MESSAGES[kind]
    message = EXAMPLES[kind]
    message_type = getattr(importlib.import_module(f"{package}.msg"), name)
    typed = serialization.deserialize_message(encode(message), message_type)
    assert typed.header.frame_id == message.frame_id
    assert same(decode(serialization.serialize_message(typed)), message)


STAMP = 1_700_000_000_123_456_789
EXAMPLES = {
    cdr.RANGE: cdr.RangeMessage(STAMP, "anchor_7", 3.25, 0.0625, 0.5, 0.25, 80.0),
    cdr.VECTOR3: cdr.Vector3Message(STAMP, "tag-a1", -80.5, math.nan, 12.0),
    cdr.IMU: cdr.ImuMessage.of(STAMP, "imu_link", *(np.arange(n) / 7.0 for n in (3, 3, 9, 9, 4, 9))),
    cdr.MAG: cdr.MagneticFieldMessage(STAMP, "imu_link", *(np.arange(n) / 7e6 for n in (3, 9))),
    cdr.ODOMETRY: cdr.OdometryMessage(
        STAMP, "map", "base_link", *(np.arange(n) / 7.0 for n in (3, 4, 36, 3, 3, 36))
    ),
    cdr.POSE: cdr.PoseMessage(STAMP, "map", np.arange(3) / 7.0, np.arange(4) / 7.0),
    cdr.POSE_COVARIANCE: cdr.PoseCovarianceMessage(STAMP, "map", *(np.arange(n) / 7.0 for n in (3, 4, 36))),
    cdr.TWIST_COVARIANCE: cdr.TwistCovarianceMessage(STAMP, "car", *(np.arange(n) / 7.0 for n in (3, 3, 36))),
    cdr.FIX: cdr.FixMessage(STAMP, "gps", -1, np.arange(3) / 7.0, np.arange(9) / 7.0, 2),
}

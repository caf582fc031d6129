"""The replay: a bag through the same stream and estimator as the node, and the messages that both publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nn_estimation import cdr
from nn_estimation.attitude.estimator import Attitude
from nn_estimation.attitude.frames import roll_pitch_yaw
from nn_estimation.attitude.stream import IMU_TOPIC, AttitudeStream
from nn_estimation.bags import BagReader
from nn_estimation.messages import ImuMessage, Vector3Message
from nn_estimation.replayed import ReplayedBag

OUTPUT_TOPIC, BIAS_TOPIC, RPY_TOPIC = "imu/data", "imu/bias", "imu/rpy"


def replay(bag: BagReader, stream: AttitudeStream) -> Iterator[tuple[str, int, bytes, Attitude | None]]:
    """(topic, bag's stamp [ns], CDR bytes, attitude where one is due) of every message of a bag.

    Args:
        bag: to be read.
        stream: fed with it; its `sample` is that of the attitude.
    """
    for topic, stamp, data in bag.raw():
        attitude = stream.feed(topic, data) if topic in stream.topics else None
        yield topic, stamp, data, attitude


def write_replay(
    bag: BagReader, stream: AttitudeStream, out: str | Path, frame: str = "", rpy: bool = False
) -> dict[str, int]:
    """Write a bag with everything of `bag` and what the node would have published.

    Args:
        bag: to be read.
        stream: fed with it.
        out: folder of the new bag.
        frame: frame_id of what is added; empty: that of the IMU messages.
        rpy: add roll, pitch and yaw too.

    Returns:
        Number of messages written by topic, of the new topics.

    Raises:
        BagError: `out` exists, `bag` has no IMU, topics of another type, or holds the attitude already.
    """
    bag.require({IMU_TOPIC: cdr.IMU})
    bag.expect(stream.topics)
    added = {OUTPUT_TOPIC: cdr.IMU, BIAS_TOPIC: cdr.VECTOR3, **({RPY_TOPIC: cdr.VECTOR3} if rpy else {})}
    with ReplayedBag(bag, out, added) as new:
        for topic, stamp, data, attitude in replay(bag, stream):
            new.keep(topic, stamp, data)
            if attitude is not None and stream.imu is not None:
                made = outputs(attitude, stream.imu, frame, rpy, stream.bias_due)
                for output, message in made.items():
                    new.add(output, stamp, message)
    return new.added


def outputs(
    attitude: Attitude, imu: ImuMessage, frame: str = "", rpy: bool = False, bias: bool = True
) -> dict[str, bytes]:
    """Topic -> CDR bytes of what comes out for one sample.

    Args:
        attitude: of the stream.
        imu: of the stream, with that.
        frame: frame_id; empty: that of the message.
        rpy: roll, pitch and yaw too.
        bias: that of the gyro too.
    """
    if frame:
        imu = imu._replace(frame_id=frame)
    found = {OUTPUT_TOPIC: cdr.encode_imu(imu)}
    if bias:
        found[BIAS_TOPIC] = _encode_vector(imu, *attitude.gyro_bias.tolist())
    if rpy:
        found[RPY_TOPIC] = _encode_vector(imu, *roll_pitch_yaw(attitude.quaternion))
    return found


def _encode_vector(imu: ImuMessage, x: float, y: float, z: float) -> bytes:
    return cdr.encode_vector3(Vector3Message(imu.stamp_ns, imu.frame_id, x, y, z))

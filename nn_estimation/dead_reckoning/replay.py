"""The replay: a bag through the same stream and estimator as the node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.dead_reckoning.estimator import Estimate
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, DeadReckoningStream
from nn_estimation.replayed import ReplayedBag

OUTPUT_TOPIC = "odometry/dead_reckoning"


def replay(
    bag: BagReader,
    stream: DeadReckoningStream,
    aid_for: float = math.inf,
    alias: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[str, int, bytes, Estimate | None]]:
    """(topic, bag's stamp [ns], CDR bytes, estimate where one is due) of every message of a bag.

    Args:
        bag: to be read.
        stream: fed with it.
        aid_for: [s] after the estimate's start that aiding is heard; its messages after that are read all the same.
        alias: topic of the bag -> topic of the stream that hears it too.
    """
    begun = math.inf
    for topic, stamp, data in bag.raw():
        estimate = None
        heard = alias.get(topic, topic)
        if heard in stream.topics and (heard == IMU_TOPIC or stamp * 1e-9 <= begun + aid_for):
            estimate = stream.feed(heard, data)
        if math.isinf(begun) and estimate is not None:
            begun = stamp * 1e-9
        yield topic, stamp, data, estimate


def write_replay(
    bag: BagReader,
    stream: DeadReckoningStream,
    out: str | Path,
    aid_for: float = math.inf,
    alias: Mapping[str, str] = MappingProxyType({}),
    frames: tuple[str, str] = ("odom", "imu_link"),
) -> dict[str, int]:
    """Write a bag with everything of `bag` and what the node would have published.

    Args:
        bag: as of `replay`.
        stream: as of `replay`.
        out: folder of the new bag.
        aid_for: as of `replay`.
        alias: as of `replay`.
        frames: of the world and of the IMU.

    Returns:
        Number of messages written by topic, of the new topics.

    Raises:
        BagError: `out` exists, `bag` has no IMU, topics of another type, or holds the estimate already.
    """
    bag.require({IMU_TOPIC: cdr.IMU})
    bag.expect({**stream.topics, **{topic: stream.topics[heard] for topic, heard in alias.items()}})
    with ReplayedBag(bag, out, {OUTPUT_TOPIC: cdr.ODOMETRY}) as new:
        for topic, stamp, data, estimate in replay(bag, stream, aid_for, alias):
            new.keep(topic, stamp, data)
            if estimate is not None:
                new.add(OUTPUT_TOPIC, stamp, encode_estimate(estimate, stream.stamp_ns, *frames))
    return new.added


def encode_estimate(
    estimate: Estimate, stamp_ns: int, frame: str = "odom", child_frame: str = "imu_link"
) -> bytes:
    """nav_msgs/Odometry; velocities in the child frame.

    Args:
        estimate: of the stream.
        stamp_ns: of the sample, to the nanosecond: who looks for the pose of that sample finds it.
        frame: of the world.
        child_frame: of the IMU.
    """
    return cdr.encode_odometry_values(stamp_ns, frame, child_frame, estimate.odometry)

"""The replay: a bag through the same stream and estimator as the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader
from nn_estimation.replayed import ReplayedBag
from nn_estimation.uwb.estimator import Corrected
from nn_estimation.uwb.gate import ACCEPTED, NO_GEOMETRY
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.localization import PoseEstimate
from nn_estimation.uwb.stream import UwbStream

ODOMETRY_TOPIC = "odometry/uwb"
FRAME, CHILD_FRAME = "map", "base_link"
UNKNOWN_VARIANCE = 1e6


def replay(bag: BagReader, stream: UwbStream) -> Iterator[Corrected]:
    """Every corrected epoch of a bag, in the order of the stamps.

    Raises:
        BagError: a topic of another type.
    """
    bag.expect(stream.topics)
    for topic, _, data in bag.raw([topic for topic in stream.topics if topic in bag.topics]):
        stream.feed(topic, data)
        yield from stream.corrected()
    yield from stream.flush()


def write_replay(bag: BagReader, stream: UwbStream, out: str | Path, odometry: bool = True) -> dict[str, int]:
    """Write a bag with everything of `bag`, the layout used, and what the node would have published.

    Args:
        bag: what is replayed.
        stream: as of the node.
        out: folder of the new bag.
        odometry: whether the localization is published.

    Returns:
        Number of messages written by topic, of the new topics.

    Raises:
        BagError: `out` exists, `bag` has no ranges, topics of another type, or holds the corrected topics already.
    """
    ranges = [topic for topic, msgtype in stream.topics.items() if msgtype == cdr.RANGE]
    if not set(ranges) & set(bag.topics):
        raise BagError(
            f"{bag.path} has none of {', '.join(ranges)}: give its own names with --remap, "
            f"or other tags with --anchors; it has {', '.join(sorted(bag.topics))}"
        )
    bag.expect(stream.topics)
    layout = stream.layout
    added = dict.fromkeys(corrected_topics(layout), cdr.RANGE)
    if odometry:
        added[ODOMETRY_TOPIC] = cdr.ODOMETRY
    with ReplayedBag(bag, out, added, {"layout": layout.to_yaml()}) as new:
        stamp, heard = 0, False
        for topic, stamp, data in bag.raw():
            new.keep(topic, stamp, data)
            heard = heard or topic in ranges
            if topic in stream.topics:
                stream.feed(topic, data)
                _add(new, layout, stream.corrected(), stamp)
        if not heard:
            raise BagError(
                f"{bag.path} has no messages on {', '.join(sorted(set(ranges) & set(bag.topics)))}"
            )
        _add(new, layout, stream.flush(), stamp)
    return {topic: count for topic, count in new.added.items() if count}


def corrected_topics(layout: Layout) -> list[str]:
    """Where corrected ranges come out, for each tag those to anchors and those between two."""
    kinds = ("range_corrected", "tdoa_corrected")
    return [layout.tag_topic(tag.name, kind) for tag in layout.tags for kind in kinds]


def outputs(layout: Layout, result: Corrected) -> Iterator[tuple[str, bytes]]:
    """(topic, CDR bytes) of what is published for an epoch: corrected ranges, then the odometry.

    Rejected and invalid ranges are left out. Headers are those of the input.
    """
    epoch = result.epoch
    for n, message in enumerate(epoch.messages):
        if result.status[n] in (ACCEPTED, NO_GEOMETRY):
            kind = "range_corrected" if epoch.anchor_b[n] == NO_ANCHOR else "tdoa_corrected"
            topic = layout.tag_topic(layout.tags[epoch.tag[n]].name, kind)
            yield topic, cdr.patch_range(message, result.corrected[n], result.variance[n])
    if result.pose is not None:
        yield ODOMETRY_TOPIC, encode_pose_estimate(result.pose, cdr.stamp_ns(epoch.messages[0]))


def encode_pose_estimate(pose: PoseEstimate, stamp_ns: int) -> bytes:
    """nav_msgs/Odometry; the velocity in the child frame, its rotation part without covariance.

    Args:
        pose: of an epoch.
        stamp_ns: that of its ranges, which a stamp in seconds does not hold to the nanosecond.
    """
    velocity_covariance = [[0.0] * 6 for _ in range(6)]
    rotated = pose.R_world_body.T @ pose.velocity_covariance @ pose.R_world_body
    for i in range(3):
        velocity_covariance[i][:3] = rotated[i].tolist()
        velocity_covariance[3 + i][3 + i] = UNKNOWN_VARIANCE
    return cdr.encode_odometry(
        cdr.OdometryMessage(
            stamp_ns,
            FRAME,
            CHILD_FRAME,
            pose.position,
            pose.quaternion,
            pose.covariance,
            pose.R_world_body.T @ pose.velocity,
            pose.angular_velocity,
            velocity_covariance,  # type: ignore[arg-type]
        )
    )


def _add(new: ReplayedBag, layout: Layout, results: Iterator[Corrected], stamp: int) -> None:
    for result in results:
        for topic, data in outputs(layout, result):
            if topic in new.added:
                new.add(topic, stamp, data)


def layout_of(bag: BagReader, override: str | Path | None = None) -> Layout:
    """The layout in a bag's metadata, or another one given as a YAML file.

    Raises:
        BagError: none in the bag and none given.
        LayoutError: it cannot be used.
    """
    if override is not None:
        return Layout.from_yaml(Path(override))
    if "layout" not in bag.custom_data:
        raise BagError(f"{bag.path} carries no layout of anchors and tags: give it with --anchors FILE")
    return Layout.from_yaml(bag.custom_data["layout"])

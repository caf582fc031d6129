"""From the CDR bytes of topics to epochs to corrected ranges: the one path of the node and of the replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nn_estimation import cdr
from nn_estimation.recorded import IMU_TOPIC
from nn_estimation.uwb.bias import BiasModel
from nn_estimation.uwb.epochs import Epoch, Link, Sequencer
from nn_estimation.uwb.estimator import Corrected, UwbEstimator
from nn_estimation.uwb.features import power_sources
from nn_estimation.uwb.geometry import NO_ANCHOR

MALFORMED, INVALID_RANGE, UNKNOWN_ANCHOR, INVALID_STAMP = (
    "malformed message",
    "invalid range",
    "unknown anchor",
    "invalid stamp",
)
REASONS = (MALFORMED, INVALID_RANGE, UNKNOWN_ANCHOR, INVALID_STAMP)
_IMU, _POSE = "imu", "pose"


@dataclass(slots=True)
class Refused:
    """Messages that could not be used."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    unknown_anchors: set[str] = field(default_factory=set)

    def with_(self, later: Refused) -> Refused:
        """Both together."""
        counts = {reason: count + later.counts[reason] for reason, count in self.counts.items()}
        return Refused(counts, self.unknown_anchors | later.unknown_anchors)


class UwbStream:
    """Feeds an estimator from topics.

    Args:
        estimator: what the epochs go to.
        odometry_topic: nav_msgs/Odometry that gives the pose when the estimator wants an external one.
        pose_topic: the same as geometry_msgs/PoseStamped.
        max_delay: [s] how far one topic may lag behind another.
        suffix: of the range topics, such as `_corrected`.
        power: whether the received power is of use.
        clock: [s] steady, when messages arrive; None where they do not come live.

    Attributes:
        topics: topic -> message type that `feed` understands.
        counts: refused messages by reason; late and repeated ones are in `sequencer.counts`.
        last_heard: (tag, anchor, anchor) indices -> newest stamp [s].
        unknown_anchors: names that the layout does not have, heard since the last reset.
    """

    def __init__(
        self,
        estimator: UwbEstimator,
        odometry_topic: str | None = None,
        pose_topic: str | None = None,
        max_delay: float = 0.05,
        suffix: str = "",
        power: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.estimator = estimator
        self._clock = clock
        self._arrived = math.nan
        self.layout = estimator.layout
        self.sequencer = Sequencer(max_delay)
        self.counts = dict.fromkeys(REASONS, 0)
        self.last_heard: dict[tuple[int, int, int], float] = {}
        self.unknown_anchors: set[str] = set()
        self._recent, self._earlier = Refused(), Refused()
        self.topics: dict[str, str] = {}
        self._handlers: dict[str, Callable[[str, bytes], None]] = {}
        self._links: dict[str, tuple[int, int] | None] = {}
        self._tags: dict[str, int] = {}
        for index, tag in enumerate(self.layout.tags):
            for kind, handler, msgtype in (
                (f"range{suffix}", self._range, cdr.RANGE),
                (f"tdoa{suffix}", self._tdoa, cdr.RANGE),
                *([("power", self._power, cdr.VECTOR3)] if power else []),
            ):
                topic = self.layout.tag_topic(tag.name, kind)
                self._add(topic, msgtype, handler)
                self._tags[topic] = index
        self._add(IMU_TOPIC, cdr.IMU, self._imu)
        if odometry_topic:
            self._add(odometry_topic, cdr.ODOMETRY, self._odometry)
        if pose_topic:
            self._add(pose_topic, cdr.POSE, self._pose)

    def _add(self, topic: str, msgtype: str, handler: Callable[[str, bytes], None]) -> None:
        self.topics[topic] = msgtype
        self._handlers[topic] = handler

    @property
    def newest(self) -> float:
        """Newest stamp [s] of a range, NaN before the first."""
        return max(self.last_heard.values(), default=math.nan)

    @property
    def silence(self) -> float:
        """[s] since the last range, by the stamps of all inputs or by the clock; NaN before the first range."""
        by_stamps = self.sequencer.newest - self.newest
        return by_stamps if self._clock is None else max(by_stamps, self._clock() - self._arrived)

    def reset(self) -> None:
        """Forget what is in flight, the track and who was heard; the counts stay."""
        self.sequencer.reset()
        self.estimator.reset()
        self.last_heard.clear()
        self.unknown_anchors.clear()
        self._recent, self._earlier = Refused(), Refused()

    def use(self, model: BiasModel) -> None:
        """Change to another bias model under way."""
        self.estimator.model = model

    def take_recent_refused(self) -> Refused:
        """What was refused since the last call but one, or the last reset: two reports say so."""
        earlier, self._earlier, self._recent = self._earlier, self._recent, Refused()
        return earlier.with_(self._earlier)

    def feed(self, topic: str, data: bytes) -> None:
        """Take in a message; whatever is wrong with it is counted, never raised."""
        try:
            self._handlers[topic](topic, data)
        except cdr.CdrError:
            self._refuse(MALFORMED)

    def corrected(self) -> Iterator[Corrected]:
        """Epochs that are complete by now, corrected."""
        yield from self._run(self.sequencer.pop())

    def flush(self) -> Iterator[Corrected]:
        """All that is left: at the end of a bag, or when the topics have fallen silent."""
        yield from self._run(self.sequencer.flush())

    def _run(self, released: Iterator[tuple[float, list[tuple[str, object, object]]]]) -> Iterator[Corrected]:
        for stamp, items in released:
            links: list[Link] = []
            powers: list[tuple[int, str, tuple[float, float, float]]] = []
            for _, key, item in items:
                if isinstance(item, Link):
                    links.append(item)
                elif key == _IMU:
                    self.estimator.update_imu(stamp, item.gyro, item.accel)  # type: ignore[attr-defined]
                elif key == _POSE:
                    self.estimator.update_pose(stamp, item.position, item.quaternion)  # type: ignore[attr-defined]
                else:
                    powers.append(item)  # type: ignore[arg-type]
            if links:
                if powers:
                    self._attach(links, powers)
                yield self.estimator.update(Epoch.of(stamp, links))

    def _push(self, topic: str, key: object, stamp: float, item: object) -> None:
        if not self.sequencer.push(topic, key, stamp, item):
            self.estimator.reset()
            self.last_heard.clear()

    def _range(self, topic: str, data: bytes) -> None:
        message = cdr.decode_range(data)
        anchor = self._anchor(message.frame_id)
        if anchor is not None and self._stamped(message.stamp_ns):
            valid = math.isfinite(message.range) and message.range > 0.0
            self._link(topic, message, anchor, NO_ANCHOR, valid, data)

    def _tdoa(self, topic: str, data: bytes) -> None:
        message = cdr.decode_range(data)
        pair = self._links.get(message.frame_id)
        if pair is None:
            names = message.frame_id.split("-")
            found = [index for name in names if (index := self._anchor(name)) is not None]
            if len(found) != len(names):
                return
            if len(names) != 2 or found[0] == found[1]:
                self._refuse_anchor(message.frame_id)
                return
            pair = self._links[message.frame_id] = (found[0], found[1])
        if self._stamped(message.stamp_ns):
            self._link(topic, message, *pair, math.isfinite(message.range), data)

    def _link(self, topic: str, message: cdr.RangeMessage, a: int, b: int, valid: bool, data: bytes) -> None:
        if not valid:
            self._refuse(INVALID_RANGE)
            return
        tag, stamp = self._tags[topic], message.stamp_ns * 1e-9
        variance = message.variance if math.isfinite(message.variance) and message.variance > 0.0 else 0.0
        self._push(topic, (tag, a, b), stamp, Link(tag, a, b, message.range, variance, data))
        self.last_heard[tag, a, b] = stamp
        if self._clock is not None:
            self._arrived = self._clock()

    def _power(self, topic: str, data: bytes) -> None:
        message = cdr.decode_vector3(data)
        if self._stamped(message.stamp_ns):
            item = (self._tags[topic], message.frame_id, (message.x, message.y, message.z))
            self._push(topic, message.frame_id, message.stamp_ns * 1e-9, item)

    def _imu(self, topic: str, data: bytes) -> None:
        message = cdr.decode_imu(data)
        if self._stamped(message.stamp_ns):
            self._push(topic, _IMU, message.stamp_ns * 1e-9, message)

    def _odometry(self, topic: str, data: bytes) -> None:
        self._external(topic, cdr.decode_odometry(data))

    def _pose(self, topic: str, data: bytes) -> None:
        self._external(topic, cdr.decode_pose(data))

    def _external(self, topic: str, message: cdr.OdometryMessage | cdr.PoseMessage) -> None:
        if self._stamped(message.stamp_ns):
            self._push(topic, _POSE, message.stamp_ns * 1e-9, message)

    def _stamped(self, stamp_ns: int) -> bool:
        if stamp_ns <= 0:
            self._refuse(INVALID_STAMP)
        return stamp_ns > 0

    def _anchor(self, name: str) -> int | None:
        index = self.layout.anchor_index.get(name)
        if index is None:
            self._refuse_anchor(name)
        return index

    def _refuse(self, reason: str) -> None:
        self.counts[reason] += 1
        self._recent.counts[reason] += 1

    def _refuse_anchor(self, name: str) -> None:
        self._refuse(UNKNOWN_ANCHOR)
        self.unknown_anchors.add(name)
        self._recent.unknown_anchors.add(name)

    def _attach(self, links: list[Link], powers: list[tuple[int, str, tuple[float, float, float]]]) -> None:
        """Give each link the powers of its own signals; see POWER_FIELDS for the columns."""
        table = {(tag, frame): triple for tag, frame, triple in powers}
        anchors, tags = self.layout.anchors, self.layout.tags
        for link in links:
            tag, a = tags[link.tag].name, anchors[link.anchor_a].name
            b = None if link.anchor_b == NO_ANCHOR else anchors[link.anchor_b].name
            for column, frame in power_sources(tag, a, b).items():
                if (link.tag, frame) in table:
                    link.power[column] = table[link.tag, frame]

"""The bag recorder for machines without `ros2 bag`: topics as they arrive, CDR bytes to MCAP."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.topic_endpoint_info import TopicEndpointInfo

from nn_estimation.bags import BagError, BagWriter
from nn_estimation.ros.executor import executor
from nn_estimation.ros.messages import UnknownTypeError, message_class
from nn_estimation.ros.stop import StopSignals

DEPTH = 5000
DIAGNOSTICS = "diagnostics"  # comes for ever
DISCOVERY_PERIOD = 0.1  # [s]


class Recorder(Node):
    """Subscribes to topics once they are published and writes what comes.

    Args:
        writer: of the bag.
        topics: names or shell patterns such as `*/uwb/range_corrected`; without a leading slash or star they
            resolve in the node's namespace.
    """

    def __init__(self, writer: BagWriter, topics: Sequence[str]) -> None:
        super().__init__("bag_recorder")
        self._writer = writer
        self._patterns = [t if "*" in t else self.resolve_topic_name(t) for t in topics]
        self.counts = {t.lstrip("/"): 0 for t in self._patterns if "*" not in t}
        self._subscribed: set[str] = set()
        self.create_timer(DISCOVERY_PERIOD, self._discover)

    def _discover(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if topic in self._subscribed or not any(fnmatch(topic, pattern) for pattern in self._patterns):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            self._subscribed.add(topic)
            self.counts.setdefault(topic.lstrip("/"), 0)
            record = partial(self._record, topic.lstrip("/"), types[0])
            self.create_subscription(message_class(types[0]), topic, record, _qos(publishers), raw=True)

    def _record(self, topic: str, msgtype: str, data: bytes) -> None:
        self._writer.write(topic, msgtype, time.time_ns(), data)
        self.counts[topic] += 1


def _qos(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Reliable, unless a publisher is not: the two would never match."""
    best_effort = any(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers)
    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=DEPTH, reliability=reliability)


def record(
    out: str | Path,
    topics: Sequence[str],
    *,
    seconds: float | None = None,
    quiet: float = 0.0,
    custom_data: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Record topics until interrupted, or for a time.

    Args:
        out: folder of the new bag.
        topics: names.
        seconds: how long [s]; None until SIGINT or SIGTERM.
        quiet: go on then until nothing but /diagnostics comes for so long [s]; 0 ends at once.
        custom_data: into the metadata of the bag.

    Returns:
        Number of messages by topic.

    Raises:
        BagError: the folder exists.
        UnknownTypeError: a topic whose message type is not installed.
    """
    signals = StopSignals()
    spinning, counts = None, {}
    try:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        spinning = executor()
        with BagWriter(out, custom_data=custom_data) as writer:
            recorder = Recorder(writer, topics)
            counts = recorder.counts
            spinning.add_node(recorder)
            signals.started()
            with suppress(KeyboardInterrupt, ExternalShutdownException):  # what was recorded by then is a bag
                spinning.spin_until_future_complete(signals.stop, 1e6 if seconds is None else seconds)
                before = -1
                while quiet and (now := _heard(counts)) > before:
                    before = now
                    spinning.spin_until_future_complete(Future(), quiet)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signals.close()
        if spinning is not None:
            spinning.shutdown()
        rclpy.try_shutdown()
    return counts


def _heard(counts: Mapping[str, int]) -> int:
    return sum(count for topic, count in counts.items() if topic != DIAGNOSTICS)


def main(args: Sequence[str] | None = None) -> int:
    """`python -m nn_estimation.ros.recorder OUT TOPIC...`."""
    parser = argparse.ArgumentParser(prog="bag_recorder", description=__doc__)
    parser.add_argument("out")
    parser.add_argument("topics", nargs="+")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--quiet", type=float, default=0.0)
    given, _ = parser.parse_known_args(args)
    try:
        counts = record(given.out, given.topics, seconds=given.seconds, quiet=given.quiet)
    except (BagError, UnknownTypeError) as error:
        print(error, file=sys.stderr)
        return 2
    for topic, count in counts.items():
        print(f"{topic}: {count} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

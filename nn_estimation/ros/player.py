"""The bag player for machines without `ros2 bag`: CDR bytes to topics, in time, with /clock."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader
from nn_estimation.ros.messages import UnknownTypeError, message_class

# Messages that are kept for a reader that learns of the player late, or waits for its turn: many of those that are
# small and fast, and of others, such as images, what fits in memory.
DEPTH, FAST_DEPTH = 1000, 20_000
FAST = {cdr.RANGE, cdr.VECTOR3, cdr.IMU, cdr.MAG, cdr.ODOMETRY, cdr.POSE, cdr.TWIST_COVARIANCE}
CLOCK_PERIOD_NS = 10_000_000
LATE = 0.001  # [s] behind time from which on the player does not sleep
READY = 60.0  # [s] at most until somebody listens; the first start of a node compiles
SETTLE = 2.5  # [s] for those who listen to learn of the player, of all topics, on a busy machine too
DELIVERY = 0.2  # [s] for the last messages to reach those who do not acknowledge them
PATIENCE = 5.0  # [s] at most, for those who do


class Player:
    """Plays one bag on one node.

    Args:
        node: publishes; not spun.
        bag: what is played.
        topics: only these; default all.
        clock: publish /clock.

    Raises:
        BagError: one of `topics` is not in the bag.
        UnknownTypeError: a topic whose message type is not installed.
    """

    def __init__(
        self, node: Node, bag: BagReader, topics: Sequence[str] | None = None, clock: bool = True
    ) -> None:
        self._node, self._bag = node, bag
        wanted = set(bag.topics) if topics is None else {name.lstrip("/") for name in topics}
        if missing := sorted(wanted - set(bag.topics)):
            raise BagError(f"{bag.path} has no {', '.join(missing)}; it has {', '.join(sorted(bag.topics))}")
        self.topics = [topic for topic in bag.topics if topic in wanted]
        self._outputs = {
            topic: node.create_publisher(message_class(bag.topics[topic]), topic, _qos(bag.topics[topic]))
            for topic in self.topics
        }
        self._clock: Any = node.create_publisher(Clock, "/clock", 10) if clock else None

    def wait_for_subscribers(self, topics: Sequence[str], timeout: float) -> bool:
        """Wait [s] until each of these topics has a subscriber; False if one has none by then."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if all(self._outputs[topic].get_subscription_count() for topic in topics):
                return True
            time.sleep(0.02)
        return False

    def play(self, rate: float = 1.0) -> int:
        """Play once.

        Args:
            rate: times real time.

        Returns:
            Number of messages published.
        """
        begin, wall, next_clock, count = 0, time.perf_counter(), 0, 0
        for topic, stamp, data in self._bag.raw(self.topics):
            begin = begin or stamp
            due = wall + (stamp - begin) * 1e-9 / rate
            wait = due - time.perf_counter()
            if wait > LATE:
                time.sleep(wait)
            if self._clock is not None and stamp >= next_clock:
                self._clock.publish(cdr.encode_clock(stamp))
                next_clock = stamp + CLOCK_PERIOD_NS
            self._outputs[topic].publish(data)
            count += 1
        return count

    def deliver(self) -> None:
        """Wait until what was published has come to those who listen: it goes with its writer."""
        deadline = time.monotonic() + PATIENCE
        for output in self._outputs.values():
            output.wait_for_all_acked(Duration(seconds=max(deadline - time.monotonic(), 0.0)))
        time.sleep(DELIVERY)


def _qos(msgtype: str) -> QoSProfile:
    depth = FAST_DEPTH if msgtype in FAST else DEPTH
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def play(
    bag: str | Path,
    *,
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = True,
    topics: Sequence[str] | None = None,
    remap: Mapping[str, str] | None = None,
    wait_for: Sequence[str] = (),
) -> int:
    """Play a bag in a node of its own; blocks until it is over or interrupted.

    Args:
        bag: path.
        rate: times real time, > 0.
        loop: start again at the end; stamps jump back.
        clock: publish /clock.
        topics: only these.
        remap: topic in the bag -> name it is played as.
        wait_for: topics that must have a subscriber first, for up to 60 s; shell patterns such as `*uwb/range`.

    Returns:
        Number of messages published.

    Raises:
        BagError, UnknownTypeError: as they say.
    """
    if not rate > 0.0:
        raise BagError(f"rate is {rate}: it must be above 0")
    rclpy.init(args=[])
    count = 0
    try:
        with BagReader(bag, remap) as reader:
            player = Player(Node("bag_player"), reader, topics, clock)
            if awaited := [t for t in player.topics if any(fnmatch(t, p.lstrip("/")) for p in wait_for)]:
                player.wait_for_subscribers(awaited, READY)
                time.sleep(SETTLE)
            while True:
                count += player.play(rate)
                if not loop:
                    break
            player.deliver()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        if rclpy.ok():
            raise  # else: interrupted within a publish
    finally:
        rclpy.try_shutdown()
    return count


def main(args: Sequence[str] | None = None) -> int:
    """`python -m nn_estimation.ros.player BAG`: the process behind replay.launch.py."""
    parser = argparse.ArgumentParser(prog="bag_player", description=__doc__)
    parser.add_argument("bag")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--no-clock", action="store_true")
    parser.add_argument("--topics", nargs="*")
    parser.add_argument("--wait-for", nargs="*", default=[])
    given, _ = parser.parse_known_args(args)
    try:
        count = play(
            given.bag,
            rate=given.rate,
            loop=given.loop,
            clock=not given.no_clock,
            topics=given.topics,
            wait_for=given.wait_for,
        )
    except (BagError, UnknownTypeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count} messages played")
    return 0


if __name__ == "__main__":
    sys.exit(main())

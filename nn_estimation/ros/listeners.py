"""Wait until topics have subscribers: a node is ready when it listens."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import rclpy


def wait_for_listeners(topics: Sequence[str], timeout: float) -> bool:
    """Whether every topic got a subscriber within `timeout` [s]."""
    rclpy.init(args=[])
    try:
        node = rclpy.create_node("listeners")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if all(node.count_subscribers(topic) for topic in topics):
                return True
            time.sleep(0.05)
        return False
    finally:
        rclpy.try_shutdown()


def main(args: Sequence[str] | None = None) -> int:
    """`python -m nn_estimation.ros.listeners TOPIC... --timeout SECONDS`."""
    parser = argparse.ArgumentParser(prog="listeners", description=__doc__)
    parser.add_argument("topics", nargs="+")
    parser.add_argument("--timeout", type=float, default=30.0)
    given = parser.parse_args(args)
    return 0 if wait_for_listeners(given.topics, given.timeout) else 1


if __name__ == "__main__":
    sys.exit(main())

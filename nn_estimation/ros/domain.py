"""A ROS network of one's own, for demos and tests that run side by side on a machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO

from nn_estimation.shipped import shipped_file

DOMAINS = 100  # 1 to this: above 101, ports of DDS may be those that Linux gives away

_PROFILES, _OLD_PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
_FIRST_RCLPY = 9  # that comes with a Fast DDS which knows the new name: of Kilted

_held: list[IO[str]] = []


def own_network() -> dict[str, str]:
    """The environment for processes that hear each other and nobody else, and lose nothing while they wait.

    What is set already for discovery and Fast DDS stays.

    Raises:
        RuntimeError: as of `claim_domain`.
    """
    given = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **room_for_bursts(os.environ)}
    return {**given, **os.environ, "ROS_DOMAIN_ID": claim_domain()}


def room_for_bursts(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to an environment so that Fast DDS has room for a burst; nothing where it has a profile already."""
    if _PROFILES in environment or _OLD_PROFILES in environment:
        return {}
    known = int(version("rclpy").split(".")[0]) >= _FIRST_RCLPY
    return {_PROFILES if known else _OLD_PROFILES: str(shipped_file("config", "fast_dds.xml"))}


def claim_domain() -> str:
    """A domain that is claimed by no other call, in this or another process, until this process ends.

    Returns:
        ROS_DOMAIN_ID.

    Raises:
        RuntimeError: all are claimed.
    """
    for number in range(DOMAINS):
        domain = 1 + (os.getpid() + number) % DOMAINS  # rarely one that has just been left
        try:
            lock = (Path(tempfile.gettempdir()) / f"nn_estimation_domain_{domain}").open("a")
        except OSError:  # of another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        return str(domain)
    raise RuntimeError(f"all {DOMAINS} ROS domains are claimed on this machine")

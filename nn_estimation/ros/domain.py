"""A ROS domain of one's own, for demos and tests that run side by side on a machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

DOMAINS = 100  # 1 to this: above 101, ports of DDS may be those that Linux gives away

_held: list[IO[str]] = []


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

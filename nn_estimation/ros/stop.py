"""SIGINT and SIGTERM as one clean stop of a node."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from rclpy.task import Future

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Turns the first signal into a clean stop, and keeps later ones from interrupting it.

    An executor that spins in C++ runs no Python handler, so a thread reads signals from a pipe. rclpy must be
    initialised without signal handlers of its own.

    Attributes:
        stop: completed by the first signal.
    """

    def __init__(self) -> None:
        self.stop: Future = Future()
        self._starting = True
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        self._signalled, pipe = os.pipe()
        os.set_blocking(pipe, False)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()

    def started(self) -> None:
        """From now on `stop` is waited for; until then a signal raises KeyboardInterrupt."""
        self._starting = False

    def close(self) -> None:
        """Signals change nothing any more, not even while the interpreter goes down."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        os.write(signal.set_wakeup_fd(-1), b"x")
        self._waiting.join()
        sys.unraisablehook = self._unraisable

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._starting:
            self._starting = False
            raise KeyboardInterrupt

    def _on_unraisable(self, lost: Any) -> None:
        """Say nothing of the interrupt where it fell into a callback of the interpreter: `stop` is completed too."""
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            self._unraisable(lost)

    def _wait(self) -> None:
        os.read(self._signalled, 1)
        self.stop.set_result(None)

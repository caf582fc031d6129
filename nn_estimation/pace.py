"""Output at a rate that is asked for, by the stamps of what could come out."""

from __future__ import annotations

import math


class Pace:
    """Says which estimates are due.

    Args:
        rate: [Hz] at most; 0: all of them.
    """

    def __init__(self, rate: float) -> None:
        self._period = 1.0 / rate if rate else 0.0
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next one is due."""
        self._next = -math.inf

    def due(self, stamp: float, dt: float) -> bool:
        """Whether one of this stamp [s] is, dt [s] after the one before."""
        if not self._period:
            return True
        if stamp < self._next - 0.5 * dt:  # half a sample early is nearer than half a sample late
            return False
        self._next = (self._next if self._next > stamp - self._period else stamp) + self._period
        return True

"""A yardstick for times on a shared machine: a fixed piece of work after each one measured."""

from __future__ import annotations

import time

import numpy as np

clock = (
    time.process_time
)  # [s] that another process has the core for do not count; what it does to caches does
TRIALS = 200
HEADER = f"{'p50':>7}  {'p99':>7}  {'fixed p50':>9}  {'p99':>7} [us]"


class Yardstick:
    """Times of some work by `clock`, and of a loop of Python that is always the same, right after each.

    Where the loop's 99th percentile is far above its median, so is the machine's, whatever the work is like.

    Args:
        length: [s] that the loop takes where nothing else runs, about that of the work.
    """

    def __init__(self, length: float = 40e-6) -> None:
        self._work: list[float] = []
        self._fixed: list[float] = []
        self._turns = 1000
        took = min(self._loop() for _ in range(TRIALS))
        self._turns = max(round(self._turns * length / took), 1)

    def add(self, seconds: float) -> None:
        """Note what a piece of work took, and run the loop once."""
        self._work.append(seconds)
        self._fixed.append(self._loop())

    def __len__(self) -> int:
        return len(self._work)

    def quantiles(self) -> tuple[float, float, float, float]:
        """[s] p50 and p99 of the work, p50 and p99 of the loop."""
        work, fixed = (np.quantile(times, (0.5, 0.99)) for times in (self._work, self._fixed))
        return float(work[0]), float(work[1]), float(fixed[0]), float(fixed[1])

    def row(self) -> str:
        """These as columns below `HEADER`."""
        p50, p99, fixed_p50, fixed_p99 = (1e6 * each for each in self.quantiles())
        return f"{p50:7.0f}  {p99:7.0f}  {fixed_p50:9.0f}  {fixed_p99:7.0f}"

    def _loop(self) -> float:
        begin = clock()
        total = 0
        for n in range(self._turns):
            total += n & 7
        return clock() - begin

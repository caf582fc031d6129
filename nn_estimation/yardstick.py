"""A yardstick for times on a shared machine: a fixed piece of work after each one measured."""

from __future__ import annotations

import time

import numpy as np

clock = (
    time.process_time
)  # [s] that another process has the core for do not count; what it does to caches does
HEADER = f"{'p50':>7}  {'p99':>7}  {'fixed p50':>9}  {'p99':>7} [us]"
_MATRIX = 6.0 * np.eye(6) + np.random.default_rng(0).normal(size=(6, 6))


class Yardstick:
    """Times of some work by `clock`, and of a few calls of numpy that are always the same, right after each.

    They take about as long as a message and use as many parts of the interpreter and of compiled libraries: where
    their 99th percentile is far above their median, so is that of any such work on this machine.
    """

    def __init__(self) -> None:
        self._work: list[float] = []
        self._fixed: list[float] = []

    def add(self, seconds: float) -> None:
        """Note what a piece of work took, and do the fixed one."""
        self._work.append(seconds)
        begin = clock()
        fixed_work()
        self._fixed.append(clock() - begin)

    def __len__(self) -> int:
        return len(self._work)

    def quantiles(self) -> tuple[float, float, float, float]:
        """[s] p50 and p99 of the work, p50 and p99 of the fixed work."""
        work, fixed = (np.quantile(times, (0.5, 0.99)) for times in (self._work, self._fixed))
        return float(work[0]), float(work[1]), float(fixed[0]), float(fixed[1])

    def row(self) -> str:
        """These as columns below `HEADER`."""
        p50, p99, fixed_p50, fixed_p99 = (1e6 * each for each in self.quantiles())
        return f"{p50:7.0f}  {p99:7.0f}  {fixed_p50:9.0f}  {fixed_p99:7.0f}"


def fixed_work() -> float:
    """Sum of the correlations of M M' and of the solution of M x = 1, the same M (6, 6) every time."""
    x = np.linalg.solve(_MATRIX, np.ones(6))
    square = _MATRIX @ _MATRIX.T
    scale = np.sqrt(np.diag(square))
    correlation = square / np.outer(scale, scale)
    return float(correlation.sum() + np.linalg.norm(x)) if np.isfinite(correlation).all() else 0.0

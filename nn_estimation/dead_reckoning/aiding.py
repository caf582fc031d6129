"""Aiding: measurements enter the filter at their own stamps, behind a gate that reopens."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from nn_estimation.dead_reckoning import vehicle
from nn_estimation.dead_reckoning.constants import Constants, packed
from nn_estimation.dead_reckoning.estimator import DeadReckoning, Estimate, State
from nn_estimation.dead_reckoning.filter import SIZE
from nn_estimation.dead_reckoning.measurements import Aid, Speed, take

HISTORY = 1.0  # [s] of samples that are kept: how late a measurement may come
CAPACITY = 4096  # samples
EVERY = 8  # samples between two states that are kept
ACCEPTED, REFUSED, REJOINED, TOO_LATE, AHEAD = "accepted", "refused", "rejoined", "too late", "far ahead"
OUTCOMES = (ACCEPTED, REFUSED, REJOINED, TOO_LATE, AHEAD)
STEADY = 3.0  # [m/s] at which the error of dead reckoning may change while a refused source is right
FEWEST = 3  # refusals in a row before a source is believed again


@dataclass(slots=True)
class Source:
    """The gate's memory of one source."""

    rejoin_after: float  # [s]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    last: float = -math.inf  # [s] stamp of the last that was believed
    ratio: float = 0.0  # of the last innovation to the gate; above 1: refused
    _since: float = math.nan  # [s] stamp of the first refusal in a row
    _row: int = 0
    _before: tuple[float, np.ndarray] | None = None

    def accept(self, stamp: float, outcome: str) -> None:
        """Note that it was believed."""
        self.counts[outcome] += 1
        self.last, self._since, self._row, self._before = max(self.last, stamp), math.nan, 0, None

    def insists(self, stamp: float, value: np.ndarray) -> bool:
        """Note a refusal of (3,); True once it has said the same for so long that it is to be believed."""
        self.counts[REFUSED] += 1
        if self._before is not None:
            passed = stamp - self._before[0]
            moved = float(np.linalg.norm(value - self._before[1]))
            if passed < 0.0 or moved > STEADY * (passed + 1.0):
                self._since, self._row = math.nan, 0
        self._before = stamp, value
        if math.isnan(self._since):
            self._since = stamp
        self._row += 1
        return stamp - self._since >= self.rejoin_after and self._row >= FEWEST


@dataclass(frozen=True, slots=True)
class _Taken:
    """A measurement that was believed, and after which sample."""

    n: int
    measured: Aid | Speed
    trusted: bool


class History:
    """The last samples, the measurements among them, and every eighth state: the filter as it was."""

    def __init__(self) -> None:
        self._stamp = np.empty(CAPACITY)
        self._gyro, self._accel = np.empty((CAPACITY, 3)), np.empty((CAPACITY, 3))
        self._mean, self._variance = np.empty((CAPACITY, 2)), np.empty((CAPACITY, 2))
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._count = 0
        self._states: list[tuple[int, State]] = []  # after a sample, before the measurements after it
        self._taken: list[_Taken] = []

    @property
    def newest(self) -> float:
        """[s] stamp of the newest sample."""
        return self._stamp[self._count - 1] if self._count else -math.inf

    def add(
        self, state: State, gyro: np.ndarray, accel: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """A sample and the state after it."""
        if self._count == CAPACITY:
            self._forget()
        n = self._count
        self._stamp[n], self._gyro[n], self._accel[n] = state.stamp, gyro, accel
        self._mean[n], self._variance[n] = expected
        if n % EVERY == 0:
            self._states.append((n, state.copy()))
            self._prune(state.stamp - HISTORY)
        self._count += 1

    def at(self, stamp: float, present: State, earth: np.ndarray, c: Constants) -> tuple[int, State] | None:
        """Number of the last sample not after a stamp, and the state then; None where it is forgotten."""
        if self._count and stamp >= self.newest:
            return self._count - 1, present.copy()
        n = int(np.searchsorted(self._stamp[: self._count], stamp, side="right")) - 1
        if n < 0 or self.newest - stamp > HISTORY:
            return None
        first, kept = next(each for each in reversed(self._states) if each[0] <= n)
        state = kept.copy()
        self._forward(state, first, n, earth, c)
        return n, state

    def gyro(self, n: int) -> np.ndarray:
        """(3,) [rad/s] of a sample."""
        return self._gyro[n]

    def redo(self, taken: _Taken, state: State, earth: np.ndarray, c: Constants) -> None:
        """Note a measurement, and move the state right after it on to the newest sample."""
        if taken.n < self._count - 1:
            later = [number for number, _ in self._states if number > taken.n]
            self._states = [each for each in self._states if each[0] <= taken.n]
            n = taken.n
            for number in later:
                self._forward(state, n, number, earth, c, from_after=n == taken.n, until_before=True)
                self._states.append((number, state.copy()))
                n = number
            self._forward(state, n, self._count - 1, earth, c, from_after=n == taken.n)
        insort(self._taken, taken, key=lambda each: each.n)

    def _forward(
        self,
        state: State,
        first: int,
        last: int,
        earth: np.ndarray,
        c: Constants,
        from_after: bool = False,
        until_before: bool = False,
    ) -> None:
        """From sample `first` to `last` with the measurements after both, unless they are left out."""
        n = first
        for each in self._taken:
            if each.n < first + from_after or each.n > last - until_before:
                continue
            self._run(state, n, each.n, earth, c)
            n = each.n
            take(each.measured, state, self._gyro[n], c, each.trusted)
        self._run(state, n, last, earth, c)

    def _run(self, state: State, first: int, last: int, earth: np.ndarray, c: Constants) -> None:
        if last <= first:
            return
        span = slice(first, last + 1)
        size = last + 1 - first
        R, v, p, bias = np.empty((size, 3, 3)), *(np.empty((size, 3)) for _ in range(3))
        samples = self._stamp[span], self._gyro[span], self._accel[span]
        model = earth, self._mean[span], self._variance[span], packed(c)[0]
        none, nis = np.empty((0, SIZE, SIZE)), np.empty(size)
        vehicle.run(*(*samples, *state.arrays(), *model, R, v, p, bias, none, nis))
        state.stamp = float(self._stamp[last])

    def _prune(self, oldest: float) -> None:
        """Keep what is needed to go back to a stamp."""
        while len(self._states) > 1 and self._stamp[self._states[1][0]] <= oldest:
            self._states.pop(0)
        while self._taken and self._taken[0].n < self._states[0][0]:
            self._taken.pop(0)

    def _forget(self) -> None:
        """Keep the newer half."""
        half = CAPACITY // 2
        for array in (self._stamp, self._gyro, self._accel, self._mean, self._variance):
            array[:half] = array[half:]
        self._states = [(n - half, state) for n, state in self._states if n >= half]
        self._taken = [_Taken(t.n - half, t.measured, t.trusted) for t in self._taken if t.n >= half]
        self._count = half


class Aided:
    """Dead reckoning that takes measurements too, each where it belongs in time.

    A measurement is compared with the state of its own stamp, and the samples and measurements since then are gone
    through again: one that is late by up to a second counts as if it had come in time.

    Args:
        estimator: takes the samples.
        rejoin_after: [s] after which a source that is refused and insists is believed.
    """

    def __init__(self, estimator: DeadReckoning, rejoin_after: float = 5.0) -> None:
        self.estimator = estimator
        self.sources: dict[str, Source] = {}
        self._rejoin_after = rejoin_after
        self._history = History()
        self._waiting: list[tuple[str, Aid | Speed]] = []

    def source(self, name: str) -> Source:
        """Its gate."""
        return self.sources.setdefault(name, Source(self._rejoin_after))

    def forget(self) -> None:
        """After a start or a reset of the estimator: past samples say nothing any more."""
        self._history.clear()
        self._waiting.clear()
        for name, source in self.sources.items():
            self.sources[name] = Source(self._rejoin_after, source.counts)

    def update(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> Estimate | None:
        """See `DeadReckoning.update`."""
        estimate = self.estimator.update(stamp, gyro, accel)
        state = self.estimator.state
        if state is None:
            self._history.clear()
            self._waiting.clear()
        elif estimate is not None and self.sources:
            self._history.add(state, gyro, accel, self.estimator.expected)
            if due := [each for each in self._waiting if each[1].stamp <= stamp]:
                self._waiting = [each for each in self._waiting if each[1].stamp > stamp]
                for each in due:
                    self._take(*each)
                estimate = self.estimator.estimate()
        return estimate

    def measure(self, name: str, measured: Aid | Speed) -> None:
        """Take in what a source measured: now, or with the first sample that is not older."""
        state = self.estimator.state
        if state is None or measured.stamp > state.stamp + HISTORY:
            self.source(name).counts[AHEAD] += 1
        elif measured.stamp <= self._history.newest:
            self._take(name, measured)
        else:
            self._waiting.append((name, measured))

    def _take(self, name: str, measured: Aid | Speed) -> None:
        source, earth, c = self.source(name), self.estimator.earth, self.estimator.constants
        present = self.estimator.state
        found = None if present is None else self._history.at(measured.stamp, present, earth, c)
        if found is None or present is None:
            source.counts[TOO_LATE] += 1
            return
        n, state = found
        gyro = self._history.gyro(n)
        source.ratio, worst = take(measured, state, gyro, c)
        outcome = ACCEPTED
        if not source.ratio <= 1.0:
            if not source.insists(measured.stamp, worst):
                return
            outcome = REJOINED
            again = self._history.at(measured.stamp, present, earth, c)
            assert again is not None
            n, state = again
            take(measured, state, gyro, c, trusted=True)
        source.accept(measured.stamp, outcome)
        self._history.redo(_Taken(n, measured, outcome == REJOINED), state, earth, c)
        self.estimator.state = state

"""Epochs: the ranges that share a stamp, in one order however the messages arrived.

Several topics reach a node in any interleaving; the filter must see one. Each topic keeps its own order, so a topic
has *passed* a stamp once it delivered a later one, or every link it usually delivers at that stamp. What has a stamp
is released, by stamp, when every topic has passed it or when it is `max_delay` old in stamps. The same messages
therefore give the same epochs live and from a bag.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nn_estimation.uwb.features import POWER_FIELDS

LATE, REPEATED, RESET = "late", "repeated", "reset"


@dataclass(slots=True)
class Epoch:
    """N links measured at one stamp, ordered by tag and anchors."""

    stamp: float  # [s]
    tag: np.ndarray  # (N,) int64
    anchor_a: np.ndarray  # (N,) int64
    anchor_b: np.ndarray  # (N,) int64, NO_ANCHOR for two-way ranging
    measured: np.ndarray  # (N,) [m]
    variance: np.ndarray  # (N,) [m^2] as the driver gave it, 0 unknown
    power: np.ndarray  # (N, 12), columns POWER_FIELDS
    messages: list[bytes] = field(default_factory=list)  # (N,) the CDR bytes the ranges came in

    @classmethod
    def of(cls, stamp: float, links: list[Link]) -> Epoch:
        """An epoch of links, put in order."""
        links.sort(key=lambda link: (link.tag, link.anchor_a, link.anchor_b))
        index = np.array([(link.tag, link.anchor_a, link.anchor_b) for link in links], dtype=np.int64)
        values = np.array([(link.measured, link.variance) for link in links])
        power = np.full((len(links), len(POWER_FIELDS)), np.nan)
        for row, link in enumerate(links):
            for column, triple in link.power.items():
                power[row, column : column + 3] = triple
        tag, a, b = (np.ascontiguousarray(index[:, i]) for i in range(3))
        measured, variance = (np.ascontiguousarray(values[:, i]) for i in range(2))
        return cls(stamp, tag, a, b, measured, variance, power, [link.message for link in links])


@dataclass(slots=True)
class Link:
    """One range on its way into an epoch."""

    tag: int
    anchor_a: int
    anchor_b: int
    measured: float
    variance: float
    message: bytes = b""
    power: dict[int, tuple[float, float, float]] = field(default_factory=dict)  # first column -> rx, fp, snr


@dataclass(slots=True)
class _Source:
    """One topic: which stamps it has passed and which keys it delivers."""

    first: float  # stamp of its first message, or of the first after a silence
    passed: float = -math.inf  # no message up to and including this stamp is taken any more
    stamp: float = -math.inf  # of the newest message
    keys: dict[object, float] = field(default_factory=dict)  # key -> newest stamp it came with
    open: set[object] = field(default_factory=set)  # keys delivered at `stamp`


class Sequencer:
    """Puts keyed items of several topics into the order of their stamps.

    Args:
        max_delay: [s] how far a topic may be behind the newest stamp; older items are late.
        backward_jump: [s] a stamp this far behind the one before of its topic is time running backwards.
        forget_after: [s] of silence after which a topic or a link is not waited for.
    """

    def __init__(
        self, max_delay: float = 0.05, backward_jump: float = 1.0, forget_after: float = 2.0
    ) -> None:
        self.max_delay, self.backward_jump, self.forget_after = max_delay, backward_jump, forget_after
        self.counts = {LATE: 0, REPEATED: 0, RESET: 0}
        self.reset()

    @property
    def newest(self) -> float:
        """Newest stamp [s] of any topic, NaN before the first."""
        return self._newest

    def reset(self) -> None:
        """Forget everything in flight; the counts stay."""
        self._sources: dict[str, _Source] = {}
        self._items: dict[float, list[tuple[str, object, object]]] = {}
        self._stamps: list[float] = []
        self._newest = self._first = math.nan
        self._released = -math.inf

    def push(self, source: str, key: object, stamp: float, item: object) -> bool:
        """Take in an item; False where its topic runs backwards so far that everything was reset first.

        Late and repeated items are dropped and counted. A topic that is far behind the others is late, not time that
        runs backwards: each keeps its own order.
        """
        continuous = True
        before = self._sources.get(source)
        if before is not None and stamp < before.stamp - self.backward_jump:
            self.reset()
            self.counts[RESET] += 1
            continuous = False
        if math.isnan(self._first):
            self._first = self._newest = stamp
        self._newest = max(self._newest, stamp)
        state = self._sources.setdefault(source, _Source(stamp))
        if stamp == state.stamp and key in state.open:
            self.counts[REPEATED] += 1
            return continuous
        if stamp <= state.passed or stamp <= self._released or stamp < state.stamp:
            self.counts[LATE] += 1
            if stamp == state.stamp:
                state.keys[key] = stamp  # a link that came back is waited for from the next stamp on
            return continuous
        if stamp > state.stamp:
            if stamp - state.stamp > self.forget_after:
                state.first = stamp
            state.passed = max(state.passed, math.nextafter(stamp, -math.inf))
            state.stamp = stamp
            state.open.clear()
            for gone in [key for key, last in state.keys.items() if stamp - last > self.forget_after]:
                del state.keys[gone]
        state.open.add(key)
        known = key in state.keys
        state.keys[key] = stamp
        if stamp not in self._items:
            self._items[stamp] = []
            heapq.heappush(self._stamps, stamp)
        self._items[stamp].append((source, key, item))
        # Until forget_after, which links there are is still being found out: none is called the last.
        if known and len(state.open) >= len(state.keys) and stamp - state.first >= self.forget_after:
            state.passed = stamp
        return continuous

    def pop(self) -> Iterator[tuple[float, list[tuple[str, object, object]]]]:
        """Stamps that are complete, oldest first, each with its (source, key, item) triples."""
        while self._stamps and self._complete(self._stamps[0]):
            yield self._release()

    def flush(self) -> Iterator[tuple[float, list[tuple[str, object, object]]]]:
        """All that is left, complete or not: the end of a bag, or a silence."""
        while self._stamps:
            yield self._release()

    def _release(self) -> tuple[float, list[tuple[str, object, object]]]:
        stamp = heapq.heappop(self._stamps)
        self._released = stamp
        return stamp, self._items.pop(stamp)

    def _complete(self, stamp: float) -> bool:
        if self._newest - stamp >= self.max_delay:
            return True
        if self._newest - self._first < self.forget_after:
            return False  # which topics there are is still being found out
        for source in self._sources.values():
            if source.passed < stamp and self._newest - source.stamp < self.forget_after:
                return False
        return True

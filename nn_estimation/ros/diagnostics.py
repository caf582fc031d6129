"""Diagnostics: states that persist before they change, warnings that do not flood, latency and load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERSISTENCE = 0.9  # [s] a level must last before it is reported: two reports
QUIET = 30.0  # [s] between two log lines about the same thing


@dataclass(slots=True)
class Status:
    """The state of one aspect of a node."""

    name: str
    level: bytes = OK
    message: str = "ok"
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    reported: bytes = OK
    reported_message: str = "ok"
    candidate: bytes = OK
    since: float = 0.0
    logged: float = -1e9


class Diagnostics:
    """Turns statuses into a DiagnosticArray.

    Args:
        node_name: prefix of the status names.
        hardware_id: of the array.
        log: gets (level, text) of faults, at most every `QUIET` seconds each.
        clock: [s] steady.
    """

    def __init__(
        self,
        node_name: str,
        hardware_id: str,
        log: Callable[[bytes, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._hardware, self._log, self._clock = node_name, hardware_id, log, clock
        self._held: dict[str, _Held] = {}

    def array(self, statuses: list[Status]) -> DiagnosticArray:
        """The message for the present statuses; its stamp is left to the caller."""
        out = DiagnosticArray()
        for status in statuses:
            level, message = self._settle(status)
            out.status.append(
                DiagnosticStatus(
                    level=level,
                    name=f"{self._node}: {status.name}",
                    message=message,
                    hardware_id=self._hardware,
                    values=[KeyValue(key=str(k), value=_text(v)) for k, v in status.values.items()],
                )
            )
        return out

    def _settle(self, status: Status) -> tuple[bytes, str]:
        now = self._clock()
        held = self._held.setdefault(status.name, _Held(since=now))
        if status.level != held.candidate:
            held.candidate, held.since = status.level, now
        if held.candidate == held.reported or now - held.since >= PERSISTENCE:
            held.reported, held.reported_message = status.level, status.message
        if held.reported != OK and now - held.logged >= QUIET:
            held.logged = now
            self._log(held.reported, f"{status.name}: {held.reported_message}")
        return held.reported, held.reported_message


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Latency:
    """Own processing time: percentiles an item over the last `RECENT` seconds, and the share of time spent.

    Calls that finish no item count in the next that does. What the middleware takes to publish, and what is done
    once all is published, counts in the share, not in the percentiles.

    Args:
        budget: [s] an item; the 99th percentile above it warns.
        unit: what an item is, such as range or sample.
        sustained: [s] of overrun after which it is an error.
    """

    MAX_LOAD = 0.8
    RECENT = 10.0  # [s]; of the newest 2048 calls, where there were more

    def __init__(
        self,
        budget: float,
        unit: str = "range",
        sustained: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unit = unit
        self.budget, self.sustained, self._clock = budget, sustained, clock
        self._times, self._stamps = np.zeros(2048), np.zeros(2048)
        self.reset()

    def reset(self) -> None:
        """Forget all measurements."""
        self.items, self._calls, self._unfinished = 0, 0, 0.0
        self._busy, self._publishing, self._thinking = 0.0, 0.0, 0.0
        self._window, self._window_items = self._clock(), 0
        self._over_since: float | None = None

    def add(self, seconds: float, items: int, publishing: float = 0.0, thinking: float = 0.0) -> None:
        """One call: `seconds` for `items`, then `publishing` to hand them on, then `thinking` for the next."""
        self._busy += seconds + publishing + thinking
        self._publishing += publishing
        self._thinking += thinking
        self._unfinished += seconds
        if items:
            slot = self._calls % len(self._times)
            self._times[slot], self._stamps[slot] = self._unfinished / items, self._clock()
            self._unfinished = 0.0
            self._calls += 1
            self.items += items
            self._window_items += items

    def status(self) -> Status:
        """State since the last call."""
        now = self._clock()
        elapsed = max(now - self._window, 1e-9)
        load, rate = self._busy / elapsed, self._window_items / elapsed
        publishing, thinking = (
            spent / max(self._window_items, 1) for spent in (self._publishing, self._thinking)
        )
        self._busy, self._publishing, self._thinking = 0.0, 0.0, 0.0
        self._window, self._window_items = now, 0
        filled = slice(min(self._calls, len(self._times)))
        used = self._times[filled][now - self._stamps[filled] <= self.RECENT]
        p50, p99 = np.quantile(used, (0.5, 0.99)) if len(used) else (0.0, 0.0)
        over = load > self.MAX_LOAD
        self._over_since = (self._over_since or now) if over else None
        values = {
            f"p50 [us/{self.unit}]": float(p50 * 1e6),
            f"p99 [us/{self.unit}]": float(p99 * 1e6),
            f"publishing [us/{self.unit}]": float(publishing * 1e6),
            f"after that [us/{self.unit}]": float(thinking * 1e6),
            "load": float(load),
            f"rate [{self.unit}s/s]": float(rate),
        }
        if self._over_since is not None and now - self._over_since >= self.sustained:
            text = f"processing takes {load:.0%} of the time: lower the rate, or set use_network to false"
            return Status("latency", ERROR, text, values)
        if over or p99 > self.budget:
            text = f"p99 is {p99 * 1e6:.0f} us a {self.unit} at {load:.0%} load, budget {self.budget * 1e6:.0f} us"
            return Status("latency", WARN, text, values)
        return Status("latency", values=values)

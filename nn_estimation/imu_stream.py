"""What the streams of every wing on an IMU do alike: messages by topic, what was not used, time, silence, axes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.pace import Pace

MALFORMED, INVALID_STAMP, INVALID_SAMPLE, LATE, JUMP = (
    "malformed message",
    "invalid stamp",
    "invalid sample",
    "repeated or backward",
    "jump back",
)
REASONS = (MALFORMED, INVALID_STAMP, INVALID_SAMPLE, LATE, JUMP)
BACKWARD_JUMP = 1.0  # [s] from which on time has begun anew, as in a bag that loops

E = TypeVar("E")


class UnusableError(ValueError):
    """A message that is well formed and of no use; what it says is the reason."""


class ImuStream(ABC, Generic[E]):
    """Feeds handlers from topics; a subclass adds them by `_listen` and makes the estimates.

    Args:
        clock: [s] steady, when messages arrive; None where they do not come live.
        mounting: [rad] roll, pitch, yaw of the IMU in the body.
        publish_rate: [Hz] of estimates; 0: every sample.
        reasons: of this stream why messages are not used.

    Attributes:
        topics: topic -> message type that `feed` understands.
        counts: messages that were not used, by reason.
    """

    def __init__(
        self,
        clock: Callable[[], float] | None,
        mounting: tuple[float, float, float],
        publish_rate: float,
        reasons: Sequence[str] = (),
    ) -> None:
        self._clock, self._arrived = clock, math.nan
        self.topics: dict[str, str] = {}
        self._handlers: dict[str, Callable[[bytes], E | None]] = {}
        self.counts: dict[str, int] = dict.fromkeys((*REASONS, *reasons), 0)
        self._recent: dict[str, int] = {}
        self._earlier: dict[str, int] = {}  # of the report before
        self._mounting = Rotation.from_euler("xyz", mounting).as_matrix() if any(mounting) else None
        self._pace = Pace(publish_rate)
        self._last = -math.inf  # [s] stamp of the newest sample

    @abstractmethod
    def reset(self) -> None:
        """Forget the estimate and all that is in flight; the counts stay."""
        self._recent, self._earlier = {}, {}
        self._last = -math.inf
        self._pace.reset()

    @abstractmethod
    def think(self) -> None:
        """Do what the newest estimate did not wait for; the next message would do it first, to the same numbers."""

    @property
    def silence(self) -> float:
        """[s] since the last sample by the clock; NaN before the first, and where there is no clock."""
        return math.nan if self._clock is None else self._clock() - self._arrived

    def feed(self, topic: str, data: bytes) -> E | None:
        """Take in a message; whatever is wrong with it is counted, never raised.

        Returns:
            An estimate, where one is due.
        """
        try:
            return self._handlers[topic](data)
        except cdr.CdrError:
            self._refuse(MALFORMED)
        except UnusableError as error:
            self._refuse(f"{topic}: {error}")
        return None

    def take_recent(self) -> dict[str, int]:
        """What was not used since the last call but one, or the last reset, by reason: two reports say so."""
        earlier, self._earlier, self._recent = self._earlier, self._recent, {}
        return dict(Counter(earlier) + Counter(self._earlier))

    def _listen(self, topic: str, msgtype: str, handler: Callable[[bytes], E | None]) -> None:
        self.topics[topic] = msgtype
        self._handlers[topic] = handler

    def _heard(self) -> None:
        """A sample has arrived, of use or not."""
        if self._clock is not None:
            self._arrived = self._clock()

    def _since_last(self, stamp: float) -> float | None:
        """[s] since the sample before, infinite for the first; None for a late one. Begins anew where time does."""
        dt = stamp - self._last
        if dt < -BACKWARD_JUMP:
            self.reset()
            self._refuse(JUMP)
            dt = math.inf
        elif dt <= 0.0:
            self._refuse(LATE)
            return None
        self._last = stamp
        return dt

    def _stamped(self, stamp_ns: int) -> bool:
        """Whether a message has a stamp."""
        if stamp_ns <= 0:
            self._refuse(INVALID_STAMP)
        return stamp_ns > 0

    def _refuse(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self._recent[reason] = self._recent.get(reason, 0) + 1

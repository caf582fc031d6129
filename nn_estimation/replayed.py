"""A bag once more, with what a stream makes of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nn_estimation.bags import BagError, BagReader, BagWriter


class ReplayedBag(BagWriter):
    """A new bag that keeps all messages of another one and adds topics.

    Args:
        bag: whose messages are kept.
        out: folder of the new bag.
        added: topic -> type of what is added.
        custom_data: into the metadata, besides that of `bag`.

    Attributes:
        added: number of messages by topic that is added.

    Raises:
        BagError: `out` exists, or `bag` holds one of the topics already.
    """

    def __init__(
        self,
        bag: BagReader,
        out: str | Path,
        added: Mapping[str, str],
        custom_data: Mapping[str, str] | None = None,
    ) -> None:
        if present := sorted(set(added) & set(bag.topics)):
            raise BagError(f"{bag.path} holds {', '.join(present)} already: replay the bag it was made from")
        super().__init__(out, custom_data={**bag.custom_data, **(custom_data or {})})
        self._msgtypes = {**bag.topics, **added}
        self.added = dict.fromkeys(added, 0)

    def keep(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Append a message of the other bag."""
        self.write(topic, self._msgtypes[topic], stamp_ns, cdr)

    def add(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Append a message of a topic that is added."""
        self.keep(topic, stamp_ns, cdr)
        self.added[topic] += 1

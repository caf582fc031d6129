"""A bag once more, with what a stream makes of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nn_estimation import cdr
from nn_estimation.bags import NO_DEFINITION, BagError, BagReader, BagWriter


class ReplayedBag(BagWriter):
    """A new bag that keeps all messages of another one, under the types and the QoS they have there, and adds topics.

    A bag has one definition of a type. Of a type that is added it is the present one, which of all of them only Range
    is not in older bags: where ranges are added, those that are kept get the variance they lack.

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
        self._ranges = {t for t, kind in bag.topics.items() if kind == cdr.RANGE and kind in added.values()}
        try:
            for topic, connection in bag.connections.items():
                known = connection.msgtype in added.values()
                self.copy_topic(topic, connection._replace(msgdef=NO_DEFINITION) if known else connection)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def keep(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Append a message of the other bag."""
        if topic in self._ranges:
            with suppress(cdr.CdrError):  # what is no Range is kept as it is
                data = cdr.present_range(data)
        self.write(topic, self._msgtypes[topic], stamp_ns, data)

    def add(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Append a message of a topic that is added."""
        self.write(topic, self._msgtypes[topic], stamp_ns, data)
        self.added[topic] += 1

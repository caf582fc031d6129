"""What the two nodes on ranges share: epochs that come out of the stream, also when the topics fall silent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nn_estimation.parameters import ParameterError
from nn_estimation.ros.stream_node import Due, Publication, StreamNode
from nn_estimation.uwb.estimator import Corrected
from nn_estimation.uwb.layout import ABOVE, BELOW, Layout
from nn_estimation.uwb.stream import UwbStream

LISTENING = 0.1  # [s]
SILENT = 5  # times in a row that nothing came, after which what is held back is let go


class EpochNode(StreamNode):
    """Publishes what is due of every epoch; a subclass says what that is."""

    lost = "an epoch"

    @abstractmethod
    def due(self, epoch: Corrected) -> Iterable[Publication]:
        """What is to be published of an epoch."""

    def listen(self, stream: UwbStream, parameters: Mapping[str, Any]) -> None:
        """See `StreamNode`."""
        super().listen(stream, parameters)
        layout = stream.layout
        if layout.mirrored:
            side, other = (ABOVE, BELOW) if layout.above else (BELOW, ABOVE)
            text = (
                f"all anchors are in one plane: the body is taken to be {side} them (the anchors file may say"
            )
            self.get_logger().info(f"{text} side: {other})")
        self._quiet = 0
        self.tick(LISTENING, self._on_tick)

    def take(self, topic: str, data: bytes) -> Due:
        """See `StreamNode`."""
        self._quiet = 0
        self.stream.feed(topic, data)
        return self._all(self.stream.corrected())

    def _all(self, epochs: Iterable[Corrected]) -> Due:
        ranges = 0
        due: list[Publication] = []
        for epoch in epochs:
            ranges += len(epoch.epoch.tag)
            due += self.due(epoch)
        return ranges, due

    def _on_tick(self) -> None:
        # Counted, not by the clock: a process that waited for its turn has messages that wait for it.
        self._quiet += 1
        if self._quiet == SILENT:
            self.process(self._all, self.stream.flush())


def read_layout(anchors: str) -> Layout:
    """The layout in the file that the parameter `anchors` names.

    Raises:
        ParameterError: empty.
        LayoutError: cannot be used.
    """
    if not anchors:
        raise ParameterError("no anchors: set anchors to a YAML file with their positions")
    return Layout.from_yaml(Path(anchors))

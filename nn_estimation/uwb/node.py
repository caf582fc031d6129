"""uwb_bias_node: ranges in, corrected ranges and the pose they give out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from sensor_msgs.msg import Range

from nn_estimation.ros.node import run
from nn_estimation.ros.stream_node import Publication
from nn_estimation.uwb.bias import BiasModel, uncalibrated
from nn_estimation.uwb.epoch_node import EpochNode, read_layout
from nn_estimation.uwb.estimator import Corrected
from nn_estimation.uwb.health import health
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.parameters import NODE, PARAMETERS, UNIT, WITHOUT_NETWORK, says_where, stream_of
from nn_estimation.uwb.replay import ODOMETRY_TOPIC, corrected_topics, outputs
from nn_estimation.uwb.warm_up import warm_up


class UwbBiasNode(EpochNode):
    """Publishes corrected ranges, and the odometry of the built-in localization."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE, PARAMETERS, health, UNIT, **arguments)

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        layout = read_layout(parameters["anchors"])
        links = len(layout.anchors) * len(layout.tags)
        alone: BiasModel = uncalibrated(layout)
        load = partial(load_bias_models, layout=layout)
        model = self.choose(parameters, load, WITHOUT_NETWORK, alone, sizes={"batch": links})
        stream = stream_of(layout, model, parameters, clock=time.monotonic)
        warm_up(stream.estimator)
        self._publish = {topic: self.advertise(Range, topic).publish for topic in corrected_topics(layout)}
        if says_where(parameters):
            self._publish[ODOMETRY_TOPIC] = self.advertise(Odometry, ODOMETRY_TOPIC).publish
        self.listen(stream, parameters)
        counts = f"{len(layout.anchors)} anchors, {len(layout.tags)} tags"
        self.get_logger().info(f"{counts}, bias model {self.method}")

    def due(self, epoch: Corrected) -> Iterator[Publication]:
        """See `EpochNode`."""
        for topic, data in outputs(self.stream.layout, epoch):
            if (publish := self._publish.get(topic)) is not None:
                yield publish, data


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(UwbBiasNode, args)


if __name__ == "__main__":
    sys.exit(main())

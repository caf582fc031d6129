"""dead_reckoning_node: IMU samples in, odometry out, aided by what there is for as long as it lasts."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from nav_msgs.msg import Odometry

from nn_estimation.dead_reckoning.health import health
from nn_estimation.dead_reckoning.model import constant_setup, load_setups
from nn_estimation.dead_reckoning.parameters import NODE, PARAMETERS, UNIT, WITHOUT_NETWORK, stream_params
from nn_estimation.dead_reckoning.replay import OUTPUT_TOPIC, encode_estimate
from nn_estimation.dead_reckoning.stream import DeadReckoningStream
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.ros.node import run
from nn_estimation.ros.stream_node import NOTHING, Due, StreamNode
from nn_estimation.ros.transforms import transform_broadcaster


class DeadReckoningNode(StreamNode):
    """Publishes the odometry."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE, PARAMETERS, health, UNIT, ("signals",), **arguments)

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        setup = self.choose(parameters, load_setups, WITHOUT_NETWORK, constant_setup())
        warm_up(setup)
        self._frames = parameters["world_frame"], parameters["child_frame"]
        self._publish = self.advertise(Odometry, OUTPUT_TOPIC).publish
        self._tf = transform_broadcaster(self, *self._frames) if parameters["publish_tf"] else None
        stream = DeadReckoningStream(setup, stream_params(parameters), clock=time.monotonic)
        self.listen(stream, parameters)
        self.get_logger().info(f"covariance by {self.method}, aiding {parameters['aiding']}")

    def take(self, topic: str, data: bytes) -> Due:
        """See `StreamNode`."""
        estimate = self.stream.feed(topic, data)
        if estimate is None:
            return NOTHING
        due: list[Any] = [(self._publish, encode_estimate(estimate, self.stream.stamp_ns, *self._frames))]
        if self._tf is not None:
            due.append((self._tf, (self.stream.stamp_ns, estimate.position, estimate.quaternion)))
        return 1, due

    def think(self) -> None:
        """See `StreamNode`."""
        self.stream.think()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(DeadReckoningNode, args)


if __name__ == "__main__":
    sys.exit(main())

"""attitude_node: IMU samples and the magnetic field in, orientation, gyro bias and their bounds out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3Stamped
from sensor_msgs.msg import Imu

from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import classical_setup, load_setups
from nn_estimation.attitude.parameters import NODE, PARAMETERS, UNIT, WITHOUT_NETWORK, stream_params
from nn_estimation.attitude.replay import BIAS_TOPIC, OUTPUT_TOPIC, RPY_TOPIC, outputs
from nn_estimation.attitude.stream import AttitudeStream
from nn_estimation.attitude.warm_up import warm_up
from nn_estimation.parameters import ParameterError
from nn_estimation.ros.node import run
from nn_estimation.ros.stream_node import NOTHING, Due, StreamNode
from nn_estimation.ros.transforms import transform_broadcaster

ORIGIN = np.zeros(3)


class AttitudeNode(StreamNode):
    """Publishes attitude and gyro bias, and the angles where they are asked for."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE, PARAMETERS, health, UNIT, ("units",), **arguments)

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        setup = self.choose(parameters, load_setups, WITHOUT_NETWORK, classical_setup("filter"))
        self._frame, self._rpy = parameters["child_frame"], parameters["publish_rpy"]
        if parameters["publish_tf"] and not self._frame:
            raise ParameterError("publish_tf needs a child_frame: the name of the frame of the IMU")
        warm_up(setup)
        topics = [OUTPUT_TOPIC, BIAS_TOPIC, *([RPY_TOPIC] if self._rpy else [])]
        self._publish = {
            topic: self.advertise(Imu if topic == OUTPUT_TOPIC else Vector3Stamped, topic).publish
            for topic in topics
        }
        self._tf = None
        if parameters["publish_tf"]:
            self._tf = transform_broadcaster(self, parameters["fixed_frame"], self._frame)
        self.listen(AttitudeStream(setup, stream_params(parameters), clock=time.monotonic), parameters)
        heading = "imu/mag" if parameters["use_mag"] else "the gyro alone"
        self.get_logger().info(f"attitude by {self.method}, heading by {heading}")

    def take(self, topic: str, data: bytes) -> Due:
        """See `StreamNode`."""
        attitude = self.stream.feed(topic, data)
        if attitude is None:
            return NOTHING
        stream = self.stream
        made = outputs(attitude, stream.imu, self._frame, self._rpy, stream.bias_due)
        due: list[Any] = [(self._publish[output], message) for output, message in made.items()]
        if self._tf is not None:
            due.append((self._tf, (stream.imu.stamp_ns, ORIGIN, attitude.quaternion)))
        return 1, due

    def think(self) -> None:
        """See `StreamNode`."""
        self.stream.think()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(AttitudeNode, args)


if __name__ == "__main__":
    sys.exit(main())

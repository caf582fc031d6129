"""attitude_node: IMU samples and the magnetic field in, orientation, gyro bias and their bounds out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3Stamped
from sensor_msgs.msg import Imu

from nn_estimation.attitude.frames import FROM_ENU
from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import classical_setup, load_setups
from nn_estimation.attitude.replay import BIAS_TOPIC, OUTPUT_TOPIC, RPY_TOPIC, outputs
from nn_estimation.attitude.stream import AttitudeStream, StreamParams
from nn_estimation.attitude.warm_up import warm_up
from nn_estimation.ros.node import run
from nn_estimation.ros.parameters import Parameter, ParameterError
from nn_estimation.ros.stream_node import NOTHING, Due, StreamNode, latency_budget, model_parameters
from nn_estimation.ros.transforms import transform_broadcaster

UNIT = "message"
ORIGIN = np.zeros(3)

PARAMETERS = (
    *model_parameters("the filter alone", "Let the network weigh what is observed; off: the filter alone."),
    Parameter(
        "use_mag", True, "Take the heading from imu/mag; off: it counts from the start, by the gyro alone."
    ),
    Parameter(
        "world_frame",
        "enu",
        "World of the orientation: east-north-up, north-east-down or north-west-up.",
        choices=tuple(FROM_ENU),
    ),
    Parameter(
        "declination",
        0.0,
        "Magnetic declination [deg] of the place, positive to the east; 0: magnetic north is north.",
        -180.0,
        180.0,
    ),
    Parameter(
        "imu_roll", 0.0, "How the IMU sits in child_frame [deg]: 180 for one upside down.", -180.0, 180.0
    ),
    Parameter("imu_pitch", 0.0, "As imu_roll.", -180.0, 180.0),
    Parameter("imu_yaw", 0.0, "As imu_roll; 90 for one whose x axis looks left.", -180.0, 180.0),
    Parameter("publish_rpy", False, "Publish roll, pitch and yaw [rad] on imu/rpy too."),
    Parameter("publish_rate", 0.0, "Output rate [Hz] at most; 0: every sample.", 0.0, 10000.0),
    Parameter("child_frame", "", "frame_id of what comes out; empty: that of the IMU messages."),
    Parameter("publish_tf", False, "Broadcast fixed_frame to child_frame on /tf too; needs tf2_ros."),
    Parameter("fixed_frame", "odom", "Parent frame on /tf; its axes are those of world_frame."),
    latency_budget(100.0, UNIT),
)


class AttitudeNode(StreamNode):
    """Publishes attitude and gyro bias, and the angles where they are asked for."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("attitude_node", PARAMETERS, health, UNIT, ("units",), **arguments)

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        setup = self.choose(parameters, load_setups, "filter", classical_setup("filter"))
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


def stream_params(parameters: dict[str, Any]) -> StreamParams:
    """What the parameters say of the stream."""
    return StreamParams(
        world_frame=parameters["world_frame"],
        declination=math.radians(parameters["declination"]),
        mounting=tuple(math.radians(parameters[f"imu_{angle}"]) for angle in ("roll", "pitch", "yaw")),  # type: ignore[arg-type]
        use_mag=parameters["use_mag"],
        publish_rate=parameters["publish_rate"],
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(AttitudeNode, args)


if __name__ == "__main__":
    sys.exit(main())

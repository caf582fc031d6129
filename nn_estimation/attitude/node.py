"""attitude_node: IMU samples and the magnetic field in, orientation, gyro bias and their bounds out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3Stamped
from sensor_msgs.msg import Imu, MagneticField

from nn_estimation import cdr
from nn_estimation.attitude.frames import FROM_ENU
from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import classical_setup, load_setups
from nn_estimation.attitude.replay import BIAS_TOPIC, OUTPUT_TOPIC, RPY_TOPIC, outputs
from nn_estimation.attitude.stream import AttitudeStream, StreamParams
from nn_estimation.attitude.warm_up import warm_up
from nn_estimation.inference import Model
from nn_estimation.ros.diagnostics import ERROR, OK, WARN, Latency, Status
from nn_estimation.ros.node import ManagedNode, run
from nn_estimation.ros.parameters import Parameter, ParameterError
from nn_estimation.ros.transforms import transform_broadcaster

TYPES = {cdr.IMU: Imu, cdr.MAG: MagneticField}
ORIGIN = np.zeros(3)

PARAMETERS = (
    Parameter("model", "", "Path of the ONNX file; empty only with use_network false, for the filter alone."),
    Parameter("model_sha256", "", "Refuse any other model file; hexadecimal, empty for no check."),
    Parameter(
        "provider",
        "auto",
        "What runs the network; auto times what loads on this machine and keeps the fastest.",
        choices=("auto", "cpu", "cuda", "tensorrt"),
    ),
    Parameter(
        "use_network", True, "Let the network weigh what is observed; off: the filter alone.", live=True
    ),
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
    Parameter(
        "latency_budget_us", 100.0, "Processing [us] a message above which a warning is due.", 1.0, 1e6
    ),
)


class AttitudeNode(ManagedNode):
    """Thin: messages to the stream, attitudes to publishers, counts to diagnostics."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("attitude_node", PARAMETERS, **arguments)
        self._stream: AttitudeStream | None = None

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        self._setups = {"filter": classical_setup("filter")}
        self._model: Model | None = None
        if parameters["model"]:
            self._model = Model.load(
                parameters["model"],
                provider=parameters["provider"],
                sha256=parameters["model_sha256"] or None,
            )
            self._setups = load_setups(self._model)
        elif parameters["use_network"]:
            raise ParameterError("no model: set model to an ONNX file, or use_network to false")
        self._frame, self._rpy = parameters["child_frame"], parameters["publish_rpy"]
        if parameters["publish_tf"] and not self._frame:
            raise ParameterError("publish_tf needs a child_frame: the name of the frame of the IMU")
        setup = self._setups["network" if parameters["use_network"] else "filter"]
        warm_up(setup)
        self._stream = AttitudeStream(setup, stream_params(parameters), clock=time.monotonic)
        self._latency = Latency(parameters["latency_budget_us"] * 1e-6, unit="message")
        self._outputs = {
            OUTPUT_TOPIC: self.advertise(Imu, OUTPUT_TOPIC),
            BIAS_TOPIC: self.advertise(Vector3Stamped, BIAS_TOPIC),
        }
        if self._rpy:
            self._outputs[RPY_TOPIC] = self.advertise(Vector3Stamped, RPY_TOPIC)
        self._tf = None
        if parameters["publish_tf"]:
            self._tf = transform_broadcaster(self, parameters["fixed_frame"], self._frame)
        for topic, msgtype in self._stream.topics.items():
            self.subscribe(TYPES[msgtype], topic, partial(self._on_message, topic))
        provider = f" on {self._model.provider}" if self._model else ""
        heading = "imu/mag" if parameters["use_mag"] else "the gyro alone"
        self.get_logger().info(f"attitude by {setup.method}{provider}, heading by {heading}")

    def reset(self) -> None:
        """See `ManagedNode`."""
        if self._stream is not None:
            self._stream.reset()

    def change(self, name: str, value: Any) -> None:
        """See `ManagedNode`."""
        if name == "use_network" and self._stream is not None:
            if value and self._model is None:
                raise ParameterError("use_network needs a model: start the node with model set")
            self._stream.use(self._setups["network" if value else "filter"])

    def statuses(self) -> list[Status]:
        """See `ManagedNode`."""
        if self._stream is None:
            return []
        model = Status("model", values={"method": self._stream.setup.method})
        if self._model is not None:
            model.values = {
                **model.values,
                "file": self._model.path,
                "sha256": self._model.sha256,
                "provider": self._model.provider,
            }
        aspects = []
        for name, problem, found in health(self._stream):
            bad = ERROR if name == "units" else WARN
            aspects.append(Status(name, bad if problem else OK, problem or "ok", found))
        return [model, self._latency.status(), *aspects]

    def _on_message(self, topic: str, data: bytes) -> None:
        if not self.active or self._stream is None:
            return
        begin = time.perf_counter()
        ready: dict[str, bytes] = {}
        attitude = None
        try:
            attitude = self._stream.feed(topic, data)
            if attitude is not None and self._stream.sample is not None:
                ready = outputs(attitude, self._stream.sample, self._frame, self._rpy)
        except Exception as error:
            self.get_logger().error(f"a message was dropped: {error!r}", throttle_duration_sec=30.0)
            self._stream.reset()
        computed = time.perf_counter()
        for output, message in ready.items():
            self._outputs[output].publish(message)
        if self._tf is not None and attitude is not None:
            self._tf(attitude.stamp, ORIGIN, attitude.quaternion)
        self._latency.add(computed - begin, 1, time.perf_counter() - computed)


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

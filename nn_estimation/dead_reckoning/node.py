"""dead_reckoning_node: IMU samples in, odometry out, aided by what there is for as long as it lasts."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped, TwistWithCovarianceStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, NavSatFix

from nn_estimation import cdr
from nn_estimation.dead_reckoning.health import health
from nn_estimation.dead_reckoning.model import Setup, constant_setup, load_setups
from nn_estimation.dead_reckoning.replay import OUTPUT_TOPIC, encode_estimate
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import AIDING, DeadReckoningStream, StreamParams
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.inference import Model
from nn_estimation.ros.diagnostics import ERROR, OK, WARN, Latency, Status
from nn_estimation.ros.node import ManagedNode, run
from nn_estimation.ros.parameters import Parameter, ParameterError
from nn_estimation.ros.transforms import transform_broadcaster

TYPES = {
    cdr.IMU: Imu,
    cdr.ODOMETRY: Odometry,
    cdr.FIX: NavSatFix,
    cdr.POSE_COVARIANCE: PoseWithCovarianceStamped,
    cdr.TWIST_COVARIANCE: TwistWithCovarianceStamped,
}

PARAMETERS = (
    Parameter("model", "", "Path of the ONNX file; empty only with use_network false, for the constants."),
    Parameter("model_sha256", "", "Refuse any other model file; hexadecimal, empty for no check."),
    Parameter(
        "provider",
        "auto",
        "What runs the network; auto times what loads on this machine and keeps the fastest.",
        choices=("auto", "cpu", "cuda", "tensorrt"),
    ),
    Parameter(
        "use_network", True, "Let the network say the covariance; off: the tuned constants.", live=True
    ),
    Parameter(
        "start",
        "wait",
        "Where the start comes from: wait for set_pose or aiding, or the parameters start_x to start_speed.",
        choices=("wait", "parameters"),
    ),
    Parameter("start_x", 0.0, "Position [m] in the world at the start, with start parameters.", -1e7, 1e7),
    Parameter("start_y", 0.0, "As start_x.", -1e7, 1e7),
    Parameter("start_z", 0.0, "As start_x.", -1e5, 1e5),
    Parameter(
        "start_heading", 0.0, "Heading [deg] at the start, from east counter-clockwise.", -360.0, 360.0
    ),
    Parameter("start_speed", 0.0, "Forward speed [m/s] at the start.", -10.0, 100.0),
    Parameter(
        "aiding",
        "none",
        "What starts and aids it while it lasts: the topic odometry, or fix with fix_velocity.",
        choices=AIDING,
    ),
    Parameter("wheel_speed", False, "Use the forward speed on wheel/twist."),
    Parameter(
        "rejoin_after",
        5.0,
        "Time [s] after which a source that was refused and insists is believed.",
        0.5,
        600.0,
    ),
    Parameter(
        "latitude",
        0.0,
        "Latitude [deg], to take the Earth's rate off the gyro; 0: that of the first fix, else left in.",
        -90.0,
        90.0,
    ),
    Parameter("imu_roll", 0.0, "Mounting of the IMU [deg]: 180 for one that looks down.", -180.0, 180.0),
    Parameter("imu_pitch", 0.0, "As imu_roll.", -180.0, 180.0),
    Parameter("imu_yaw", 0.0, "As imu_roll; 90 for one whose x axis looks left.", -180.0, 180.0),
    Parameter("antenna_x", 0.0, "Antenna of the fix ahead of the IMU [m].", -50.0, 50.0),
    Parameter("antenna_y", 0.0, "Antenna of the fix left of the IMU [m].", -50.0, 50.0),
    Parameter("antenna_z", 0.0, "Antenna of the fix above the IMU [m].", -50.0, 50.0),
    Parameter("publish_rate", 0.0, "Odometry rate [Hz] at most; 0: every sample.", 0.0, 10000.0),
    Parameter("world_frame", "odom", "frame_id of the odometry."),
    Parameter("child_frame", "imu_link", "child_frame_id of the odometry: the IMU, vehicle axes."),
    Parameter("publish_tf", False, "Broadcast world_frame to child_frame on /tf too; needs tf2_ros."),
    Parameter("latency_budget_us", 150.0, "Processing [us] a sample above which a warning is due.", 1.0, 1e6),
)


class DeadReckoningNode(ManagedNode):
    """Thin: messages to the stream, estimates to publishers, counts to diagnostics."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("dead_reckoning_node", PARAMETERS, **arguments)
        self._stream: DeadReckoningStream | None = None

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        self._setups = {"constant": constant_setup()}
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
        setup = self._chosen(parameters["use_network"])
        warm_up(setup)
        self._stream = DeadReckoningStream(setup, stream_params(parameters), clock=time.monotonic)
        self._latency = Latency(parameters["latency_budget_us"] * 1e-6, unit="sample")
        self._frames = parameters["world_frame"], parameters["child_frame"]
        self._odometry = self.advertise(Odometry, OUTPUT_TOPIC)
        self._tf = transform_broadcaster(self, *self._frames) if parameters["publish_tf"] else None
        for topic, msgtype in self._stream.topics.items():
            self.subscribe(TYPES[msgtype], topic, partial(self._on_message, topic))
        provider = f" on {self._model.provider}" if self._model else ""
        self.get_logger().info(f"covariance by {setup.method}{provider}, aiding {parameters['aiding']}")

    def reset(self) -> None:
        """See `ManagedNode`."""
        if self._stream is not None:
            self._stream.reset()

    def change(self, name: str, value: Any) -> None:
        """See `ManagedNode`."""
        if name == "use_network" and self._stream is not None:
            if value and self._model is None:
                raise ParameterError("use_network needs a model: start the node with model set")
            self._stream.use(self._chosen(value))

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
            bad = ERROR if name == "signals" else WARN
            aspects.append(Status(name, bad if problem else OK, problem or "ok", found))
        return [model, self._latency.status(), *aspects]

    def _chosen(self, use_network: bool) -> Setup:
        if "network" not in self._setups:
            return self._setups["constant"]
        return self._setups["network" if use_network else "tuned"]

    def _on_message(self, topic: str, data: bytes) -> None:
        if not self.active or self._stream is None:
            return
        begin = time.perf_counter()
        ready = estimate = None
        try:
            estimate = self._stream.feed(topic, data)
            if estimate is not None:
                ready = encode_estimate(estimate, *self._frames)
        except Exception as error:
            self.get_logger().error(f"a message was dropped: {error!r}", throttle_duration_sec=30.0)
            self._stream.reset()
        computed = time.perf_counter()
        if ready is not None and estimate is not None:
            self._odometry.publish(ready)
            if self._tf is not None:
                self._tf(estimate.stamp, estimate.position, estimate.quaternion)
        self._latency.add(computed - begin, 1, time.perf_counter() - computed)


def stream_params(parameters: dict[str, Any]) -> StreamParams:
    """What the parameters say of the stream."""
    p = parameters
    start = None
    if p["start"] == "parameters":
        heading = math.radians(p["start_heading"])
        start = Start((p["start_x"], p["start_y"], p["start_z"]), heading, p["start_speed"])
    return StreamParams(
        aiding=p["aiding"],
        wheel_speed=p["wheel_speed"],
        start=start,
        latitude=math.radians(p["latitude"]) or None,
        publish_rate=p["publish_rate"],
        mounting=tuple(math.radians(p[f"imu_{angle}"]) for angle in ("roll", "pitch", "yaw")),  # type: ignore[arg-type]
        antenna=tuple(p[f"antenna_{axis}"] for axis in "xyz"),  # type: ignore[arg-type]
        rejoin_after=p["rejoin_after"],
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(DeadReckoningNode, args)


if __name__ == "__main__":
    sys.exit(main())

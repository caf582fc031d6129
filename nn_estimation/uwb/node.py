"""uwb_bias_node: ranges in, corrected ranges and the pose they give out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped, Vector3Stamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, Range

from nn_estimation import cdr
from nn_estimation.inference import Model
from nn_estimation.ros.diagnostics import OK, WARN, Latency, Status
from nn_estimation.ros.node import ManagedNode, run
from nn_estimation.ros.parameters import Parameter, ParameterError
from nn_estimation.uwb.bias import uncalibrated
from nn_estimation.uwb.estimator import Corrected, EstimatorParams, UwbEstimator
from nn_estimation.uwb.health import health
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import ODOMETRY_TOPIC, outputs
from nn_estimation.uwb.stream import UwbStream
from nn_estimation.uwb.warm_up import warm_up

TYPES = {
    cdr.RANGE: Range,
    cdr.VECTOR3: Vector3Stamped,
    cdr.IMU: Imu,
    cdr.ODOMETRY: Odometry,
    cdr.POSE: PoseStamped,
}
SILENCE = 0.2  # [s] without a message after which what is held back is let go

PARAMETERS = (
    Parameter("model", "", "Path of the ONNX file; empty only with use_network false, for raw ranges."),
    Parameter("model_sha256", "", "Refuse any other model file; hexadecimal, empty for no check."),
    Parameter("anchors", "", "Path of the YAML file with anchors and tags, see docs/interfaces.md."),
    Parameter(
        "provider",
        "auto",
        "What runs the network; auto times what loads on this machine and keeps the fastest.",
        choices=("auto", "cpu", "cuda", "tensorrt"),
    ),
    Parameter("use_network", True, "Correct with the network; off: the affine calibration.", live=True),
    Parameter(
        "pose_source",
        "localization",
        "Where the geometry comes from: the built-in localization, or the topic `odometry` or `pose`.",
        choices=("localization", "odometry", "pose"),
    ),
    Parameter("pose_timeout", 0.5, "Age [s] at which an external pose is no longer used.", 0.01, 10.0),
    Parameter("publish_odometry", True, "Publish the localization on odometry/uwb."),
    Parameter("max_delay", 0.05, "How far [s] one topic may lag behind another.", 0.0, 1.0),
    Parameter("latency_budget_us", 100.0, "Processing [us] a range above which a warning is due.", 1.0, 1e6),
)


class UwbBiasNode(ManagedNode):
    """Thin: messages to the stream, results to publishers, counts to diagnostics."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("uwb_bias_node", PARAMETERS, **arguments)
        self._stream: UwbStream | None = None

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        layout = read_layout(parameters["anchors"])
        self._models = {"raw": uncalibrated(layout)}
        self._model: Model | None = None
        if parameters["model"]:
            self._model = Model.load(
                parameters["model"],
                provider=parameters["provider"],
                sha256=parameters["model_sha256"] or None,
                sizes={"batch": len(layout.anchors) * len(layout.tags)},
            )
            self._models = load_bias_models(self._model, layout)  # type: ignore[assignment]
        elif parameters["use_network"]:
            raise ParameterError("no model: set model to an ONNX file, or use_network to false")
        source = parameters["pose_source"]
        params = EstimatorParams(source != "localization", parameters["pose_timeout"])
        estimator = UwbEstimator(layout, self._chosen(parameters["use_network"]), params)
        warm_up(estimator)
        self._stream = UwbStream(
            estimator,
            "odometry" if source == "odometry" else None,
            "pose" if source == "pose" else None,
            parameters["max_delay"],
            clock=time.monotonic,
        )
        self._latency = Latency(parameters["latency_budget_us"] * 1e-6)
        self._fed = time.monotonic()
        self._outputs = {
            topic: self.advertise(Range, topic)
            for tag in layout.tags
            for topic in (layout.tag_topic(tag.name, kind) for kind in ("range_corrected", "tdoa_corrected"))
        }
        if source == "localization" and parameters["publish_odometry"]:
            self._outputs[ODOMETRY_TOPIC] = self.advertise(Odometry, ODOMETRY_TOPIC)
        for topic, msgtype in self._stream.topics.items():
            self.subscribe(TYPES[msgtype], topic, partial(self._on_message, topic))
        self.tick(SILENCE / 2, self._on_silence)
        provider = f" on {self._model.provider}" if self._model else ""
        self.get_logger().info(
            f"{len(layout.anchors)} anchors, {len(layout.tags)} tags, bias model {estimator.model.method}{provider}"
        )

    def reset(self) -> None:
        """See `ManagedNode`."""
        if self._stream is not None:
            self._stream.reset()

    def change(self, name: str, value: Any) -> None:
        """See `ManagedNode`."""
        if name == "use_network" and self._stream is not None:
            if value and self._model is None:
                raise ParameterError("use_network needs a model: start the node with model set")
            self._stream.estimator.model = self._chosen(value)

    def statuses(self) -> list[Status]:
        """See `ManagedNode`."""
        if self._stream is None:
            return []
        model = Status("model", values={"method": self._stream.estimator.model.method})
        if self._model is not None:
            model.values = {
                **model.values,
                "file": self._model.path,
                "sha256": self._model.sha256,
                "provider": self._model.provider,
            }
        aspects = [
            Status(name, WARN if problem else OK, problem or "ok", found)
            for name, problem, found in health(self._stream)
        ]
        return [model, self._latency.status(), *aspects]

    def _chosen(self, use_network: bool) -> Any:
        if "network" not in self._models:
            return self._models["raw"]
        return self._models["network" if use_network else "affine"]

    def _on_message(self, topic: str, data: bytes) -> None:
        if self.active and self._stream is not None:
            begin = time.perf_counter()
            self._fed = time.monotonic()
            self._stream.feed(topic, data)
            self._publish(self._stream.corrected(), begin)

    def _on_silence(self) -> None:
        if self.active and self._stream is not None and time.monotonic() - self._fed > SILENCE:
            self._publish(self._stream.flush(), time.perf_counter())

    def _publish(self, results: Iterator[Corrected], begin: float) -> None:
        assert self._stream is not None
        ranges, ready = 0, []
        try:
            for result in results:
                ranges += len(result.epoch.tag)
                ready += [(topic, data) for topic, _, data in outputs(self._stream.layout, result)]
            computed = time.perf_counter()
            for topic, data in ready:
                if (publisher := self._outputs.get(topic)) is not None:
                    publisher.publish(data)
        except Exception as error:
            self.get_logger().error(f"an epoch was dropped: {error!r}", throttle_duration_sec=30.0)
            self._stream.reset()
            computed = time.perf_counter()
        self._latency.add(computed - begin, ranges, time.perf_counter() - computed)


def read_layout(anchors: str) -> Layout:
    """The layout in the file that the parameter `anchors` names.

    Raises:
        ParameterError: empty.
        LayoutError: cannot be used.
    """
    if not anchors:
        raise ParameterError("no anchors: set anchors to a YAML file with their positions")
    return Layout.from_yaml(Path(anchors))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(UwbBiasNode, args)


if __name__ == "__main__":
    sys.exit(main())

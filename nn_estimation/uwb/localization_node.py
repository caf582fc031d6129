"""uwb_localization_node: corrected ranges of any source in, the pose out; no network."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry

from nn_estimation import cdr
from nn_estimation.ros.diagnostics import OK, WARN, Latency, Status
from nn_estimation.ros.node import ManagedNode, run
from nn_estimation.ros.parameters import Parameter
from nn_estimation.uwb.bias import AsMeasured
from nn_estimation.uwb.estimator import Corrected, UwbEstimator
from nn_estimation.uwb.health import health
from nn_estimation.uwb.node import SILENCE, TYPES, read_layout
from nn_estimation.uwb.replay import encode_pose_estimate
from nn_estimation.uwb.stream import UwbStream
from nn_estimation.uwb.warm_up import warm_up

TOPIC = "odometry/uwb_localization"

PARAMETERS = (
    Parameter("anchors", "", "Path of the YAML file with anchors and tags, see docs/interfaces.md."),
    Parameter(
        "suffix", "_corrected", "Ending of the range topics: uwb/range_corrected; empty for raw ranges."
    ),
    Parameter(
        "range_std", 0.15, "Standard deviation [m] of ranges that come without a variance.", 0.001, 10.0
    ),
    Parameter("correlation_time", 0.08, "Time [s] over which range errors stay alike.", 0.0, 10.0),
    Parameter("max_delay", 0.05, "How far [s] one topic may lag behind another.", 0.0, 1.0),
    Parameter("latency_budget_us", 100.0, "Processing [us] a range above which a warning is due.", 1.0, 1e6),
)


class UwbLocalizationNode(ManagedNode):
    """The filter of uwb_bias_node alone, on ranges as they come."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("uwb_localization_node", PARAMETERS, **arguments)
        self._stream: UwbStream | None = None

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        layout = read_layout(parameters["anchors"])
        model = AsMeasured(parameters["range_std"] ** 2, parameters["correlation_time"])
        estimator = UwbEstimator(layout, model)
        warm_up(estimator)
        self._stream = UwbStream(
            estimator, max_delay=parameters["max_delay"], suffix=parameters["suffix"], clock=time.monotonic
        )
        self._latency = Latency(parameters["latency_budget_us"] * 1e-6)
        self._fed = time.monotonic()
        self._publisher = self.advertise(Odometry, TOPIC)
        for topic, msgtype in self._stream.topics.items():
            if msgtype != cdr.VECTOR3:
                self.subscribe(TYPES[msgtype], topic, partial(self._on_message, topic))
        self.tick(SILENCE / 2, self._on_silence)

    def reset(self) -> None:
        """See `ManagedNode`."""
        if self._stream is not None:
            self._stream.reset()

    def statuses(self) -> list[Status]:
        """See `ManagedNode`."""
        if self._stream is None:
            return []
        return [self._latency.status()] + [
            Status(name, WARN if problem else OK, problem or "ok", found)
            for name, problem, found in health(self._stream)
            if name != "fallback"
        ]

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
                if result.pose is not None:
                    ready.append(encode_pose_estimate(result.pose))
            computed = time.perf_counter()
            for data in ready:
                self._publisher.publish(data)
        except Exception as error:
            self.get_logger().error(f"an epoch was dropped: {error!r}", throttle_duration_sec=30.0)
            self._stream.reset()
            computed = time.perf_counter()
        self._latency.add(computed - begin, ranges, time.perf_counter() - computed)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(UwbLocalizationNode, args)


if __name__ == "__main__":
    sys.exit(main())

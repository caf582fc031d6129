"""uwb_localization_node: corrected ranges of any source in, the pose out; no network."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from nav_msgs.msg import Odometry

from nn_estimation import cdr
from nn_estimation.parameters import Parameter
from nn_estimation.ros.node import run
from nn_estimation.ros.stream_node import Publication
from nn_estimation.uwb.bias import AsMeasured
from nn_estimation.uwb.epoch_node import EpochNode, read_layout
from nn_estimation.uwb.estimator import Corrected, UwbEstimator
from nn_estimation.uwb.health import health
from nn_estimation.uwb.parameters import ANCHORS, LATENCY_BUDGET, MAX_DELAY, UNIT
from nn_estimation.uwb.replay import encode_pose_estimate
from nn_estimation.uwb.stream import UwbStream
from nn_estimation.uwb.warm_up import warm_up

TOPIC = "odometry/uwb_localization"

PARAMETERS = (
    ANCHORS,
    Parameter(
        "suffix", "_corrected", "Ending of the range topics: uwb/range_corrected; empty for raw ranges."
    ),
    Parameter(
        "range_std", 0.15, "Standard deviation [m] of ranges that come without a variance.", 0.001, 10.0
    ),
    Parameter("correlation_time", 0.08, "Time [s] over which range errors stay alike.", 0.0, 10.0),
    MAX_DELAY,
    LATENCY_BUDGET,
)


class UwbLocalizationNode(EpochNode):
    """The filter of uwb_bias_node alone, on ranges as they come."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("uwb_localization_node", PARAMETERS, _health, UNIT, **arguments)

    def configure(self, parameters: dict[str, Any]) -> None:
        """See `ManagedNode`."""
        layout = read_layout(parameters["anchors"])
        model = AsMeasured(parameters["range_std"] ** 2, parameters["correlation_time"])
        estimator = UwbEstimator(layout, model)
        warm_up(estimator)
        stream = UwbStream(
            estimator,
            max_delay=parameters["max_delay"],
            suffix=parameters["suffix"],
            power=False,
            clock=time.monotonic,
        )
        self._publish = self.advertise(Odometry, TOPIC).publish
        self.listen(stream, parameters)

    def due(self, epoch: Corrected) -> Iterator[Publication]:
        """See `EpochNode`."""
        if epoch.pose is not None:
            stamp_ns = cdr.stamp_ns(epoch.epoch.messages[0])
            yield self._publish, encode_pose_estimate(epoch.pose, stamp_ns)


def _health(stream: UwbStream) -> list[tuple[str, str, dict[str, object]]]:
    return [found for found in health(stream) if found[0] != "fallback"]  # nothing is corrected


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(UwbLocalizationNode, args)


if __name__ == "__main__":
    sys.exit(main())

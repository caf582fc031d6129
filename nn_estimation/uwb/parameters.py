"""The parameters of the nodes on ranges, and what they say of the stream; the replay reads them without ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nn_estimation.parameters import Parameter, latency_budget, model_parameters
from nn_estimation.uwb.bias import BiasModel
from nn_estimation.uwb.estimator import EstimatorParams, UwbEstimator
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.stream import UwbStream

NODE, UNIT = "uwb_bias_node", "range"
WITHOUT_NETWORK = "affine"  # the method
LOCALIZATION = "localization"

ANCHORS = Parameter("anchors", "", "Path of the YAML file with anchors and tags, see docs/interfaces.md.")
MAX_DELAY = Parameter("max_delay", 0.05, "How far [s] one topic may lag behind another.", 0.0, 1.0)
LATENCY_BUDGET = latency_budget(100.0, UNIT)

PARAMETERS = (
    *model_parameters("raw ranges", "Correct with the network; off: the affine calibration."),
    ANCHORS,
    Parameter(
        "pose_source",
        LOCALIZATION,
        "Where the geometry comes from: the built-in localization, or the topic `odometry` or `pose`.",
        choices=(LOCALIZATION, "odometry", "pose"),
    ),
    Parameter("pose_timeout", 0.5, "Age [s] at which an external pose is no longer used.", 0.01, 10.0),
    Parameter("publish_odometry", True, "Publish the localization on odometry/uwb."),
    MAX_DELAY,
    LATENCY_BUDGET,
)


def stream_of(
    layout: Layout, model: BiasModel, parameters: dict[str, Any], clock: Callable[[], float] | None = None
) -> UwbStream:
    """The stream that the parameters ask for; clock as of `UwbStream`."""
    source = parameters["pose_source"]
    estimator = UwbEstimator(
        layout, model, EstimatorParams(source != LOCALIZATION, parameters["pose_timeout"])
    )
    return UwbStream(
        estimator,
        source if source == "odometry" else None,
        source if source == "pose" else None,
        parameters["max_delay"],
        clock=clock,
    )


def says_where(parameters: dict[str, Any]) -> bool:
    """Whether the localization is published."""
    return bool(parameters["pose_source"] == LOCALIZATION and parameters["publish_odometry"])

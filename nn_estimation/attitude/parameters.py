"""The parameters of attitude_node, and what they say of its stream; the replay reads them without ROS."""

from __future__ import annotations

import math
from typing import Any

from nn_estimation.attitude.frames import FROM_ENU
from nn_estimation.attitude.stream import StreamParams
from nn_estimation.parameters import Parameter, latency_budget, model_parameters

NODE, UNIT = "attitude_node", "message"
WITHOUT_NETWORK = "filter"  # the method

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


def stream_params(parameters: dict[str, Any]) -> StreamParams:
    """What the parameters say of the stream."""
    return StreamParams(
        world_frame=parameters["world_frame"],
        declination=math.radians(parameters["declination"]),
        mounting=tuple(math.radians(parameters[f"imu_{angle}"]) for angle in ("roll", "pitch", "yaw")),  # type: ignore[arg-type]
        use_mag=parameters["use_mag"],
        publish_rate=parameters["publish_rate"],
    )

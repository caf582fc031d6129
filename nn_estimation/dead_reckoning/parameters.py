"""The parameters of dead_reckoning_node, and what they say of its stream; the replay reads them without ROS."""

from __future__ import annotations

import math
from typing import Any

from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import AIDING, StreamParams
from nn_estimation.parameters import Parameter, latency_budget, model_parameters

NODE, UNIT = "dead_reckoning_node", "sample"
WITHOUT_NETWORK = "tuned"  # the method

PARAMETERS = (
    *model_parameters("the constants", "Let the network say the covariance; off: the tuned constants."),
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
    latency_budget(150.0, UNIT),
)


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

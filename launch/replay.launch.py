"""Play a bag through uwb_bias_node and record what it publishes; ends when the bag does."""

import sys

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Bag -> node -> recorder."""
    share = FindPackageShare("nn_estimation")
    passed = ("model", "anchors", "params")
    value = {name: LaunchConfiguration(name) for name in ("bag", "out", "rate", *passed)}
    player = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "nn_estimation.ros.player", value["bag"], "--rate", value["rate"]),
            *("--wait-for", "*uwb/range", "*uwb/tdoa"),
        ],
        output="screen",
    )
    recorder = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "nn_estimation.ros.recorder", value["out"]),
            *("*odometry/uwb", "*uwb/*_corrected", "/diagnostics"),
        ],
        output="screen",
    )
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "uwb_bias.launch.py"])),
        launch_arguments={**{name: value[name] for name in passed}, "use_sim_time": "true"}.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="bag to play"),
            DeclareLaunchArgument("out", description="folder of the new bag"),
            *(
                DeclareLaunchArgument(name, default_value="", description="as of uwb_bias.launch.py")
                for name in passed
            ),
            DeclareLaunchArgument("rate", default_value="1.0", description="times real time"),
            node,
            recorder,
            player,
            RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[Shutdown()])),
        ]
    )

"""Play a bag through a node and record what it publishes; ends when the bag does."""

import sys

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from nn_estimation.ros.domain import room_for_bursts

# By node: topics the player waits for, topics that are recorded, arguments that are passed on.
NODES = {
    "uwb_bias": (("*uwb/range", "*uwb/tdoa"), ("*odometry/uwb", "*uwb/*_corrected"), ("anchors",)),
    "dead_reckoning": (("*imu/data_raw",), ("*odometry/dead_reckoning",), ("aiding", "start")),
    "attitude": (("*imu/data_raw",), ("*imu/data", "*imu/bias"), ("use_mag", "world_frame")),
}
PASSED = ("model", "params")


def generate_launch_description() -> LaunchDescription:
    """Bag -> node -> recorder."""
    of_one = {name: node for node, (*_, arguments) in NODES.items() for name in arguments}
    return LaunchDescription(
        [
            DeclareLaunchArgument("node", default_value="uwb_bias", choices=list(NODES)),
            DeclareLaunchArgument("bag", description="bag to play"),
            DeclareLaunchArgument("out", description="folder of the new bag"),
            DeclareLaunchArgument("rate", default_value="1.0", description="times real time"),
            *(
                DeclareLaunchArgument(name, default_value="", description="as of the node's launch file")
                for name in PASSED
            ),
            *(
                DeclareLaunchArgument(name, default_value="", description=f"as of {node}.launch.py")
                for name, node in of_one.items()
            ),
            OpaqueFunction(function=_actions),
        ]
    )


def _actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    name = LaunchConfiguration("node").perform(context)
    inputs, outputs, arguments = NODES[name]
    value = {key: LaunchConfiguration(key) for key in ("bag", "out", "rate", *PASSED, *arguments)}
    player = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "nn_estimation.ros.player", value["bag"], "--rate", value["rate"]),
            *("--wait-for", *inputs),
        ],
        output="screen",
    )
    recorder = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "nn_estimation.ros.recorder", value["out"]),
            *(*outputs, "/diagnostics"),
        ],
        output="screen",
    )
    share = FindPackageShare("nn_estimation")
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", f"{name}.launch.py"])),
        launch_arguments={
            **{key: value[key] for key in (*PASSED, *arguments)},
            "use_sim_time": "true",
        }.items(),
    )
    return [
        *(SetEnvironmentVariable(*pair) for pair in room_for_bursts(context.environment).items()),
        node,
        recorder,
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[Shutdown()])),
    ]

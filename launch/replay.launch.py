"""Play a bag through a node and record what it publishes; ends when nothing more comes of the bag."""

import signal
import sys

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import SignalProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetParameter
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from nn_estimation.bags import BagReader
from nn_estimation.ros.domain import room_for_bursts

# By node: topics that the player waits for, one that is recorded, all that are, arguments that are passed on.
NODES = {
    "uwb_bias": (
        ("*uwb/range", "*uwb/tdoa"),
        "odometry/uwb",
        ("*odometry/uwb", "*uwb/*_corrected"),
        ("anchors",),
    ),
    "dead_reckoning": (
        ("*imu/data_raw",),
        "odometry/dead_reckoning",
        ("*odometry/dead_reckoning",),
        ("aiding", "start"),
    ),
    "attitude": (("*imu/data_raw",), "imu/data", ("*imu/data", "*imu/bias"), ("use_mag", "world_frame")),
}
READY = "60.0"  # [s] at most until the recorder listens; what is played before that is not in the new bag
QUIET = "1.0"  # [s] without a message after which the recording is over
DEPTH = 10_000  # messages that wait for the node: sensor data is best effort, but all of a bag is to be heard
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
    inputs, output, outputs, arguments = NODES[name]
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
            *(*outputs, "/diagnostics", "--quiet", QUIET),
        ],
        output="screen",
    )
    recording = ExecuteProcess(
        cmd=[sys.executable, "-m", "nn_estimation.ros.listeners", output, "--timeout", READY], output="screen"
    )
    interrupt = EmitEvent(
        event=SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(recorder))
    )
    share = FindPackageShare("nn_estimation")
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", f"{name}.launch.py"])),
        launch_arguments={
            **{key: value[key] for key in (*PASSED, *arguments)},
            "use_sim_time": "true",
        }.items(),
    )
    with BagReader(value["bag"].perform(context)) as bag:
        heard = [f"qos_overrides./{topic}.subscription" for topic in bag.topics]
    return [
        *(SetParameter(f"{topic}.reliability", "reliable") for topic in heard),
        *(SetParameter(f"{topic}.depth", DEPTH) for topic in heard),
        *(SetEnvironmentVariable(*pair) for pair in room_for_bursts(context.environment).items()),
        node,
        recorder,
        recording,
        RegisterEventHandler(OnProcessExit(target_action=recording, on_exit=[player])),
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[interrupt])),
        RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=[Shutdown()])),
    ]

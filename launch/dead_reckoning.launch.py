"""Start dead_reckoning_node."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "model": "ONNX file of the vehicle; default: that in params, else the shipped dead_reckoning.onnx",
    "params": "parameter file; what it leaves out is as in config/ of the package",
    "provider": "auto, cpu, cuda or tensorrt; default: that in params",
    "use_network": "false: the tuned constants, to see what the network adds; default: that in params",
    "aiding": "none, odometry or fix; default: that in params",
    "start": "wait or parameters; default: that in params",
    "use_sim_time": "true when a bag is played; default: that in params",
    "namespace": "of the node and its topics",
}
PARAMETERS = {
    "model": str,
    "provider": str,
    "use_network": bool,
    "aiding": str,
    "start": str,
    "use_sim_time": bool,
}


def generate_launch_description() -> LaunchDescription:
    """The node of the dead reckoning wing."""
    arguments = [
        DeclareLaunchArgument(name, default_value="", description=text) for name, text in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])


def _node(context: LaunchContext) -> list[Node]:
    """Parameters by rising precedence: of the node itself, of the file, and the arguments that were given."""
    model = Path(get_package_share_directory("nn_estimation")) / "models" / "dead_reckoning.onnx"
    given = {name: text for name in ARGUMENTS if (text := LaunchConfiguration(name).perform(context))}
    files = [given["params"]] if "params" in given else []
    if files and not Path(files[0]).is_file():
        raise FileNotFoundError(f"no parameter file {files[0]}: see the argument params")
    explicit = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in PARAMETERS.items()
        if name in given
    }
    return [
        Node(
            package="nn_estimation",
            executable="dead_reckoning_node",
            name="dead_reckoning_node",
            namespace=given.get("namespace", ""),
            output="screen",
            parameters=[*files, explicit],
            # A bare -p is the weakest there is; as a dict of this launch file it would go before the user's file.
            ros_arguments=["-p", f"model:={model}"],
        )
    ]

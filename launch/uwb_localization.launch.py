"""Start uwb_localization_node alone, on corrected or raw ranges."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "anchors": "YAML file with anchors and tags; default: that in params",
    "suffix": "ending of the range topics; '' (within double quotes in a shell): raw ranges; default: that in params",
    "params": "parameter file; what it leaves out is as in config/uwb_localization.yaml of the package",
    "use_sim_time": "true when a bag is played; default: that in params",
    "namespace": "of the node and topics",
}


def generate_launch_description() -> LaunchDescription:
    """One node."""
    arguments = [
        DeclareLaunchArgument(name, default_value="", description=text) for name, text in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])


def _node(context: LaunchContext) -> list[Node]:
    """Parameters by rising precedence: of the node itself, of the file, and the arguments that were given."""
    given = {name: text for name in ARGUMENTS if (text := LaunchConfiguration(name).perform(context))}
    files = [given["params"]] if "params" in given else []
    if files and not Path(files[0]).is_file():
        raise FileNotFoundError(f"no parameter file {files[0]}: see the argument params")
    kinds = {"anchors": str, "suffix": None, "use_sim_time": bool}  # None: YAML, for the quotes of ''
    explicit = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in kinds.items()
        if name in given
    }
    return [
        Node(
            package="nn_estimation",
            executable="uwb_localization_node",
            name="uwb_localization_node",
            namespace=given.get("namespace", ""),
            output="screen",
            parameters=[*files, explicit],
        )
    ]

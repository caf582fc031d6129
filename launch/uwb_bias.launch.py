"""Start uwb_bias_node, and with localization:=true the classical localization on its output."""

from collections.abc import Iterable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "model": "ONNX file of the bias model; default: that in params, else the shipped uwb_bias.onnx",
    "anchors": "YAML file with anchors and tags; default: that in params",
    "params": "parameter file, for both nodes; what it leaves out is as in config/ of the package",
    "provider": "auto, cpu, cuda or tensorrt; default: that in params",
    "use_network": "false: the affine calibration, to see what the network adds; default: that in params",
    "localization": "true: also start uwb_localization_node",
    "use_sim_time": "true when a bag is played; default: that in params",
    "namespace": "of the nodes and topics",
}
PARAMETERS = {"model": str, "anchors": str, "provider": str, "use_network": bool, "use_sim_time": bool}
SHARED = ("anchors", "use_sim_time")  # parameters of both nodes


def generate_launch_description() -> LaunchDescription:
    """The nodes of the UWB wing."""
    arguments = [
        DeclareLaunchArgument(name, default_value="", description=text) for name, text in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    """Parameters by rising precedence: of the node itself, of the file, and the arguments that were given."""
    model = Path(get_package_share_directory("nn_estimation")) / "models" / "uwb_bias.onnx"
    given = {name: text for name in ARGUMENTS if (text := LaunchConfiguration(name).perform(context))}
    files = [given["params"]] if "params" in given else []
    if files and not Path(files[0]).is_file():
        raise FileNotFoundError(f"no parameter file {files[0]}: see the argument params")
    explicit = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in PARAMETERS.items()
        if name in given
    }

    def node(name: str, takes: Iterable[str], *ros_arguments: str) -> Node:
        return Node(
            package="nn_estimation",
            executable=f"{name}_node",
            name=f"{name}_node",
            namespace=given.get("namespace", ""),
            output="screen",
            parameters=[*files, {key: explicit[key] for key in takes if key in explicit}],
            ros_arguments=list(ros_arguments),
        )

    # A bare -p is the weakest there is; as a dict of this launch file it would go before the user's file.
    nodes = [node("uwb_bias", PARAMETERS, "-p", f"model:={model}")]
    if given.get("localization", "false").lower() in ("true", "1", "yes", "on"):
        nodes.append(node("uwb_localization", SHARED))
    return nodes

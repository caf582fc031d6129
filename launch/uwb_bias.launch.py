"""Start uwb_bias_node, and with localization:=true the classical localization on its output."""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from nn_estimation.ros.launching import declared, managed_node, shipped

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
SHARED = {"anchors": str, "use_sim_time": bool}  # parameters of both nodes


def generate_launch_description() -> LaunchDescription:
    """The nodes of the UWB wing."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    nodes = [managed_node(context, "uwb_bias_node", PARAMETERS, shipped("uwb_bias.onnx"))]
    if LaunchConfiguration("localization").perform(context).lower() in ("true", "1", "yes", "on"):
        nodes.append(managed_node(context, "uwb_localization_node", SHARED))
    return nodes

"""Start attitude_node."""

from launch import LaunchDescription
from nn_estimation.ros.launching import one_node

ARGUMENTS = {
    "model": "ONNX file of the attitude model; default: that in params, else the shipped attitude.onnx",
    "params": "parameter file; what it leaves out is as in config/ of the package",
    "provider": "auto, cpu, cuda or tensorrt; default: that in params",
    "use_network": "false: the filter alone, to see what the network adds; default: that in params",
    "use_mag": "false: the heading counts from the start; default: that in params",
    "world_frame": "enu, ned or nwu; default: that in params",
    "use_sim_time": "true when a bag is played; default: that in params",
    "namespace": "of the node and its topics",
}
PARAMETERS = {
    "model": str,
    "provider": str,
    "use_network": bool,
    "use_mag": bool,
    "world_frame": str,
    "use_sim_time": bool,
}


def generate_launch_description() -> LaunchDescription:
    """The node of the attitude wing."""
    return one_node("attitude_node", ARGUMENTS, PARAMETERS, model="attitude.onnx")

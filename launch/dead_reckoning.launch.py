"""Start dead_reckoning_node."""

from launch import LaunchDescription
from nn_estimation.ros.launching import one_node

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
    return one_node("dead_reckoning_node", ARGUMENTS, PARAMETERS, model="dead_reckoning.onnx")

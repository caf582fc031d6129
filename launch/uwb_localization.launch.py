"""Start uwb_localization_node alone, on corrected or raw ranges."""

from launch import LaunchDescription
from nn_estimation.ros.launching import one_node

ARGUMENTS = {
    "anchors": "YAML file with anchors and tags; default: that in params",
    "suffix": "ending of the range topics; '' (within double quotes in a shell): raw ranges; default: that in params",
    "params": "parameter file; what it leaves out is as in config/uwb_localization.yaml of the package",
    "use_sim_time": "true when a bag is played; default: that in params",
    "namespace": "of the node and topics",
}
PARAMETERS = {"anchors": str, "suffix": None, "use_sim_time": bool}  # None: YAML, for the quotes of ''


def generate_launch_description() -> LaunchDescription:
    """One node."""
    return one_node("uwb_localization_node", ARGUMENTS, PARAMETERS)

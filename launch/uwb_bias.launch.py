"""Start uwb_bias_node, and with localization:=true the classical localization on its output."""

from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

ARGUMENTS = {
    "model": ("", "ONNX file of the bias model; default: the shipped uwb_bias.onnx"),
    "anchors": (None, "YAML file with anchors and tags"),
    "params": ("", "parameter file; default: config/uwb_bias.yaml of the package"),
    "provider": ("auto", "auto, cpu, cuda or tensorrt"),
    "use_network": ("true", "false: the affine calibration, to see what the network adds"),
    "localization": ("false", "also start uwb_localization_node"),
    "use_sim_time": ("false", "true when a bag is played"),
    "namespace": ("", "of the nodes and topics"),
}


def generate_launch_description() -> LaunchDescription:
    """The nodes of the UWB wing."""
    share = FindPackageShare("nn_estimation")
    defaults = {
        "model": PathJoinSubstitution([share, "models", "uwb_bias.onnx"]),
        "params": PathJoinSubstitution([share, "config", "uwb_bias.yaml"]),
    }
    arguments = [
        DeclareLaunchArgument(name, description=text, **_default(defaults.get(name, default)))
        for name, (default, text) in ARGUMENTS.items()
    ]
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    sim_time = ParameterValue(value["use_sim_time"], value_type=bool)
    bias = Node(
        package="nn_estimation",
        executable="uwb_bias_node",
        name="uwb_bias_node",
        namespace=value["namespace"],
        output="screen",
        parameters=[
            value["params"],
            {
                "model": value["model"],
                "anchors": value["anchors"],
                "provider": value["provider"],
                "use_network": ParameterValue(value["use_network"], value_type=bool),
                "use_sim_time": sim_time,
            },
        ],
    )
    localization = Node(
        package="nn_estimation",
        executable="uwb_localization_node",
        name="uwb_localization_node",
        namespace=value["namespace"],
        output="screen",
        parameters=[{"anchors": value["anchors"], "use_sim_time": sim_time}],
        condition=IfCondition(value["localization"]),
    )
    return LaunchDescription([*arguments, bias, localization])


def _default(value: object) -> dict[str, object]:
    return {} if value is None else {"default_value": value}

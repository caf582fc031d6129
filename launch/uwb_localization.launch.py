"""Start uwb_localization_node alone, on corrected or raw ranges."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One node."""
    share = FindPackageShare("nn_estimation")
    value = {
        name: LaunchConfiguration(name)
        for name in ("anchors", "suffix", "params", "use_sim_time", "namespace")
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument("anchors", description="YAML file with anchors and tags"),
            DeclareLaunchArgument(
                "suffix",
                default_value="_corrected",
                description="ending of the range topics; '' (within double quotes in a shell): raw ranges",
            ),
            DeclareLaunchArgument(
                "params",
                default_value=PathJoinSubstitution([share, "config", "uwb_localization.yaml"]),
                description="parameter file",
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="true when a bag is played"
            ),
            DeclareLaunchArgument("namespace", default_value="", description="of the node and topics"),
            Node(
                package="nn_estimation",
                executable="uwb_localization_node",
                name="uwb_localization_node",
                namespace=value["namespace"],
                output="screen",
                parameters=[
                    value["params"],
                    {
                        "anchors": value["anchors"],
                        "suffix": ParameterValue(value["suffix"]),
                        "use_sim_time": ParameterValue(value["use_sim_time"], value_type=bool),
                    },
                ],
            ),
        ]
    )

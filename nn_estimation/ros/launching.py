"""Launch a managed node: what its launch file's arguments and the user's parameter file make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def one_node(
    name: str, arguments: Mapping[str, str], kinds: Mapping[str, type | None], model: str = ""
) -> LaunchDescription:
    """A managed node and its launch arguments.

    Args:
        name: of executable and node.
        arguments: descriptions by name.
        kinds: of those arguments that are parameters, as of `managed_node`.
        model: the shipped one that it runs where no other is named.
    """

    def nodes(context: LaunchContext) -> list[Node]:
        return [managed_node(context, name, kinds, shipped(model) if model else None)]

    return LaunchDescription([*declared(arguments), OpaqueFunction(function=nodes)])


def shipped(model: str) -> dict[str, str]:
    """The parameter `model` for a model file of this package."""
    return {"model": str(Path(get_package_share_directory("nn_estimation")) / "models" / model)}


def declared(arguments: Mapping[str, str]) -> list[DeclareLaunchArgument]:
    """Launch arguments by name and description; an empty one counts as not given."""
    return [
        DeclareLaunchArgument(name, default_value="", description=text) for name, text in arguments.items()
    ]


def managed_node(
    context: LaunchContext,
    name: str,
    kinds: Mapping[str, type | None],
    fallback: Mapping[str, str] | None = None,
) -> Node:
    """A node with, by rising precedence, its own parameters, `fallback`, the file `params`, the arguments given.

    Args:
        context: of the launch; `params` and `namespace` are arguments too.
        name: of executable and node.
        kinds: parameters that are arguments, with their types; None reads the text as YAML.
        fallback: parameters that the node itself does not know.

    Raises:
        FileNotFoundError: there is no such parameter file.
    """
    given = {key: LaunchConfiguration(key).perform(context) for key in ("params", "namespace", *kinds)}
    files = [given["params"]] if given["params"] else []
    if files and not Path(files[0]).is_file():
        raise FileNotFoundError(f"no parameter file {files[0]}: see the argument params")
    explicit = {
        key: ParameterValue(LaunchConfiguration(key), value_type=kind)
        for key, kind in kinds.items()
        if given[key]
    }
    # A bare -p is the weakest there is; as a dict of this launch file it would go before the user's file.
    weakest = [part for key, value in (fallback or {}).items() for part in ("-p", f"{key}:={value}")]
    return Node(
        package="nn_estimation",
        executable=name,
        name=name,
        namespace=given["namespace"],
        output="screen",
        parameters=[*files, explicit],
        ros_arguments=weakest,
    )

"""The commented parameter files say what the nodes themselves say of their parameters."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from nn_estimation.attitude.parameters import NODE, PARAMETERS
from nn_estimation.parameters import AUTOSTART, from_file
from nn_estimation.ros.parameters import as_yaml, declare, values

CONFIG = Path(__file__).resolve().parents[2] / "config"
NODES = {
    "attitude": "nn_estimation.attitude.node",
    "dead_reckoning": "nn_estimation.dead_reckoning.node",
    "uwb_bias": "nn_estimation.uwb.node",
    "uwb_localization": "nn_estimation.uwb.localization_node",
}


@pytest.mark.parametrize("name", NODES)
def test_a_parameter_file_is_what_the_node_declares(name: str) -> None:
    parameters = importlib.import_module(NODES[name]).PARAMETERS
    assert (CONFIG / f"{name}.yaml").read_text() == as_yaml(f"{name}_node", (AUTOSTART, *parameters))


def test_every_parameter_file_has_a_node() -> None:
    assert {path.stem for path in CONFIG.glob("*.yaml")} == set(NODES)


@pytest.mark.parametrize("head", ["/**", "/**/attitude_node", "/attitude_node", "attitude_node"])
def test_a_file_says_without_ros_what_it_says_to_the_node(head: str, tmp_path: Path) -> None:
    path, context = tmp_path / "node.yaml", Context()
    path.write_text(f"{head}:\n  ros__parameters: {{imu_yaw: 90.0, world_frame: ned, use_mag: false}}\n")
    rclpy.init(args=["--ros-args", "--params-file", str(path)], context=context)
    node = Node(NODE, context=context)
    declare(node, (AUTOSTART, *PARAMETERS))
    found = values(node, (AUTOSTART, *PARAMETERS))
    node.destroy_node()
    context.try_shutdown()
    assert found["imu_yaw"] == 90.0 and found == from_file(path, NODE, PARAMETERS)

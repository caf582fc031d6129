"""The commented parameter files say what the nodes themselves say of their parameters."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from nn_estimation.parameters import AUTOSTART
from nn_estimation.ros.parameters import as_yaml

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

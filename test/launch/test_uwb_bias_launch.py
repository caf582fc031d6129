"""uwb_bias.launch.py on a ROS 2 installation; test/live makes the same checks with plain processes."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="needs a ROS 2 installation: launch_pytest is not on PyPI"
)

from launched import LAYOUT, ROOT, TIMEOUT, Node, Watch, description
from lifecycle_msgs.msg import State
from sensor_msgs.msg import Range

import launch
from nn_estimation import cdr
from nn_estimation.uwb.layout import Layout


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    path = tmp_path / "anchors.yaml"
    path.write_text(LAYOUT)
    return path


@pytest.fixture
def params(tmp_path: Path, anchors: Path) -> Path:
    """Of a user: both nodes, some of their parameters."""
    path = tmp_path / "params.yaml"
    path.write_text(f"""
/**/uwb_bias_node:
  ros__parameters: {{anchors: {anchors}, model: "", use_network: false, provider: cpu, max_delay: 0.02}}
/**/uwb_localization_node:
  ros__parameters: {{anchors: {anchors}, suffix: _smoothed, range_std: 0.3}}
""")
    return path


@launch_pytest.fixture
def bias_node(watch: Watch, params: Path) -> launch.LaunchDescription:
    return description(watch, "uwb_bias", params=params)


@launch_pytest.fixture
def both_nodes_with_arguments(watch: Watch, params: Path, tmp_path: Path) -> launch.LaunchDescription:
    other = tmp_path / "other.yaml"
    other.write_text(LAYOUT)
    model = ROOT / "models" / "uwb_demo.onnx"
    return description(
        watch,
        "uwb_bias",
        params=params,
        anchors=other,
        model=model,
        use_network="true",
        use_sim_time="true",
        localization="true",
        namespace="robot",
    )


@launch_pytest.fixture
def localization_node(watch: Watch, params: Path) -> launch.LaunchDescription:
    return description(watch, "uwb_localization", params=params)


@launch_pytest.fixture
def localization_node_on_raw_ranges(watch: Watch, params: Path) -> launch.LaunchDescription:
    return description(watch, "uwb_localization", params=params, suffix="''")


class Probe(Node):
    """Publishes ranges of a robot that stands still and listens."""

    def __init__(self, anchors: Path) -> None:
        super().__init__()
        self.corrected: list[Range] = []
        self.node.create_subscription(Range, "uwb/range_corrected", self.corrected.append, 1000)
        self._output = self.node.create_publisher(Range, "uwb/range", 1000)
        self._layout = Layout.from_yaml(anchors)
        self._stamp = 1000.0

    def send(self) -> None:
        self._stamp += 0.02
        for anchor in self._layout.anchors:
            distance = float(np.linalg.norm(anchor.position - np.array([2.0, 3.0, 0.5])))
            message = cdr.RangeMessage(round(self._stamp * 1e9), anchor.name, distance, 0.0)
            self._output.publish(cdr.encode_range(message))
        time.sleep(0.02)


@pytest.fixture
def probe(anchors: Path) -> Any:
    probe = Probe(anchors)
    yield probe
    probe.close()


@pytest.mark.launch(fixture=bias_node)
def test_the_node_is_active_and_corrects_at_the_rate_of_the_ranges(bias_node: Any, probe: Probe) -> None:
    assert probe.state("uwb_bias_node") == State.PRIMARY_STATE_ACTIVE
    deadline = time.monotonic() + TIMEOUT
    while not probe.corrected and time.monotonic() < deadline:
        probe.send()
    time.sleep(0.5)
    before = len(probe.corrected)
    for _ in range(50):
        probe.send()
    while len(probe.corrected) < before + 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(probe.corrected) == before + 200


@pytest.mark.launch(fixture=bias_node)
def test_a_parameter_file_counts_where_no_argument_is_given(
    bias_node: Any, probe: Probe, anchors: Path
) -> None:
    found = probe.values("uwb_bias_node", "anchors", "model", "use_network", "provider", "max_delay")
    assert found == [str(anchors), "", False, "cpu", 0.02]
    assert probe.values("uwb_bias_node", "pose_timeout", "use_sim_time") == [0.5, False]


@pytest.mark.launch(fixture=both_nodes_with_arguments)
def test_arguments_that_are_given_go_before_the_file(
    both_nodes_with_arguments: Any, probe: Probe, tmp_path: Path
) -> None:
    found = probe.values("robot/uwb_bias_node", "anchors", "model", "use_network", "use_sim_time")
    assert found == [str(tmp_path / "other.yaml"), str(ROOT / "models" / "uwb_demo.onnx"), True, True]
    assert probe.values("robot/uwb_bias_node", "provider", "max_delay") == ["cpu", 0.02]
    found = probe.values("robot/uwb_localization_node", "anchors", "suffix", "range_std", "use_sim_time")
    assert found == [str(tmp_path / "other.yaml"), "_smoothed", 0.3, True]


@pytest.mark.launch(fixture=localization_node)
def test_localization_takes_its_part_of_the_file(localization_node: Any, probe: Probe) -> None:
    assert probe.values("uwb_localization_node", "suffix", "range_std") == ["_smoothed", 0.3]
    assert probe.values("uwb_localization_node", "correlation_time") == [0.08]


@pytest.mark.launch(fixture=localization_node_on_raw_ranges)
def test_an_empty_suffix_can_be_given(localization_node_on_raw_ranges: Any, probe: Probe) -> None:
    assert probe.values("uwb_localization_node", "suffix", "range_std") == ["", 0.3]

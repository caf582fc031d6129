"""dead_reckoning.launch.py on a ROS 2 installation; test/live makes the same checks with plain processes."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="needs a ROS 2 installation: launch_pytest is not on PyPI"
)

from launched import ROOT, TIMEOUT, Node, Watch, description
from lifecycle_msgs.msg import State
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu

import launch
from nn_estimation import cdr

NAME = "dead_reckoning_node"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """Of a user: some of the parameters."""
    path = tmp_path / "params.yaml"
    path.write_text(f"""
/**/{NAME}:
  ros__parameters: {{model: "", use_network: false, start: parameters, start_speed: 5.0, publish_rate: 50.0}}
""")
    return path


@launch_pytest.fixture
def node_with_a_file(watch: Watch, params: Path) -> launch.LaunchDescription:
    return description(watch, "dead_reckoning", params=params)


@launch_pytest.fixture
def node_with_arguments(watch: Watch, params: Path) -> launch.LaunchDescription:
    model = ROOT / "models" / "dead_reckoning.onnx"
    return description(
        watch,
        "dead_reckoning",
        params=params,
        model=model,
        use_network="true",
        aiding="fix",
        start="wait",
        use_sim_time="true",
        namespace="robot",
    )


class Probe(Node):
    """Publishes the samples of a vehicle that drives straight on, and listens."""

    def __init__(self) -> None:
        super().__init__()
        self.odometry: list[Odometry] = []
        self.node.create_subscription(Odometry, "odometry/dead_reckoning", self.odometry.append, 1000)
        self._output = self.node.create_publisher(Imu, "imu/data_raw", 1000)
        self._stamp = 1000.0

    def send(self, count: int) -> None:
        for _ in range(count):
            self._stamp += 0.01
            message = cdr.ImuMessage.of(
                round(self._stamp * 1e9), "imu_link", np.zeros(3), np.array([0.0, 0.0, 9.80655])
            )
            self._output.publish(cdr.encode_imu(message))
            time.sleep(0.005)


@pytest.fixture
def probe() -> Any:
    probe = Probe()
    yield probe
    probe.close()


@pytest.mark.launch(fixture=node_with_a_file)
def test_odometry_comes_out_at_the_rate_that_is_asked_for(node_with_a_file: Any, probe: Probe) -> None:
    assert probe.state(NAME) == State.PRIMARY_STATE_ACTIVE
    deadline = time.monotonic() + TIMEOUT
    while not probe.odometry and time.monotonic() < deadline:
        probe.send(10)
    time.sleep(0.5)
    before = len(probe.odometry)
    probe.send(200)
    while len(probe.odometry) < before + 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert abs(len(probe.odometry) - before - 100) <= 1
    assert abs(probe.odometry[-1].twist.twist.linear.x - 5.0) < 0.1


@pytest.mark.launch(fixture=node_with_arguments)
def test_arguments_that_are_given_go_before_the_file(node_with_arguments: Any, probe: Probe) -> None:
    names = ("model", "use_network", "aiding", "start", "use_sim_time", "publish_rate", "start_speed")
    model, *others = probe.values(f"robot/{NAME}", *names)
    assert model == str(ROOT / "models" / "dead_reckoning.onnx")
    assert others == [True, "fix", "wait", True, 50.0, 5.0]

"""attitude.launch.py on a ROS 2 installation; test/live makes the same checks with plain processes."""

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
from sensor_msgs.msg import Imu, MagneticField

import launch
from nn_estimation import cdr
from nn_estimation.messages import ImuMessage, MagneticFieldMessage

NAME = "attitude_node"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """Of a user: some of the parameters."""
    path = tmp_path / "params.yaml"
    path.write_text(f"""
/**/{NAME}:
  ros__parameters: {{model: "", use_network: false, child_frame: hand, publish_rate: 50.0}}
""")
    return path


@launch_pytest.fixture
def node_with_a_file(watch: Watch, params: Path) -> launch.LaunchDescription:
    return description(watch, "attitude", params=params)


@launch_pytest.fixture
def node_with_arguments(watch: Watch, params: Path) -> launch.LaunchDescription:
    model = ROOT / "models" / "attitude.onnx"
    return description(
        watch,
        "attitude",
        params=params,
        model=model,
        use_network="true",
        use_mag="false",
        world_frame="ned",
        use_sim_time="true",
        namespace="robot",
    )


class Probe(Node):
    """Publishes what an IMU and a magnetometer say that lie level, and listens."""

    def __init__(self) -> None:
        super().__init__()
        self.attitudes: list[Imu] = []
        self.node.create_subscription(Imu, "imu/data", self.attitudes.append, 1000)
        self._imu = self.node.create_publisher(Imu, "imu/data_raw", 1000)
        self._mag = self.node.create_publisher(MagneticField, "imu/mag", 1000)
        self._stamp = 1000.0

    def send(self, count: int) -> None:
        up, field = np.array([0.0, 0.0, 9.81]), np.array([0.0, 20e-6, -45e-6])
        for _ in range(count):
            self._stamp += 0.01
            ns = round(self._stamp * 1e9)
            imu = ImuMessage.of(ns, "imu_link", np.zeros(3), up)
            self._mag.publish(cdr.encode_mag(MagneticFieldMessage(ns, "imu_link", field, np.zeros(9))))
            self._imu.publish(cdr.encode_imu(imu))
            time.sleep(0.005)


@pytest.fixture
def probe() -> Any:
    probe = Probe()
    yield probe
    probe.close()


@pytest.mark.launch(fixture=node_with_a_file)
def test_attitudes_come_out_at_the_rate_that_is_asked_for(node_with_a_file: Any, probe: Probe) -> None:
    assert probe.state(NAME) == State.PRIMARY_STATE_ACTIVE
    deadline = time.monotonic() + TIMEOUT
    while not probe.attitudes and time.monotonic() < deadline:
        probe.send(10)
    time.sleep(0.5)
    before = len(probe.attitudes)
    probe.send(200)
    while len(probe.attitudes) < before + 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert abs(len(probe.attitudes) - before - 100) <= 1
    assert probe.attitudes[-1].header.frame_id == "hand"
    assert abs(probe.attitudes[-1].orientation.w) > 0.999


@pytest.mark.launch(fixture=node_with_arguments)
def test_arguments_that_are_given_go_before_the_file(node_with_arguments: Any, probe: Probe) -> None:
    names = ("model", "use_network", "use_mag", "world_frame", "use_sim_time", "publish_rate", "child_frame")
    model, *others = probe.values(f"robot/{NAME}", *names)
    assert model == str(ROOT / "models" / "attitude.onnx")
    assert others == [True, False, "ned", True, 50.0, "hand"]

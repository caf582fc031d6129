"""What launch tests share: the launch file under test, what becomes of its processes, and a node of their own."""

import threading
import time
from pathlib import Path
from typing import Any

import launch_pytest
import rclpy
from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart
from launch.launch_description_sources import PythonLaunchDescriptionSource
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters

import launch

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 90.0  # [s] the first start compiles
LAYOUT = """
anchors:
  a0: {position: [0.0, 0.0, 2.0]}
  a1: {position: [6.0, 0.0, 2.2]}
  a2: {position: [6.0, 5.0, 2.1]}
  a3: {position: [0.0, 5.0, 1.9]}
tags:
  tag: {position: [0.0, 0.0, 0.0]}
planar: {z: 0.5}
"""


class Watch:
    """What happened to the processes of a launch."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.codes: list[int] = []
        self.output = ""

    def handlers(self) -> list[launch.actions.RegisterEventHandler]:
        return [
            launch.actions.RegisterEventHandler(handler)
            for handler in (
                OnProcessStart(on_start=lambda event, _: self.pids.append(event.pid)),
                OnProcessIO(on_stdout=self._take, on_stderr=self._take),
                OnProcessExit(on_exit=lambda event, _: self.codes.append(event.returncode)),
            )
        ]

    def _take(self, event: Any) -> None:
        self.output += event.text.decode()


def until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def description(watch: Watch, file: str, **arguments: object) -> launch.LaunchDescription:
    """The launch file under test."""
    given = {name: str(value) for name, value in arguments.items()}
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / f"{file}.launch.py"))
    include = launch.actions.IncludeLaunchDescription(source, launch_arguments=given.items())
    return launch.LaunchDescription([*watch.handlers(), include, launch_pytest.actions.ReadyToTest()])


class Node:
    """A node in the test process, which spins by itself."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("probe")
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()

    def _spin(self) -> None:
        while rclpy.ok():
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(TIMEOUT)
        future = client.call_async(request)
        deadline = time.monotonic() + TIMEOUT
        while not future.done() and time.monotonic() < deadline:
            time.sleep(0.02)
        return future.result()

    def state(self, node: str) -> int:
        """Of the lifecycle of a node that runs."""
        return self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state.id

    def values(self, node: str, *names: str) -> list[Any]:
        """Parameters of a node that runs."""
        response = self.call(GetParameters, f"/{node}/get_parameters", GetParameters.Request(names=names))
        return [rclpy.parameter.parameter_value_to_python(value) for value in response.values]

    def close(self) -> None:
        rclpy.shutdown()
        self._spinner.join(5.0)

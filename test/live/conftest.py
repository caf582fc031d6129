"""Real nodes as plain processes on a network of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nn_estimation.ros.domain import own_network

os.environ.update(own_network())

TIMEOUT = 240.0  # [s] generous: the first start of a node compiles its filter, on a machine that may be busy
MATCHING = 0.5  # [s] for the far end of a topic, which learns of this one a little later


class Process:
    """A node as a user would start it; its output is kept."""

    def __init__(self, module: str, *args: str) -> None:
        command = [sys.executable, "-u", "-m", module, *args]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """As on a machine that has something else to do."""
        self._popen.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def wait(self, timeout: float = TIMEOUT) -> int:
        code = self._popen.wait(timeout)
        self._reader.join(5.0)
        return code

    def kill(self) -> None:
        if self.running:
            self._popen.kill()
            self._popen.wait()


@pytest.fixture(name="until", scope="session")
def until_fixture() -> Callable[..., Any]:
    """`until`, for tests that cannot import from a conftest."""
    return until


def until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait for a condition to give something true, and return that."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"still not so after {timeout:g} s")


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start a module as a process; killed after the test."""
    pytest.importorskip("rclpy")
    started: list[Process] = []

    def make(module: str, *args: str) -> Process:
        started.append(Process(module, *args))
        return started[-1]

    yield make
    for process in started:
        process.kill()


class Probe:
    """The test's own node: publishes CDR bytes, keeps what it hears, calls services."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._lock = threading.Lock()
        self.heard: dict[str, list[Any]] = {}
        self._outputs: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self._context.ok():
                raise

    def listen(self, msgtype: Any, topic: str, raw: bool = False) -> None:
        from rclpy.qos import QoSProfile

        self.heard[topic] = []
        self.node.create_subscription(
            msgtype, topic, self.heard[topic].append, QoSProfile(depth=5000), raw=raw
        )

    def publish(self, msgtype: Any, topic: str, *messages: Any) -> None:
        from rclpy.qos import QoSProfile

        if topic not in self._outputs:
            self._outputs[topic] = self.node.create_publisher(msgtype, topic, QoSProfile(depth=1000))
            until(self._outputs[topic].get_subscription_count)
            time.sleep(MATCHING)
        for message in messages:
            self._outputs[topic].publish(message)

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(TIMEOUT), f"no service {name}"
        future = client.call_async(request)
        until(future.done)
        return future.result()

    def diagnostic(self, suffix: str) -> Any:
        """Newest diagnostic status whose name ends so, or None."""
        for array in reversed(self.heard["/diagnostics"]):
            for status in array.status:
                if status.name.endswith(suffix):
                    return status
        return None

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
        self._thread.join(5.0)


@pytest.fixture
def probe() -> Iterator[Probe]:
    """A node in the test process, listening to /diagnostics."""
    pytest.importorskip("rclpy")
    from diagnostic_msgs.msg import DiagnosticArray

    probe = Probe()
    probe.listen(DiagnosticArray, "/diagnostics")
    yield probe
    probe.close()


LAYOUT = """
anchors:
  a0: {position: [0.0, 0.0, 2.0]}
  a1: {position: [6.0, 0.0, 2.2]}
  a2: {position: [6.0, 5.0, 2.1]}
  a3: {position: [0.0, 5.0, 1.9]}
tags:
  left: {position: [0.0, 0.3, 0.0]}
  right: {position: [0.0, -0.3, 0.0]}
planar: {z: 0.5}
"""


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    """A small room with four anchors and a robot with two tags."""
    path = tmp_path / "anchors.yaml"
    path.write_text(LAYOUT)
    return path

"""The dead reckoning node as a user starts it: a real process, real DDS."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger

from nn_estimation import cdr
from nn_estimation.dead_reckoning.filter import GRAVITY

NODE = "nn_estimation.dead_reckoning.node"
MODEL = Path(__file__).resolve().parents[2] / "models" / "dead_reckoning.onnx"
PLAIN = ("use_network:=false",)
HERE = ("start:=parameters", "start_speed:=5.0")
UP = np.array([0.0, 0.0, GRAVITY])

# Best effort, as drivers have it, would lose what waits for its turn on a busy machine.
RELIABLE = "qos_overrides./imu/data_raw.subscription.reliability:=reliable"


def arguments(*pairs: str) -> list[str]:
    pairs = (RELIABLE, *pairs)
    return ["--ros-args", *(part for pair in pairs for part in ("-p", pair))]


def sample(t: float, gyro: np.ndarray, accel: np.ndarray) -> bytes:
    return cdr.encode_imu(cdr.ImuMessage.of(round(t * 1e9), "imu_link", gyro, accel))


class Car:
    """Publishes the samples of a car that drives straight on."""

    def __init__(self, probe: Any, rate: float = 100.0) -> None:
        self.probe, self.period, self.t = probe, 1.0 / rate, 1000.0
        probe.listen(Odometry, "/odometry/dead_reckoning")
        probe.publish(Imu, "/imu/data_raw")

    @property
    def odometry(self) -> list[Any]:
        return self.probe.heard["/odometry/dead_reckoning"]

    def drive(
        self, seconds: float, gyro: np.ndarray | None = None, accel: np.ndarray = UP, pace: float = 0.002
    ) -> int:
        count = round(seconds / self.period)
        for _ in range(count):
            self.t += self.period
            self.probe.publish(
                Imu, "/imu/data_raw", sample(self.t, np.zeros(3) if gyro is None else gyro, accel)
            )
            time.sleep(pace)
        return count


def ready(process: Any, until: Callable[..., Any]) -> Any:
    until(lambda: "covariance by" in process.output or not process.running)
    assert process.running, process.output
    return process


@pytest.fixture
def node(start: Callable[..., Any], until: Callable[..., Any]) -> Any:
    """A node without a model that starts by parameters."""
    process = ready(start(NODE, *arguments(*PLAIN, *HERE)), until)
    yield process
    assert process.running, process.output


def test_odometry_comes_out_for_every_sample(node: Any, probe: Any, until: Callable[..., Any]) -> None:
    car = Car(probe)
    car.drive(1.0)
    until(lambda: car.odometry)
    time.sleep(0.5)
    before = len(car.odometry)
    sent = car.drive(2.0)
    until(lambda: len(car.odometry) == before + sent)
    last = car.odometry[-1]
    assert (last.header.frame_id, last.child_frame_id) == ("odom", "imu_link")
    assert last.header.stamp.sec + last.header.stamp.nanosec * 1e-9 == pytest.approx(car.t, abs=1e-6)
    assert last.twist.twist.linear.x == pytest.approx(5.0, abs=0.05)
    assert all(math.isfinite(value) for value in (*last.pose.covariance, *last.twist.covariance))
    assert last.pose.covariance[0] > 0.0


def test_a_pose_that_is_set_starts_it(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    ready(start(NODE, *arguments(*PLAIN)), until)
    car = Car(probe)
    car.drive(1.0)
    assert not car.odometry
    waits = until(lambda: (s := probe.diagnostic(": estimate")) and "waits for" in s.message and s)
    assert waits.level == DiagnosticStatus.WARN
    covariance = (0.01 * np.eye(6)).ravel()
    pose = cdr.PoseCovarianceMessage(
        round(car.t * 1e9), "odom", np.array([7.0, 8.0, 0.0]), Rotation.identity().as_quat(), covariance
    )
    probe.publish(PoseWithCovarianceStamped, "/set_pose", cdr.encode_pose_covariance(pose))
    until(lambda: (car.drive(0.05), car.odometry)[1])
    assert car.odometry[0].pose.pose.position.x == pytest.approx(7.0, abs=0.1)


def test_reset_and_a_bag_that_loops_start_over(node: Any, probe: Any, until: Callable[..., Any]) -> None:
    car = Car(probe)
    car.drive(2.0)
    until(lambda: car.odometry and car.odometry[-1].pose.pose.position.x > 5.0)
    assert probe.call(Trigger, "/dead_reckoning_node/reset", Trigger.Request()).success
    car.drive(1.0)
    until(lambda: car.odometry[-1].pose.pose.position.x < 3.0)
    car.drive(2.0)
    until(lambda: car.odometry[-1].pose.pose.position.x > 5.0)
    car.t = 900.0
    car.drive(1.0)
    until(lambda: car.odometry[-1].pose.pose.position.x < 3.0)


def test_bad_samples_are_counted_and_nothing_that_is_no_number_comes_out(
    node: Any, probe: Any, until: Callable[..., Any]
) -> None:
    car = Car(probe)
    car.drive(1.0)
    for value in (math.nan, math.inf):
        probe.publish(Imu, "/imu/data_raw", sample(car.t + 0.001, np.array([0.0, value, 0.0]), UP))
    probe.publish(Imu, "/imu/data_raw", sample(car.t - 0.5, np.zeros(3), UP))
    probe.publish(Imu, "/imu/data_raw", b"\x00\x01\x00\x00")
    car.drive(1.0)

    def counted() -> bool:
        status = probe.diagnostic(": input")
        counts = {item.key: item.value for item in status.values} if status else {}
        wanted = {"invalid sample": "2", "repeated or backward": "1", "malformed message": "1"}
        return all(counts.get(key) == value for key, value in wanted.items())

    until(counted)
    for message in car.odometry:
        p, q, v = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist.linear
        assert all(math.isfinite(x) for x in (p.x, p.y, p.z, q.x, q.y, q.z, q.w, v.x, v.y, v.z))


def test_an_imu_in_g_is_an_error_that_says_what_to_do(
    node: Any, probe: Any, until: Callable[..., Any]
) -> None:
    car = Car(probe)

    def named() -> Any:
        car.drive(0.5, accel=UP / 9.80665)
        status = probe.diagnostic(": signals")
        return status and status.level == DiagnosticStatus.ERROR and status

    assert "multiply it by 9.80665 in the driver" in until(named).message
    assert not car.odometry


def test_the_network_can_be_switched_while_it_runs(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    pytest.importorskip("onnxruntime")
    ready(start(NODE, *arguments(f"model:={MODEL}", "provider:=cpu", *HERE)), until)
    until(lambda: (s := probe.diagnostic(": network")) and s.values[0].value == "network")
    request = SetParameters.Request(parameters=[Parameter("use_network", value=False).to_parameter_msg()])
    assert probe.call(SetParameters, "/dead_reckoning_node/set_parameters", request).results[0].successful
    until(lambda: probe.diagnostic(": network").values[0].value == "tuned")


def test_a_model_of_another_task_is_refused(start: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    process = start(NODE, *arguments(f"model:={MODEL.parent / 'uwb_bias.onnx'}"))
    assert process.wait() == 1
    assert "cannot be configured" in process.output and "a model for the task 'uwb" in process.output
    assert "Traceback" not in process.output


def test_one_remap_of_imu_moves_its_topic(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    ready(start(NODE, *arguments(*PLAIN, *HERE), "-r", "imu:=/xsens"), until)
    probe.listen(Odometry, "/odometry/dead_reckoning")
    for n in range(200):
        probe.publish(Imu, "/xsens/data_raw", sample(1000.0 + 0.01 * n, np.zeros(3), UP))
        time.sleep(0.002)
    until(lambda: probe.heard["/odometry/dead_reckoning"])


@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_no_sample_is_lost_at(
    rate: float, start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    pytest.importorskip("onnxruntime")
    ready(start(NODE, *arguments(f"model:={MODEL}", "provider:=cpu", *HERE)), until)
    car = Car(probe, rate)
    sent = car.drive(3.0, pace=0.9 / rate)
    levelling = 0.5 * rate  # samples before the start
    until(lambda: len(car.odometry) >= sent - levelling - 1)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in car.odometry]
    assert np.allclose(np.diff(stamps) * 1e-9, 1.0 / rate, atol=1e-6)

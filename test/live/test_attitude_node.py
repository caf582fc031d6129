"""The attitude node as a user starts it: a real process, real DDS."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Vector3Stamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, MagneticField
from std_srvs.srv import Trigger

from nn_estimation import cdr
from nn_estimation.messages import ImuMessage, MagneticFieldMessage

NODE = "nn_estimation.attitude.node"
MODEL = Path(__file__).resolve().parents[2] / "models" / "attitude.onnx"
PLAIN = ("use_network:=false",)
UP = np.array([0.0, 0.0, 9.81])
FIELD = np.array([0.0, 20e-6, -45e-6])  # [T] of a sensor that looks east

# Best effort, as drivers have it, would lose what waits for its turn on a busy machine.
RELIABLE = tuple(
    f"qos_overrides./imu/{name}.subscription.reliability:=reliable" for name in ("data_raw", "mag")
)


def arguments(*pairs: str) -> list[str]:
    pairs = (*RELIABLE, *pairs)
    return ["--ros-args", *(part for pair in pairs for part in ("-p", pair))]


def sample(t: float, gyro: np.ndarray, accel: np.ndarray) -> bytes:
    return cdr.encode_imu(ImuMessage.of(round(t * 1e9), "imu_link", gyro, accel))


def field(t: float, vector: np.ndarray = FIELD) -> bytes:
    return cdr.encode_mag(MagneticFieldMessage(round(t * 1e9), "imu_link", vector, np.zeros(9)))


class Hand:
    """Publishes what an IMU and a magnetometer say that lie level and look east."""

    def __init__(self, probe: Any, rate: float = 100.0, mag: bool = True) -> None:
        self.probe, self.period, self.t, self.mag = probe, 1.0 / rate, 1000.0, mag
        probe.listen(Imu, "/imu/data")
        probe.publish(Imu, "/imu/data_raw")
        if mag:
            probe.publish(MagneticField, "/imu/mag")

    @property
    def attitudes(self) -> list[Any]:
        return self.probe.heard["/imu/data"]

    def hold(
        self, seconds: float, gyro: np.ndarray | None = None, accel: np.ndarray = UP, pace: float = 0.002
    ) -> int:
        count = round(seconds / self.period)
        for _ in range(count):
            self.t += self.period
            if self.mag:
                self.probe.publish(MagneticField, "/imu/mag", field(self.t))
            given = np.zeros(3) if gyro is None else gyro
            self.probe.publish(Imu, "/imu/data_raw", sample(self.t, given, accel))
            time.sleep(pace)
        return count


def ready(process: Any, until: Callable[..., Any]) -> Any:
    until(lambda: "attitude by" in process.output or not process.running)
    assert process.running, process.output
    return process


def ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture
def node(start: Callable[..., Any], until: Callable[..., Any]) -> Any:
    """A node without a model."""
    process = ready(start(NODE, *arguments(*PLAIN)), until)
    yield process
    assert process.running, process.output


def test_an_attitude_comes_out_for_every_sample(node: Any, probe: Any, until: Callable[..., Any]) -> None:
    hand = Hand(probe)
    probe.listen(Vector3Stamped, "/imu/bias")
    hand.hold(1.5)
    until(lambda: hand.attitudes)
    time.sleep(0.5)
    before = len(hand.attitudes)
    sent = hand.hold(2.0)
    until(lambda: len(hand.attitudes) == before + sent)
    last = hand.attitudes[-1]
    assert last.header.frame_id == "imu_link" and ns(last) == round(hand.t * 1e9)
    q = last.orientation
    assert abs(q.w) == pytest.approx(1.0, abs=1e-3)
    assert last.linear_acceleration.z == UP[2]
    assert all(math.isfinite(value) for value in last.orientation_covariance)
    assert last.orientation_covariance[0] > 0.0
    until(lambda: probe.heard["/imu/bias"] and ns(last) - ns(probe.heard["/imu/bias"][-1]) < 0.15e9)


def test_frame_world_and_angles_are_those_asked_for(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    asked = ("child_frame:=hand", "world_frame:=ned", "publish_rpy:=true", "declination:=10.0")
    ready(start(NODE, *arguments(*PLAIN, *asked)), until)
    hand = Hand(probe)
    probe.listen(Vector3Stamped, "/imu/rpy")
    hand.hold(2.0)
    until(lambda: probe.heard["/imu/rpy"] and hand.attitudes)
    angles = probe.heard["/imu/rpy"][-1]
    assert angles.header.frame_id == hand.attitudes[-1].header.frame_id == "hand"
    # x looks to magnetic east, 10 deg south of east; z up is 180 deg of roll in north-east-down
    assert math.degrees(angles.vector.z) == pytest.approx(100.0, abs=1.0)
    assert abs(math.degrees(angles.vector.x)) == pytest.approx(180.0, abs=1.0)


def test_without_a_magnetometer_the_heading_is_unknown(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    ready(start(NODE, *arguments(*PLAIN, "use_mag:=false")), until)
    hand = Hand(probe, mag=False)
    hand.hold(2.0)
    until(lambda: hand.attitudes)
    assert hand.attitudes[-1].orientation_covariance[8] > 1.0


def test_reset_and_a_bag_that_loops_start_anew(node: Any, probe: Any, until: Callable[..., Any]) -> None:
    hand = Hand(probe)
    hand.hold(2.0)
    until(lambda: hand.attitudes)
    assert probe.call(Trigger, "/attitude_node/reset", Trigger.Request()).success
    time.sleep(0.3)
    before = len(hand.attitudes)
    sent = hand.hold(2.0)
    until(lambda: len(hand.attitudes) > before)
    time.sleep(0.5)
    assert len(hand.attitudes) < before + sent  # those of the start are missing
    hand.t = 900.0
    hand.hold(2.0)
    until(lambda: ns(hand.attitudes[-1]) == round(hand.t * 1e9))


def test_bad_input_is_counted_and_nothing_that_is_no_number_comes_out(
    node: Any, probe: Any, until: Callable[..., Any]
) -> None:
    hand = Hand(probe)
    hand.hold(1.0)
    for value in (math.nan, math.inf):
        probe.publish(Imu, "/imu/data_raw", sample(hand.t + 0.001, np.array([0.0, value, 0.0]), UP))
        probe.publish(MagneticField, "/imu/mag", field(hand.t + 0.001, np.array([value, 0.0, 0.0])))
    probe.publish(Imu, "/imu/data_raw", sample(hand.t - 0.5, np.zeros(3), UP))
    probe.publish(Imu, "/imu/data_raw", sample(hand.t + 0.001, np.zeros(3), np.zeros(3)))
    probe.publish(Imu, "/imu/data_raw", b"\x00\x01\x00\x00")
    probe.publish(MagneticField, "/imu/mag", b"\x00\x01\x00\x00")
    hand.hold(1.0)

    def counted() -> bool:
        status = probe.diagnostic(": input")
        counts = {item.key: item.value for item in status.values} if status else {}
        wanted = {
            "invalid sample": "2",
            "invalid field": "2",
            "repeated or backward": "1",
            "zero acceleration": "1",
            "malformed message": "2",
        }
        return all(counts.get(key) == value for key, value in wanted.items())

    until(counted)
    for message in hand.attitudes:
        q, w = message.orientation, message.angular_velocity
        assert all(math.isfinite(x) for x in (q.x, q.y, q.z, q.w, w.x, w.y, w.z))


def test_an_imu_in_g_is_an_error_that_says_what_to_do(
    node: Any, probe: Any, until: Callable[..., Any]
) -> None:
    hand = Hand(probe)

    def named() -> Any:
        hand.hold(0.5, accel=UP / 9.80665)
        status = probe.diagnostic(": units")
        return status and status.level == DiagnosticStatus.ERROR and status

    assert "multiply it by 9.80665 in the driver" in until(named).message
    assert not hand.attitudes


def test_a_magnetometer_that_stops_is_a_warning(node: Any, probe: Any, until: Callable[..., Any]) -> None:
    hand = Hand(probe)
    hand.hold(2.0)
    hand.mag = False

    def said() -> Any:
        hand.hold(0.5)
        status = probe.diagnostic(": magnetometer")
        return status and status.level == DiagnosticStatus.WARN and status

    assert "the heading is by the gyro alone" in until(said).message


def test_the_network_can_be_switched_while_it_runs(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    pytest.importorskip("onnxruntime")
    ready(start(NODE, *arguments(f"model:={MODEL}", "provider:=cpu")), until)
    until(lambda: (s := probe.diagnostic(": network")) and s.values[0].value == "network")
    hand = Hand(probe)
    hand.hold(2.0)
    until(lambda: hand.attitudes)
    before = len(hand.attitudes)
    request = SetParameters.Request(parameters=[Parameter("use_network", value=False).to_parameter_msg()])
    assert probe.call(SetParameters, "/attitude_node/set_parameters", request).results[0].successful
    sent = hand.hold(1.0)
    until(lambda: len(hand.attitudes) >= before + sent)
    until(lambda: probe.diagnostic(": network").values[0].value == "filter")


def test_the_network_cannot_be_switched_on_without_a_model(node: Any, probe: Any) -> None:
    request = SetParameters.Request(parameters=[Parameter("use_network", value=True).to_parameter_msg()])
    result = probe.call(SetParameters, "/attitude_node/set_parameters", request).results[0]
    assert not result.successful and "start the node with model set" in result.reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"model:={MODEL.parent / 'uwb_bias.onnx'}", "a model for the task 'uwb"),
        ("model:=/nowhere.onnx", "/nowhere.onnx"),
        ("use_network:=true", "set model to an ONNX file, or use_network to false"),
        ("world_frame:=xyz", "choose one of enu, ned, nwu"),
        ("publish_tf:=true", "child_frame"),
    ],
)
def test_what_cannot_be_configured_is_refused(given: str, said: str, start: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    extra = () if given.startswith(("model", "use_network")) else PLAIN
    process = start(NODE, *arguments(*extra, given))
    assert process.wait() == 1
    assert "cannot be configured" in process.output and said in process.output
    assert "Traceback" not in process.output


def test_one_remap_of_imu_moves_all_its_topics(
    start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    ready(start(NODE, *arguments(*PLAIN), "-r", "imu:=/xsens"), until)
    probe.listen(Imu, "/xsens/data")
    for n in range(300):
        probe.publish(MagneticField, "/xsens/mag", field(1000.0 + 0.01 * n))
        probe.publish(Imu, "/xsens/data_raw", sample(1000.0 + 0.01 * n, np.zeros(3), UP))
        time.sleep(0.002)
    until(lambda: probe.heard["/xsens/data"])


def test_sigint_ends_it_with_exit_code_zero(
    node: Any, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    process = ready(start(NODE, *arguments(*PLAIN), "-r", "__node:=other"), until)
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def method(network: bool) -> list[str]:
    """Parameters of a node with or without the shipped model."""
    if network:
        pytest.importorskip("onnxruntime")
    return [f"model:={MODEL}", "provider:=cpu"] if network else [*PLAIN]


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_no_sample_is_lost_at(
    rate: float, network: bool, start: Callable[..., Any], probe: Any, until: Callable[..., Any]
) -> None:
    ready(start(NODE, *arguments(*method(network))), until)
    hand = Hand(probe, rate)
    sent = hand.hold(3.0, pace=0.9 / rate)
    until(lambda: hand.attitudes and ns(hand.attitudes[-1]) == round(hand.t * 1e9))
    stamps = [ns(message) for message in hand.attitudes]
    assert len(stamps) >= sent - rate  # a second for the start
    assert np.allclose(np.diff(stamps) * 1e-9, 1.0 / rate, atol=1e-6)

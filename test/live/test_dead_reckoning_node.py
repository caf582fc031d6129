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
from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.model import load_setups
from nn_estimation.dead_reckoning.replay import OUTPUT_TOPIC, write_replay
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import DeadReckoningStream, StreamParams
from nn_estimation.inference import Model

NODE = "nn_estimation.dead_reckoning.node"
MODEL = Path(__file__).resolve().parents[2] / "models" / "dead_reckoning.onnx"
PLAIN = ("use_network:=false",)
HERE = ("start:=parameters", "start_speed:=5.0")
UP = np.array([0.0, 0.0, GRAVITY])
TOLERANCE = 1e-6  # both paths run the same code on the same bytes

# Best effort, as drivers have it, would lose what waits for its turn on a busy machine.
RELIABLE = "qos_overrides./imu/data_raw.subscription.reliability:=reliable"


def arguments(*pairs: str) -> list[str]:
    pairs = (RELIABLE, *pairs)
    return ["--ros-args", *(part for pair in pairs for part in ("-p", pair))]


def sample(t: float, gyro: np.ndarray, accel: np.ndarray) -> bytes:
    none = np.zeros(9)
    level = np.array([0.0, 0.0, 0.0, 1.0])
    return cdr.encode_imu(cdr.ImuMessage(round(t * 1e9), "imu_link", gyro, accel, level, none, none, none))


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


# Live and offline


def published(bag: Path) -> dict[int, np.ndarray]:
    """Odometry by stamp."""
    found = {}
    with BagReader(bag) as reader:
        for _, _, data in reader.raw([OUTPUT_TOPIC]):
            m = cdr.decode_odometry(data)
            found[m.stamp_ns] = np.concatenate(
                [
                    m.position,
                    m.quaternion,
                    m.covariance,
                    m.velocity,
                    m.angular_velocity,
                    m.velocity_covariance,
                ]
            )
    return found


def live(bag: Path, out: Path, start: Callable[..., Any], *ros_arguments: str) -> dict[int, np.ndarray]:
    """What the node publishes while a bag is played to it."""
    node = start(NODE, *arguments(f"model:={MODEL}", "provider:=cpu"), *ros_arguments)
    recorder = start("nn_estimation.ros.recorder", str(out), OUTPUT_TOPIC)
    with BagReader(bag) as reader:
        inputs = list(reader.topics)
    listening = start("nn_estimation.ros.listeners", OUTPUT_TOPIC, *inputs, "--timeout", "60")
    assert listening.wait(70.0) == 0, node.output
    time.sleep(0.5)  # DDS matches the ends a moment after it lists them
    player = start("nn_estimation.ros.player", str(bag), "--no-clock", "--wait-for", *inputs)
    assert player.wait(120.0) == 0, player.output
    time.sleep(1.0)
    for process in (recorder, node):
        process.interrupt()
        assert process.wait() == 0, process.output
    return published(out)


def test_live_equals_offline_from_a_start_by_parameters(tmp_path: Path, start: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    with BagWriter(tmp_path / "bag") as writer:
        for n in range(1500):
            t = 1000.0 + 0.01 * n
            gyro, accel = rng.normal(0, 0.02, 3), UP + rng.normal(0, 0.3, 3)
            writer.write("imu/data_raw", cdr.IMU, round(t * 1e9), sample(t, gyro, accel))
    setup = load_setups(Model.load(MODEL, provider="cpu"))["network"]
    stream = DeadReckoningStream(setup, StreamParams(start=Start(speed=5.0)))
    with BagReader(tmp_path / "bag") as reader:
        write_replay(reader, stream, tmp_path / "offline")
    offline = published(tmp_path / "offline")
    found = live(
        tmp_path / "bag", tmp_path / "live", start, "-p", "start:=parameters", "-p", "start_speed:=5.0"
    )
    assert set(found) == set(offline) and len(found) > 1400
    for stamp, values in offline.items():
        np.testing.assert_allclose(found[stamp], values, atol=TOLERANCE)


def test_live_equals_offline_on_a_recorded_drive_whose_aiding_ends(
    data_root: Path, tmp_path: Path, start: Callable[..., Any]
) -> None:
    """The aiding begins a second before the samples, so that its first message is there for both."""
    pytest.importorskip("onnxruntime")
    from nn_estimation.datasets.registry import import_set

    name = "2011_10_03_drive_0047_extract"
    ((_, bag),) = import_set("kitti", data_root / "kitti_oxts", tmp_path, name)
    with BagReader(bag) as reader, BagWriter(tmp_path / "cut", custom_data=reader.custom_data) as writer:
        for topic, stamp, data in reader.raw():
            since = stamp * 1e-9 - reader.start
            if topic == "imu/data_raw" and 1.0 < since < 20.0:
                writer.write(topic, cdr.IMU, stamp, data)
            elif topic == "ground_truth/odometry" and since < 8.0:
                writer.write("odometry", cdr.ODOMETRY, stamp, data)
    setup = load_setups(Model.load(MODEL, provider="cpu"))["network"]
    stream = DeadReckoningStream(setup, StreamParams("odometry", latitude=math.radians(49.0)))
    with BagReader(tmp_path / "cut") as reader:
        write_replay(reader, stream, tmp_path / "offline")
        begin = reader.start
    offline = published(tmp_path / "offline")
    found = live(tmp_path / "cut", tmp_path / "live", start, "-p", "aiding:=odometry", "-p", "latitude:=49.0")
    assert set(found) == set(offline) and len(found) > 1800
    after = [stamp for stamp in offline if stamp * 1e-9 > begin + 9.0]
    assert len(after) > 1000
    for stamp in after:
        np.testing.assert_allclose(found[stamp], offline[stamp], atol=TOLERANCE)

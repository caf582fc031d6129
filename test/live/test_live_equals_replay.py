"""A bag played to a live node gives what the offline replay gives, message by message."""

import math
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy")
pytest.importorskip("onnxruntime")

from nn_estimation import cdr
from nn_estimation.attitude import model as attitude
from nn_estimation.attitude.replay import write_replay as replay_attitude
from nn_estimation.attitude.stream import AttitudeStream
from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.dead_reckoning import model as dead_reckoning
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.replay import write_replay as replay_drive
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import DeadReckoningStream, StreamParams
from nn_estimation.inference import Model
from nn_estimation.messages import ImuMessage
from nn_estimation.shipped import default_model
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import layout_of
from nn_estimation.uwb.replay import write_replay as replay_ranges
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight
from nn_estimation.uwb.stream import UwbStream

TOLERANCE = 1e-6  # in SI units; both paths run the same code on the same bytes
RATE = 2.0  # times real time
DECODE: dict[str, Callable[[bytes], Any]] = {
    cdr.IMU: cdr.decode_imu,
    cdr.ODOMETRY: cdr.decode_odometry,
    cdr.RANGE: cdr.decode_range,
    cdr.VECTOR3: cdr.decode_vector3,
}
Published = dict[tuple[Any, ...], np.ndarray]  # numbers by topic, stamp [ns] and names of frames


def published(bag: Path, topics: Collection[str]) -> Published:
    found = {}
    with BagReader(bag) as reader:
        for topic, _, data in reader.raw(topics):
            message = DECODE[reader.topics[topic]](data)
            names = [value for value in message if isinstance(value, (int, str))]
            numbers = [np.ravel(value) for value in message if not isinstance(value, (int, str))]
            found[topic, *names] = np.concatenate(numbers)
    return found


def compare(
    bag: Path, stream: Any, replayed: Path, start: Callable[..., Any], node: str, *pairs: str
) -> tuple[Published, Published]:
    """What a node publishes while a bag is played to it, and what the replay has added to the bag.

    Sensor data is best effort, and lost where processes wait for their turn; what is lost is not compared here. So
    all that is played waits for the node, and the recorder for what the node has still to say.
    """
    with BagReader(bag) as before, BagReader(replayed) as after:
        inputs = [topic for topic in stream.topics if topic in before.topics]
        outputs = [topic for topic in after.topics if topic not in before.topics]
    policies = ("reliability:=reliable", "depth:=20000")
    reliable = [f"qos_overrides./{topic}.subscription.{policy}" for topic in inputs for policy in policies]
    running = start(node, "--ros-args", *(part for pair in (*reliable, *pairs) for part in ("-p", pair)))
    recorder = start("nn_estimation.ros.recorder", str(replayed.parent / "live"), *outputs, "--quiet", "1.0")
    ready = start("nn_estimation.ros.listeners", *outputs, *inputs, "--timeout", "60")
    assert ready.wait(70.0) == 0, running.output
    time.sleep(0.5)  # DDS matches the ends a moment after it lists them
    given = ["--no-clock", "--rate", str(RATE), "--topics", *inputs, "--wait-for", *inputs]
    player = start("nn_estimation.ros.player", str(bag), *given)
    assert player.wait(120.0) == 0, player.output
    for process in (recorder, running):
        process.interrupt()
        assert process.wait() == 0, process.output
    return published(replayed.parent / "live", outputs), published(replayed, outputs)


def same(live: Published, offline: Published, least: int, since: float = 0.0) -> None:
    """Claim that both hold the same messages, at least so many, and the same numbers from a stamp [s] on."""
    lost, added = sorted(set(offline) - set(live)), sorted(set(live) - set(offline))
    found = f"of {len(offline)}: {len(lost)} lost, {len(added)} added: {(lost + added)[:5]}"
    assert not lost and not added, found
    later = [key for key in offline if key[1] * 1e-9 >= since]
    assert len(later) > least
    for key in later:
        np.testing.assert_allclose(live[key], offline[key], atol=TOLERANCE, err_msg=str(key))


def cut(bag: Path, out: Path, first: float, last: float) -> Path:
    """What a bag holds between two times [s] after its begin."""
    with BagReader(bag) as reader, BagWriter(out, custom_data=reader.custom_data) as writer:
        for topic, stamp, data in reader.raw():
            if first <= stamp * 1e-9 - reader.start <= last:
                writer.write(topic, reader.topics[topic], stamp, data)
    return out


# UWB


def check_ranges(bag: Path, model: Path, tmp_path: Path, start: Callable[..., Any]) -> None:
    with BagReader(bag) as reader:
        layout = layout_of(reader)
        stream = UwbStream(UwbEstimator(layout, load_bias_models(Model.load(model), layout)["network"]))
        replay_ranges(reader, stream, tmp_path / "offline")
    (tmp_path / "anchors.yaml").write_text(layout.to_yaml())
    given = (f"model:={model}", f"anchors:={tmp_path / 'anchors.yaml'}", "provider:=cpu")
    same(*compare(bag, stream, tmp_path / "offline", start, "nn_estimation.uwb.node", *given), least=400)


def test_a_simulated_flight_with_imu_and_power(tmp_path: Path, start: Callable[..., Any]) -> None:
    bag = simulate_flight(SimulationParams(seed=5, duration=6.0), tmp_path / "flight")
    check_ranges(bag, default_model("uwb_demo.onnx"), tmp_path, start)


def test_a_recorded_trolley(recorded: Callable[..., Path], tmp_path: Path, start: Callable[..., Any]) -> None:
    bag = recorded("lias", "uwb/lias_planar", "mid")
    check_ranges(cut(bag, tmp_path / "cut", 0.0, 6.0), default_model(), tmp_path, start)


# Dead reckoning


def check_drive(
    bag: Path, params: StreamParams, start: Callable[..., Any], *pairs: str
) -> tuple[Published, Published]:
    model = default_model("dead_reckoning.onnx")
    setup = dead_reckoning.load_setups(Model.load(model, provider="cpu"))["network"]
    stream = DeadReckoningStream(setup, params)
    with BagReader(bag) as reader:
        replay_drive(reader, stream, bag.parent / "offline")
    given = (f"model:={model}", "provider:=cpu", *pairs)
    return compare(bag, stream, bag.parent / "offline", start, "nn_estimation.dead_reckoning.node", *given)


def test_a_drive_from_a_start_by_parameters(tmp_path: Path, start: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    with BagWriter(tmp_path / "bag") as writer:
        for n in range(1500):
            ns = round((1000.0 + 0.01 * n) * 1e9)
            gyro, accel = rng.normal(0, 0.02, 3), rng.normal((0.0, 0.0, GRAVITY), 0.3)
            sample = ImuMessage.of(ns, "imu_link", gyro, accel)
            writer.write("imu/data_raw", cdr.IMU, ns, cdr.encode_imu(sample))
    params = StreamParams(start=Start(speed=5.0))
    same(*check_drive(tmp_path / "bag", params, start, "start:=parameters", "start_speed:=5.0"), least=1400)


def test_a_recorded_drive_whose_aiding_ends(
    recorded: Callable[..., Path], tmp_path: Path, start: Callable[..., Any]
) -> None:
    """The aiding begins a second before the samples, so that its first message is there for both."""
    bag = recorded("kitti", "kitti_oxts", "2011_10_03_drive_0047_extract")
    with BagReader(bag) as reader, BagWriter(tmp_path / "cut", custom_data=reader.custom_data) as writer:
        begin = reader.start
        for topic, stamp, data in reader.raw():
            since = stamp * 1e-9 - begin
            if topic == "imu/data_raw" and 1.0 < since < 20.0:
                writer.write(topic, cdr.IMU, stamp, data)
            elif topic == "ground_truth/odometry" and since < 8.0:
                writer.write("odometry", cdr.ODOMETRY, stamp, data)
    params = StreamParams("odometry", latitude=math.radians(49.0))
    live, offline = check_drive(tmp_path / "cut", params, start, "aiding:=odometry", "latitude:=49.0")
    same(live, offline, least=1000, since=begin + 9.0)


# Attitude


@pytest.mark.parametrize("network", [False, True])
def test_a_recorded_handling(
    network: bool, recorded: Callable[..., Path], tmp_path: Path, start: Callable[..., Any]
) -> None:
    bag = recorded("broad", "attitude/broad", "01_undisturbed_slow_rotation_A")
    bag = cut(bag, tmp_path / "cut", 25.0, 45.0)
    model, setup = default_model("attitude.onnx"), attitude.classical_setup("filter")
    if network:
        setup = attitude.load_setups(Model.load(model, provider="cpu"))["network"]
    stream = AttitudeStream(setup)
    with BagReader(bag) as reader:
        replay_attitude(reader, stream, tmp_path / "offline")
    given = (f"model:={model}", "provider:=cpu") if network else ("use_network:=false",)
    node = "nn_estimation.attitude.node"
    live, offline = compare(bag, stream, tmp_path / "offline", start, node, *given)
    same(live, offline, least=5000)
    with BagReader(tmp_path / "offline") as reader:
        poses = [cdr.decode_imu(data).orientation for _, _, data in reader.raw(["imu/data"])]
    first, last = Rotation.from_quat(poses[0]), Rotation.from_quat(poses[-1])
    assert (first.inv() * last).magnitude() > 0.1

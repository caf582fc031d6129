"""A bag played to the live node gives what the offline replay gives, sample by sample."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from nn_estimation import cdr
from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.inference import Model
from nn_estimation.shipped import default_model
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import layout_of, write_replay
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight
from nn_estimation.uwb.stream import UwbStream

TOLERANCE = 1e-6  # [m], [m^2]; both paths run the same code on the same bytes
RATE = 0.5  # times real time: a machine that is busy with other things must lose nothing either


def cut(bag: Path, out: Path, seconds: float) -> Path:
    """The first seconds of a bag."""
    with BagReader(bag) as reader, BagWriter(out, custom_data=reader.custom_data) as writer:
        for topic, stamp, data in reader.raw():
            if stamp * 1e-9 > reader.start + seconds:
                break
            writer.write(topic, reader.topics[topic], stamp, data)
    return out


def published(bag: Path) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Corrected ranges by topic, stamp and anchor, and poses by stamp."""
    ranges, poses = {}, {}
    with BagReader(bag) as reader:
        for topic, _, data in reader.raw([t for t in reader.topics if t.endswith("_corrected")]):
            message = cdr.decode_range(data)
            ranges[topic, message.stamp_ns, message.frame_id] = (message.range, message.variance)
        for _, _, data in reader.raw(["odometry/uwb"]):
            odometry = cdr.decode_odometry(data)
            poses[odometry.stamp_ns] = np.concatenate(
                [odometry.position, odometry.quaternion, odometry.covariance, odometry.velocity]
            )
    return ranges, poses


def check(
    bag: Path, model: Path, tmp_path: Path, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    with BagReader(bag) as reader:
        layout = layout_of(reader)
        stream = UwbStream(UwbEstimator(layout, load_bias_models(Model.load(model), layout)["network"]))
        write_replay(reader, stream, tmp_path / "offline")
        inputs = [topic for topic in stream.topics if topic in reader.topics]
    (tmp_path / "anchors.yaml").write_text(layout.to_yaml())
    topics = [*(layout.tag_topic(tag.name, "range_corrected") for tag in layout.tags), "odometry/uwb"]
    node = start(
        "nn_estimation.uwb.node",
        *("--ros-args", "-p", f"model:={model}", "-p", f"anchors:={tmp_path / 'anchors.yaml'}"),
        *("-p", "provider:=cpu"),
        # Sensor data is best effort, and lost where processes wait for their turn; what is lost is not compared here.
        *(
            part
            for topic in inputs
            for part in ("-p", f"qos_overrides./{topic}.subscription.reliability:=reliable")
        ),
    )
    recorder = start("nn_estimation.ros.recorder", str(tmp_path / "live"), *topics)
    ready = start("nn_estimation.ros.listeners", *topics, *inputs, "--timeout", "60")
    assert ready.wait(70.0) == 0, node.output
    time.sleep(0.5)  # DDS matches the ends a moment after it lists them
    arguments = ["--no-clock", "--rate", str(RATE), "--topics", *inputs, "--wait-for", *inputs]
    player = start("nn_estimation.ros.player", str(bag), *arguments)
    assert player.wait(90.0) == 0, player.output
    time.sleep(1.0)
    for process in (recorder, node):
        process.interrupt()
        assert process.wait() == 0, process.output
    offline, live = published(tmp_path / "offline"), published(tmp_path / "live")
    for mine, other in zip(live, offline, strict=True):
        lost, added = sorted(set(other) - set(mine)), sorted(set(mine) - set(other))
        assert not lost and not added, (
            f"of {len(other)}: {len(lost)} lost, {len(added)} added: {(lost + added)[:5]}"
        )
        for key, values in other.items():
            np.testing.assert_allclose(mine[key], values, atol=TOLERANCE, err_msg=str(key))


def test_a_simulated_flight_with_imu_and_power(
    tmp_path: Path, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    bag = simulate_flight(SimulationParams(seed=5, duration=6.0), tmp_path / "flight")
    check(bag, default_model("uwb_demo.onnx"), tmp_path, start, until)


def test_a_recorded_trolley(
    data_root: Path, tmp_path: Path, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    from nn_estimation.datasets.registry import import_set

    ((_, bag),) = import_set("lias", data_root / "uwb" / "lias_planar", tmp_path, "mid")
    check(cut(bag, tmp_path / "cut", 6.0), default_model(), tmp_path, start, until)

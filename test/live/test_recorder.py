"""The recorder as a user starts it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Range

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.uwb.layout import Layout

COUNT = 50


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_drivers_of_either_reliability_are_recorded(
    start: Callable[..., Any],
    probe: Any,
    tmp_path: Path,
    until: Callable[..., Any],
    reliability: ReliabilityPolicy,
) -> None:
    recorder = start("nn_estimation.ros.recorder", str(tmp_path / "bag"), "uwb/range")
    driver = probe.node.create_publisher(Range, "uwb/range", QoSProfile(depth=1000, reliability=reliability))
    until(driver.get_subscription_count)
    for number in range(COUNT):
        driver.publish(cdr.encode_range(cdr.RangeMessage(number + 1, "a0", 1.0, 0.0)))
        time.sleep(0.02)
    recorder.interrupt()
    assert recorder.wait() == 0, recorder.output
    with BagReader(tmp_path / "bag") as bag:
        stamps = [cdr.decode_range(data).stamp_ns for _, _, data in bag.raw()]
    assert len(stamps) > COUNT / 2  # the first ones go before DDS has matched both ends


def test_a_recorder_that_waits_for_quiet_keeps_what_comes_after_the_interrupt(
    start: Callable[..., Any], probe: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    recorder = start("nn_estimation.ros.recorder", str(tmp_path / "bag"), "uwb/range", "--quiet", "2.0")
    probe.publish(Range, "uwb/range", cdr.encode_range(cdr.RangeMessage(1, "a0", 1.0, 0.0)))
    recorder.interrupt()
    for number in range(2, 6):
        time.sleep(0.5)
        probe.publish(Range, "uwb/range", cdr.encode_range(cdr.RangeMessage(number, "a0", 1.0, 0.0)))
    assert recorder.running
    assert recorder.wait() == 0, recorder.output
    with BagReader(tmp_path / "bag") as bag:
        assert [cdr.decode_range(data).stamp_ns for _, _, data in bag.raw()] == [1, 2, 3, 4, 5]


def test_the_bag_carries_the_anchors_it_is_recorded_with(
    start: Callable[..., Any], anchors: Path, tmp_path: Path
) -> None:
    bag = str(tmp_path / "bag")
    recorder = start(
        "nn_estimation.cli", "record", bag, "uwb/range", "--anchors", str(anchors), "--seconds", "0.5"
    )
    assert recorder.wait() == 0, recorder.output
    with BagReader(bag) as reader:
        assert Layout.from_yaml(reader.custom_data["layout"]).to_yaml() == Layout.from_yaml(anchors).to_yaml()


def test_a_process_that_waits_for_its_turn_hears_all_topics_in_order(
    start: Callable[..., Any], probe: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    """Of the shared memory of Fast DDS, whose queue would by itself hold half as many as are sent meanwhile."""
    recorder = start(
        "nn_estimation.ros.recorder", str(tmp_path / "bag"), "a/range", "b/range", "--quiet", "1.0"
    )
    sent = [(("a/range", "b/range")[n % 3 == 0], n) for n in range(1, 1201)]
    encoded = [(topic, cdr.encode_range(cdr.RangeMessage(n, "a0", 1.0, 0.0))) for topic, n in sent]
    for topic in ("a/range", "b/range"):
        probe.publish(Range, topic)
    time.sleep(2.5)  # for both ends to know of each other, on a busy machine too
    recorder.pause()
    for topic, data in encoded:
        probe.publish(Range, topic, data)
    recorder.go_on()
    recorder.interrupt()
    assert recorder.wait() == 0, recorder.output
    with BagReader(tmp_path / "bag") as bag:
        assert [(topic, cdr.decode_range(data).stamp_ns) for topic, _, data in bag.raw()] == sent

"""The UWB nodes as a user starts them: real processes, real DDS."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Range
from std_srvs.srv import Trigger

from nn_estimation import cdr
from nn_estimation.uwb.layout import Layout

NODE = "nn_estimation.uwb.node"
TAGS = ("left", "right")

# The tests publish much faster than real time; best effort, as drivers have it, would lose what waits for its turn.
FAST = (
    "max_delay:=0.5",
    *(f"qos_overrides./{tag}/uwb/range.subscription.reliability:=reliable" for tag in TAGS),
)


def arguments(*pairs: str) -> list[str]:
    return ["--ros-args", *(part for pair in (*FAST, *pairs) for part in ("-p", pair))]


def ranges(layout: Layout, tag: str, stamp: float, position: tuple[float, float] = (2.0, 3.0)) -> list[bytes]:
    """Exact ranges of a body that faces along x."""
    body = np.array([*position, 0.5]) + layout.tags[layout.tag_index[tag]].position
    return [
        cdr.encode_range(
            cdr.RangeMessage(round(stamp * 1e9), a.name, float(np.linalg.norm(a.position - body)), 0.0)
        )
        for a in layout.anchors
    ]


class Robot:
    """Publishes ranges of a robot that stands still, epoch by epoch."""

    def __init__(self, probe: Any, anchors: Path, prefix: str = "") -> None:
        self.probe, self.layout, self.prefix = probe, Layout.from_yaml(anchors), prefix
        self.stamp, self.position = 1000.0, (2.0, 3.0)
        for tag in TAGS:  # both before the first message: one that waits for the other is late
            probe.publish(Range, f"{prefix}/{tag}/uwb/range")

    def send(self, epochs: int, only: tuple[str, ...] | None = None, period: float = 0.02) -> None:
        for _ in range(epochs):
            self.stamp += period
            for tag in TAGS:
                messages = ranges(self.layout, tag, self.stamp, self.position)
                if only is not None:
                    messages = [m for m in messages if cdr.decode_range(m).frame_id in only]
                self.probe.publish(Range, f"{self.prefix}/{tag}/uwb/range", *messages)
            time.sleep(0.002)

    def raw(self, tag: str, stamp: float, anchor: str, value: float) -> None:
        data = cdr.encode_range(cdr.RangeMessage(round(stamp * 1e9), anchor, value, 0.0))
        self.probe.publish(Range, f"{self.prefix}/{tag}/uwb/range", data)


@pytest.fixture
def node(start: Callable[..., Any], anchors: Path) -> Any:
    """A bias node without a model, ready."""
    process = start(NODE, *arguments("use_network:=false", f"anchors:={anchors}"))
    yield process
    assert process.running, process.output


def test_corrected_ranges_and_odometry_come_out(
    node: Any, probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    probe.listen(Range, "/left/uwb/range_corrected")
    probe.listen(Odometry, "/odometry/uwb")
    robot = Robot(probe, anchors)
    corrected = probe.heard["/left/uwb/range_corrected"]
    while not corrected:  # until DDS has matched the two ends
        robot.send(1)
    time.sleep(1.0)  # what is held back is let go
    before = len(corrected)
    robot.send(100)
    until(lambda: len(corrected) == before + 400)
    assert {message.header.frame_id for message in corrected} == {"a0", "a1", "a2", "a3"}
    assert all(math.isfinite(message.range) and message.variance > 0.0 for message in corrected)
    until(lambda: probe.heard["/odometry/uwb"])
    pose = until(lambda: probe.heard["/odometry/uwb"][-1]).pose.pose
    assert (pose.position.x, pose.position.y) == pytest.approx((2.0, 3.0), abs=0.02)


def test_sigint_ends_the_node_with_exit_code_zero(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    process = start(NODE, *arguments("use_network:=false", f"anchors:={anchors}"))
    until(lambda: "anchors, 2 tags" in process.output)
    process.interrupt()
    time.sleep(0.02)
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\x08\x07not a model", "not"),
    ],
    ids=["missing", "empty", "foreign"],
)
def test_a_wrong_model_fails_cleanly(
    start: Callable[..., Any], anchors: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "wrong.onnx"
    if content is not None:
        path.write_bytes(content)
    process = start(NODE, *arguments(f"model:={path}", f"anchors:={anchors}"))
    assert process.wait() == 1
    assert "cannot be configured" in process.output and str(path) in process.output
    assert message in process.output.lower()
    assert "Traceback" not in process.output


@pytest.mark.parametrize("parameter", ["max_delay:=5.0", "max_delay:=0", "latency_budget_us:=fast"])
def test_a_parameter_of_the_wrong_range_or_type_is_named(start: Callable[..., Any], parameter: str) -> None:
    process = start(NODE, "--ros-args", "-p", parameter)
    assert process.wait() == 1
    assert "cannot be started" in process.output and parameter.split(":=")[0] in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("anchors: {}\ntags: {t: {position: [0, 0, 0]}}", "no anchors"),
        (
            "anchors:\n  a: {position: [0,0,0]}\n  a: {position: [1,0,0]}\ntags: {t: {position: [0,0,0]}}",
            "twice",
        ),
    ],
    ids=["empty", "no-anchors", "two-of-one-name"],
)
def test_a_wrong_anchor_file_fails_cleanly(
    start: Callable[..., Any], tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "anchors.yaml"
    path.write_text(text)
    process = start(NODE, *arguments("use_network:=false", f"anchors:={path}"))
    assert process.wait() == 1
    assert message in process.output


def test_the_lifecycle_goes_through_its_services(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    process = start(NODE, *arguments("use_network:=false", f"anchors:={anchors}", "autostart:=false"))

    def state() -> int:
        return probe.call(GetState, "/uwb_bias_node/get_state", GetState.Request()).current_state.id

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return probe.call(ChangeState, "/uwb_bias_node/change_state", request).success

    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    steps = [
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
    ]
    for transition, expected in steps:
        assert change(transition), process.output
        assert state() == expected
    probe.listen(Range, "/left/uwb/range_corrected")
    Robot(probe, anchors).send(60)
    until(lambda: probe.heard["/left/uwb/range_corrected"])
    assert process.running


def test_bad_ranges_are_counted_and_the_node_lives(
    node: Any, probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    probe.listen(Range, "/left/uwb/range_corrected")
    robot = Robot(probe, anchors)
    robot.send(60)
    for value in (math.nan, -1.0, math.inf):
        robot.raw("left", robot.stamp + 0.001, "a0", value)
    robot.raw("left", robot.stamp + 0.002, "nobody", 3.0)
    robot.raw("left", robot.stamp, "a0", 3.0)
    robot.raw("left", robot.stamp - 0.5, "a0", 3.0)
    robot.probe.publish(Range, "/left/uwb/range", b"\x00\x01\x00\x00")
    robot.send(60)

    def counted() -> bool:
        status = probe.diagnostic(": input")
        if status is None:
            return False
        counts = {item.key: item.value for item in status.values}
        return (
            counts.get("invalid range") == "3"
            and counts.get("unknown anchor") == "1"
            and counts.get("malformed message") == "1"
            and int(counts.get("late", 0)) + int(counts.get("repeated", 0)) == 2
        )

    until(counted)

    def warned() -> bool:
        robot.send(5)
        robot.raw("left", robot.stamp + 0.002, "nobody", 3.0)
        status = probe.diagnostic(": input")
        return status.level == DiagnosticStatus.WARN and "nobody" in status.message

    def content() -> bool:
        robot.send(5)
        return probe.diagnostic(": input").level == DiagnosticStatus.OK

    until(warned)
    until(content)
    assert all(math.isfinite(message.range) for message in probe.heard["/left/uwb/range_corrected"])


def test_a_silent_anchor_is_reported_and_localization_goes_on(
    node: Any, probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    probe.listen(Odometry, "/odometry/uwb")
    robot = Robot(probe, anchors)
    robot.send(60)
    for _ in range(4):  # the fault must last a second of wall clock too
        robot.send(40, only=("a0", "a1", "a2"))
        time.sleep(0.5)
    status = until(lambda: (s := probe.diagnostic(": links")) and "silent" in s.message and s)
    assert "left|a3" in status.message and "right|a3" in status.message
    before = len(probe.heard["/odometry/uwb"])
    robot.send(10, only=("a0", "a1", "a2"))
    until(lambda: len(probe.heard["/odometry/uwb"]) > before)


def test_silence_of_all_anchors_is_reported(
    node: Any, probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    Robot(probe, anchors).send(60)
    status = until(lambda: (s := probe.diagnostic(": input")) and "no ranges for" in s.message and s)
    assert status.level == DiagnosticStatus.WARN
    assert "left/uwb/range" in status.message


def test_time_that_jumps_back_starts_afresh(
    node: Any, probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    probe.listen(Odometry, "/odometry/uwb")
    robot = Robot(probe, anchors)
    robot.send(150)
    until(lambda: probe.heard["/odometry/uwb"])
    robot.stamp = 900.0
    robot.send(150)
    until(lambda: any(m.header.stamp.sec < 950 for m in probe.heard["/odometry/uwb"]))


def test_reset_forgets_the_track(node: Any, probe: Any, anchors: Path, until: Callable[..., Any]) -> None:
    probe.listen(Odometry, "/odometry/uwb")
    robot = Robot(probe, anchors)
    robot.send(60)
    until(lambda: probe.heard["/odometry/uwb"])
    time.sleep(1.0)  # what is held back is let go
    assert probe.call(Trigger, "/uwb_bias_node/reset", Trigger.Request()).success
    before = len(probe.heard["/odometry/uwb"])
    robot.position = (3.5, 1.5)  # a track would take a second to believe that
    robot.send(60)
    moved = until(lambda: probe.heard["/odometry/uwb"][before:])[0].pose.pose.position
    assert np.hypot(moved.x - robot.position[0], moved.y - robot.position[1]) < 0.3


def test_a_pose_source_that_stops_is_reported(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    process = start(NODE, *arguments("use_network:=false", f"anchors:={anchors}", "pose_source:=odometry"))
    probe.listen(Range, "/left/uwb/range_corrected")
    robot = Robot(probe, anchors)
    zero = np.zeros(3)
    truth = cdr.encode_odometry(
        cdr.OdometryMessage(
            round(robot.stamp * 1e9), "map", "base_link", np.array([2.0, 3.0, 0.5]),
            np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(36), zero, zero, np.zeros(36),
        )
    )  # fmt: skip
    probe.publish(Odometry, "/odometry", truth)
    for _ in range(4):
        robot.send(30)
        time.sleep(0.5)
    status = until(lambda: (s := probe.diagnostic(": pose")) and s.level == DiagnosticStatus.WARN and s)
    assert "pose source" in status.message
    before = len(probe.heard["/left/uwb/range_corrected"])
    robot.send(30)
    until(lambda: len(probe.heard["/left/uwb/range_corrected"]) > before)
    assert process.running


def test_a_namespace_moves_all_topics(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    start(NODE, *arguments("use_network:=false", f"anchors:={anchors}"), "-r", "__ns:=/drone1")
    probe.listen(Range, "/drone1/left/uwb/range_corrected")
    Robot(probe, anchors, "/drone1").send(60)
    until(lambda: probe.heard["/drone1/left/uwb/range_corrected"])


def test_one_remap_of_a_tag_moves_all_of_its_topics(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    start(
        NODE,
        *arguments("use_network:=false", f"anchors:={anchors}"),
        *("-r", "left:=/front/left", "-r", "right:=/front/right"),
    )
    probe.listen(Range, "/front/left/uwb/range_corrected")
    Robot(probe, anchors, "/front").send(60)
    until(lambda: probe.heard["/front/left/uwb/range_corrected"])


def test_the_localization_node_places_the_robot_by_corrected_ranges(
    start: Callable[..., Any], probe: Any, anchors: Path, until: Callable[..., Any]
) -> None:
    process = start("nn_estimation.uwb.localization_node", *arguments(f"anchors:={anchors}", "suffix:=''"))
    probe.listen(Odometry, "/odometry/uwb_localization")
    Robot(probe, anchors).send(60)
    pose = until(lambda: probe.heard["/odometry/uwb_localization"])[-1].pose.pose
    assert (pose.position.x, pose.position.y) == pytest.approx((2.0, 3.0), abs=0.05)
    process.interrupt()
    assert process.wait() == 0

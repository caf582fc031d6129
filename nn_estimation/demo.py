"""The demo: a simulated flight, the real nodes, the bag over DDS, before and after."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.metrics import range_metrics
from nn_estimation.report import Report, text_table, write
from nn_estimation.ros.player import play
from nn_estimation.uwb.commands import default_model, gains, verdict
from nn_estimation.uwb.evaluation import evaluate
from nn_estimation.uwb.figures import pictures
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.samples import read_recording
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight

FLIGHT = SimulationParams(seed=0, duration=15.0)  # the model was trained on other seeds
READY = 60.0  # [s] at most until the nodes listen; the first start compiles the filter
START_UP = 2.0  # [s] of flight left out of the live comparison: the nodes have no position yet
MODEL = "uwb_demo.onnx"


class DemoError(RuntimeError):
    """A part of the demo that did not do what it should; the message holds its output."""


def run(directory: str | Path = "demo") -> int:
    """Fly, replay live, compare, write the report.

    Args:
        directory: gets flight/, live/ and report/.

    Returns:
        0, or 1 where the live node differs from the offline replay.

    Raises:
        DemoError: a process that failed.
    """
    begin = time.monotonic()
    directory = Path(directory)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:5.1f} s] {text}", flush=True)

    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    model = default_model(MODEL)
    flight = directory / "flight"
    if not flight.exists():
        say("simulating a drone flight with 8 anchors and 2 tags")
        simulate_flight(FLIGHT, flight)
    with BagReader(flight) as bag:
        layout = Layout.from_yaml(bag.custom_data["layout"])
    anchors = directory / "anchors.yaml"
    anchors.write_text(layout.to_yaml())
    live = directory / "live"
    shutil.rmtree(live, ignore_errors=True)
    _fly(flight, live, model, anchors, layout, say)
    say("comparing raw, constant, affine, ridge and network")
    evaluation = evaluate([flight], model)
    sentence = verdict(gains(evaluation.traces))
    live_line, agrees = _compare_live(live, flight, evaluation.results)
    report = Report(
        "A simulated flight, before and after",
        sentence,
        evaluation.results,
        pictures("simulated flight", evaluation.traces["flight"], layout, evaluation.links),
        {"model": str(model), "live": live_line, "command": "nn_estimation demo"},
        ["Simulated data: the error model is physical, the numbers are not those of a real robot."],
    )
    page = write(report, directory / "report")
    print()
    print(text_table(evaluation.results))
    print(f"\n{live_line}\n{sentence} · {page}")
    say("done")
    return 0 if agrees else 1


def _fly(flight: Path, live: Path, model: Path, anchors: Path, layout: Layout, say: object) -> None:
    """Start nodes and recorder, play the flight, stop them."""
    assert callable(say)
    corrected = [layout.tag_topic(tag.name, "range_corrected") for tag in layout.tags]
    outputs = [*corrected, "odometry/uwb", "odometry/uwb_localization"]
    say("starting uwb_bias_node, uwb_localization_node and the recorder")
    common = ["--ros-args", "--log-level", "warn", "-p", f"anchors:={anchors}"]
    processes = {
        "uwb_bias_node": _start("nn_estimation.uwb.node", *common, "-p", f"model:={model}"),
        "uwb_localization_node": _start("nn_estimation.uwb.localization_node", *common),
    }
    try:
        _wait_for_listeners(processes, layout)
        processes["recorder"] = _start("nn_estimation.ros.recorder", str(live), *outputs)
        time.sleep(1.0)  # the recorder looks for topics ten times a second
        say(f"playing {FLIGHT.duration:.0f} s of flight over DDS")
        topics = [layout.tag_topic(tag.name, kind) for tag in layout.tags for kind in ("range", "power")]
        play(flight, topics=[*topics, "imu/data_raw"], clock=False, wait_for=topics, progress=_bar)
        print(file=sys.stderr)
        time.sleep(1.0)
    finally:
        _stop(processes)


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *arguments]
    # A session of its own: Ctrl-C reaches the demo alone, which then stops its processes in order.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _wait_for_listeners(processes: dict[str, subprocess.Popen[str]], layout: Layout) -> None:
    """Until the nodes subscribe; their first start compiles the filter."""
    topic = layout.tag_topic(layout.tags[0].name, "range")
    waiting = _start("nn_estimation.ros.listeners", topic, f"{topic}_corrected", "--timeout", str(READY))
    try:
        while waiting.poll() is None:
            for name, process in processes.items():
                if process.poll() is not None:
                    assert process.stdout is not None
                    raise DemoError(f"{name} ended with code {process.returncode}:\n{process.stdout.read()}")
            time.sleep(0.05)
    finally:
        waiting.kill()
    if waiting.returncode:
        raise DemoError(f"the nodes did not subscribe within {READY:.0f} s")


def _bar(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r  {'█' * int(40 * share):40s} {share:4.0%}", end="", file=sys.stderr, flush=True)


def _stop(processes: dict[str, subprocess.Popen[str]]) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes.values():
        try:
            process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()


def _compare_live(live: Path, flight: Path, results: dict[str, object]) -> tuple[str, bool]:
    """What the recorded topics say: error of the live corrected ranges, and how many came."""
    samples = read_recording(flight)
    truth: dict[tuple[int, str], float] = {}
    for stamp, link, distance in zip(
        samples.stamp.tolist(), samples.link.tolist(), samples.distance.tolist(), strict=True
    ):
        truth[round(stamp * 1e6), samples.links[link]] = distance
    begin = samples.stamp[0] + START_UP
    errors, sigmas = [], []
    with BagReader(live) as bag:
        for topic, _, data in bag.raw([t for t in bag.topics if t.endswith("range_corrected")]):
            message = cdr.decode_range(data)
            key = (round(message.stamp_ns * 1e-3), f"{_tag(topic)}|{message.frame_id}")
            if key in truth and message.stamp_ns * 1e-9 >= begin:
                errors.append(message.range - truth[key])
                sigmas.append(message.variance**0.5)
    if not errors:
        return "live: no corrected range was recorded", False
    metrics = range_metrics(np.array(errors), np.array(sigmas))
    expected = int((samples.stamp >= begin).sum())
    line = (
        f"live over DDS: {len(errors)} of {expected} ranges passed the gate and were published corrected, "
        f"rmse {metrics['rmse_m']:.4f} m"
    )
    return line, len(errors) > 0.5 * expected


def _tag(topic: str) -> str:
    return topic.split("/")[0] if topic.count("/") > 1 else "tag"

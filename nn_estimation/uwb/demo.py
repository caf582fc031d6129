"""The demo of UWB: a simulated flight, ranges corrected live."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.demo import Outcome, Say, Show, node_arguments
from nn_estimation.metrics import range_metrics
from nn_estimation.report import Report, text_table, write
from nn_estimation.shipped import default_model
from nn_estimation.uwb.commands import gains, verdict
from nn_estimation.uwb.evaluation import evaluate
from nn_estimation.uwb.figures import pictures
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.samples import read_recording
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight

FLIGHT = SimulationParams(seed=0, duration=10.0)  # the model was trained on other seeds
START_UP = 2.0  # [s] of flight left out of the live comparison: the nodes have no position yet
MODEL = "uwb_demo.onnx"


def show(directory: Path, say: Say) -> Show:
    """A flight with two tags and eight anchors.

    Args:
        directory: of the demo.
        say: is told what is being done.
    """
    folder = directory / "uwb"
    flight, anchors = folder / "flight", folder / "anchors.yaml"
    if not flight.exists():
        say("simulating a drone flight with 8 anchors and 2 tags")
        simulate_flight(FLIGHT, flight)
    with BagReader(flight) as bag:
        layout = Layout.from_yaml(bag.custom_data["layout"])
    anchors.write_text(layout.to_yaml())
    model = default_model(MODEL)
    ranges = [layout.tag_topic(tag.name, "range") for tag in layout.tags]
    powers = [layout.tag_topic(tag.name, "power") for tag in layout.tags]
    corrected = [layout.tag_topic(tag.name, "range_corrected") for tag in layout.tags]
    played, given = [*ranges, *powers, "imu/data_raw"], f"anchors:={anchors}"
    bias = node_arguments(played, given, f"model:={model}")
    localization = node_arguments([*played, *corrected], given)
    return Show(
        name="uwb",
        title=f"{FLIGHT.duration:.0f} s of flight among UWB anchors",
        bag=flight,
        nodes={
            "uwb_bias_node": ["nn_estimation.uwb.node", *bias],
            "uwb_localization_node": ["nn_estimation.uwb.localization_node", *localization],
        },
        listens=[*ranges, *powers, corrected[0]],
        played=played,
        recorded=[*corrected, "odometry/uwb", "odometry/uwb_localization"],
        rate=1.0,
        judge=partial(_judge, flight, model, layout),
    )


def _judge(flight: Path, model: Path, layout: Layout, live: Path) -> Outcome:
    """Raw, constant, affine, ridge and network on the flight, and what the live nodes said."""
    evaluation = evaluate([flight], model)
    sentence = verdict(gains(evaluation.traces))
    live_line, agrees = _compare_live(live, flight)
    report = Report(
        "A simulated flight, before and after",
        sentence,
        evaluation.results,
        pictures("simulated flight", evaluation.traces["flight"], layout, evaluation.links),
        {"model": str(model), "live": live_line, "command": "nn_estimation demo uwb"},
        ["Simulated data: the error model is physical, the numbers are not those of a real robot."],
    )
    page = write(report, flight.parent / "report")
    return Outcome(page, text_table(evaluation.results), (live_line, sentence), agrees)


def _compare_live(live: Path, flight: Path) -> tuple[str, bool]:
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

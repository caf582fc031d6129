"""What `nn_estimation train|evaluate|replay dead_reckoning` do."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nn_estimation import commands
from nn_estimation.metrics import SEGMENTS, Reduction, mean_reduction

if TYPE_CHECKING:
    from nn_estimation.bags import BagReader
    from nn_estimation.dead_reckoning.evaluation import DriveTrace

BASELINE, METHOD = "tuned", "network"
SEED_SPREAD = 0.06  # [%] of the length by which trainings differ that differ in nothing but their seed
EQUAL = 1e-5  # of a segment's length, to which two methods are the same: the network computes in float32


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    commands.refuse(args, "anchors", "checkpoints", "logs", "resume")
    from nn_estimation.dead_reckoning.training import DeadReckoningTrainConfig
    from nn_estimation.dead_reckoning.training import train as train_model

    return commands.train(args, DeadReckoningTrainConfig, train_model, _held_out)


def _held_out(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{method:10s} t_rel {found['t_rel_percent']:.3f} %, r_rel {found['r_rel_deg_per_km']:.3f} deg/km"
        for method, found in metrics.items()
    ]


def evaluate(args: Namespace) -> int:
    """Every method of a model on drives; a table, one sentence, a report."""
    from nn_estimation.dead_reckoning.evaluation import evaluate as run
    from nn_estimation.dead_reckoning.figures import pictures

    commands.refuse(args, "anchors")
    say = commands.progress(args)
    evaluation = run(args.bags, args.model, remap=args.remap, truth=args.truth, progress=say)
    gain = gains(evaluation.traces)
    lengths = {
        name: sum(len(t.stamp) for t in found["constant"]) for name, found in evaluation.traces.items()
    }
    longest = max(lengths, key=lengths.__getitem__)
    return commands.present(
        args,
        evaluation,
        "Dead reckoning",
        verdict(gain, evaluation.results["summary"]),
        lambda: pictures(longest, evaluation.traces[longest]),
        None if gain is None else gain.percent,
    )


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.bags import BagReader
    from nn_estimation.dead_reckoning.health import health
    from nn_estimation.dead_reckoning.model import load_setups
    from nn_estimation.dead_reckoning.parameters import NODE, PARAMETERS, WITHOUT_NETWORK, stream_params
    from nn_estimation.dead_reckoning.replay import write_replay
    from nn_estimation.dead_reckoning.stream import DeadReckoningStream
    from nn_estimation.inference import Model

    commands.refuse(args, "anchors")
    with BagReader(args.bag, args.remap) as bag:
        without, alias = ({}, {}) if args.params else _said_by(bag)
        p = commands.configured(args, NODE, PARAMETERS, without)
        method = "network" if p["use_network"] else WITHOUT_NETWORK
        setup = commands.chosen(args, load_setups(Model.load(args.model)), method)
        stream = DeadReckoningStream(setup, stream_params(p))
        aid_for = math.inf if args.aid_for is None else args.aid_for
        if alias:
            aid_for = args.aid_for or 0.0  # the truth is for the start alone, unless asked for
        frames = p["world_frame"], p["child_frame"]
        added = write_replay(bag, stream, args.out, aid_for, alias, frames)
    commands.say_replayed(args, added, "odometry", health(stream))
    return 0


def _said_by(bag: BagReader) -> tuple[dict[str, Any], dict[str, str]]:
    """What the topics of a bag say of the node's parameters, and as which topic another one is heard."""
    from nn_estimation.dead_reckoning.stream import FIX_TOPIC, ODOMETRY_TOPIC, WHEEL_TOPIC
    from nn_estimation.recorded import TRUTH_TOPIC

    alias = {}
    aiding = next((name for name in (ODOMETRY_TOPIC, FIX_TOPIC) if name in bag.topics), None)
    if aiding is None and TRUTH_TOPIC in bag.topics:
        aiding, alias = ODOMETRY_TOPIC, {TRUTH_TOPIC: ODOMETRY_TOPIC}
    if aiding is None:
        has = ", ".join(sorted(bag.topics))
        raise ValueError(
            f"{bag.path} has no {ODOMETRY_TOPIC}, {FIX_TOPIC} or {TRUTH_TOPIC} to start from: {has}"
        )
    latitude = float(bag.custom_data.get("latitude_deg", 0.0))
    return {"aiding": aiding, "wheel_speed": WHEEL_TOPIC in bag.topics, "latitude": latitude}, alias


def gains(traces: Mapping[str, Mapping[str, Sequence[DriveTrace]]]) -> Reduction | None:
    """By how much the network's t_rel is below that of tuned, over all segments; None without a segment.

    Segments that start within the length of the longest one share their errors: those are the blocks of the
    bootstrap. Methods that are the same within `EQUAL` have exactly no gain.
    """
    errors: dict[str, list[np.ndarray]] = {BASELINE: [], METHOD: []}
    blocks, first = [], 0
    for found in traces.values():
        for baseline, network in zip(found[BASELINE], found[METHOD], strict=True):
            segments = baseline.segments
            errors[BASELINE].append(segments.translation)
            errors[METHOD].append(network.segments.translation)
            blocks.append(first + segments.start // SEGMENTS[-1])
            first += int(baseline.driven // SEGMENTS[-1]) + 1
    tuned, learned = (np.concatenate(errors[method]) for method in (BASELINE, METHOD))
    if not len(tuned):
        return None
    if np.abs(learned - tuned).max() < EQUAL:
        return Reduction(0.0, 0.0, 0.0)
    return mean_reduction(tuned, learned, np.concatenate(blocks))


def verdict(gain: Reduction | None, summary: Mapping[str, Mapping[str, float]]) -> str:
    """Who won, by how much, and whether that is more than chance."""
    if gain is None:
        return f"no drive is {SEGMENTS[0]} m long: no t_rel to compare"
    t_rel = {method: row["t_rel_percent"] for method, row in summary.items()}
    rest = f"; constant has {t_rel['constant']:.2f} %"
    if gain == Reduction(0.0, 0.0, 0.0):
        return f"network equals tuned, t_rel {t_rel[METHOD]:.2f} %{rest}"
    numbers = f"{t_rel[METHOD]:.2f} against {t_rel[BASELINE]:.2f} %"
    alike = gain.told_apart and abs(t_rel[METHOD] - t_rel[BASELINE]) < SEED_SPREAD
    unsure = ": less than seeds differ" if alike else ""
    return f"network is {gain.size} tuned in t_rel, {numbers} {gain.interval}{unsure}{rest}"

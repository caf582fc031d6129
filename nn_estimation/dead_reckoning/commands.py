"""What `nn_estimation train|evaluate|replay dead_reckoning` do."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nn_estimation.configuration import from_yaml
from nn_estimation.metrics import SEGMENTS, Reduction, mean_reduction

if TYPE_CHECKING:
    from nn_estimation.dead_reckoning.evaluation import DriveTrace

BASELINE, METHOD = "tuned", "network"
SEED_SPREAD = 0.06  # [%] of the length by which trainings differ that differ in nothing but their seed
EQUAL = 1e-5  # of a segment's length, to which two methods are the same: the network computes in float32


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    from nn_estimation.dead_reckoning.training import DeadReckoningTrainConfig
    from nn_estimation.dead_reckoning.training import train as train_model

    _refuse(args, "anchors", "checkpoints", "logs", "resume")
    config = from_yaml(DeadReckoningTrainConfig, args.config) if args.config else DeadReckoningTrainConfig()
    trained = train_model(
        args.bags,
        args.out,
        config,
        remap=args.remap,
        truth=args.truth,
        say=(lambda _: None) if args.quiet else print,
        progress=not args.quiet and sys.stderr.isatty(),
        command=args.command_line,
    )
    if not args.quiet:
        for method, found in trained.contract.metrics.items():
            t_rel, r_rel = found["t_rel_percent"], found["r_rel_deg_per_km"]
            print(f"held out: {method:10s} t_rel {t_rel:.3f} %, r_rel {r_rel:.3f} deg/km")
        print(f"nn_estimation info {trained.path} shows what is in it")
    return 0


def evaluate(args: Namespace) -> int:
    """Every method of a model on drives; a table, one sentence, a report."""
    from nn_estimation.dead_reckoning.evaluation import evaluate as run
    from nn_estimation.dead_reckoning.figures import pictures
    from nn_estimation.inference import Model
    from nn_estimation.report import Report, text_table, write

    _refuse(args, "anchors")
    say = None if args.quiet or args.json else lambda text: print(text, file=sys.stderr)
    evaluation = run(args.bags, args.model, remap=args.remap, truth=args.truth, progress=say)
    gain = gains(evaluation.traces)
    sentence = verdict(gain, evaluation.results["summary"])
    page = None
    if args.report:
        lengths = {
            name: sum(len(t.stamp) for t in found["constant"]) for name, found in evaluation.traces.items()
        }
        name = max(lengths, key=lengths.__getitem__)
        report = Report(
            f"Dead reckoning: {', '.join(evaluation.traces)}",
            sentence,
            evaluation.results,
            pictures(name, evaluation.traces[name]),
            {"model": str(args.model), "sha256": Model.load(args.model).sha256, "command": args.command_line},
            evaluation.notes,
        )
        page = write(report, args.report)
    if args.json:
        import json

        print(json.dumps(evaluation.results))
    else:
        print(text_table(evaluation.results))
        for note in evaluation.notes:
            print(f"note: {note}")
        print(sentence + (f" · {page}" if page else ""))
    return 0 if args.require is None or (gain is not None and gain.percent >= args.require) else 1


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.bags import BagReader
    from nn_estimation.dead_reckoning.drive import TRUTH_TOPIC
    from nn_estimation.dead_reckoning.health import health
    from nn_estimation.dead_reckoning.model import METHODS, load_setups
    from nn_estimation.dead_reckoning.replay import write_replay
    from nn_estimation.dead_reckoning.stream import (
        FIX_TOPIC,
        ODOMETRY_TOPIC,
        WHEEL_TOPIC,
        DeadReckoningStream,
        StreamParams,
    )
    from nn_estimation.inference import Model

    _refuse(args, "anchors")
    method = args.method or "network"
    if method not in METHODS:
        raise ValueError(f"--method {method} is not of dead_reckoning: choose one of {', '.join(METHODS)}")
    setup = load_setups(Model.load(args.model))[method]
    with BagReader(args.bag, args.remap) as bag:
        alias, aid_for = {}, math.inf if args.aid_for is None else args.aid_for
        aiding = next((name for name in (ODOMETRY_TOPIC, FIX_TOPIC) if name in bag.topics), None)
        if aiding is None and TRUTH_TOPIC in bag.topics:
            aiding, alias = ODOMETRY_TOPIC, {TRUTH_TOPIC: ODOMETRY_TOPIC}
            aid_for = args.aid_for or 0.0  # the truth is for the start alone, unless asked for
        if aiding is None:
            has = ", ".join(sorted(bag.topics))
            raise ValueError(
                f"{args.bag} has no {ODOMETRY_TOPIC}, {FIX_TOPIC} or {TRUTH_TOPIC} to start from: {has}"
            )
        latitude = bag.custom_data.get("latitude_deg")
        params = StreamParams(
            aiding,
            wheel_speed=WHEEL_TOPIC in bag.topics,
            latitude=None if latitude is None else math.radians(float(latitude)),
        )
        stream = DeadReckoningStream(setup, params)
        counts = write_replay(bag, stream, args.out, aid_for, alias)
    if not args.quiet:
        for topic, count in counts.items():
            print(f"{count:8d}  {topic}")
        for aspect, problem, _ in health(stream):
            if problem and aspect != "input":
                print(f"{aspect}: {problem}")
        print(f"{args.bag} and its odometry are in {args.out}")
    return 0


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
    sign, where = (1.0, "below") if gain.percent >= 0 else (-1.0, "above")
    numbers = f"{t_rel[METHOD]:.2f} against {t_rel[BASELINE]:.2f} %"
    found = f"network is {abs(gain.percent):.0f} % {where} tuned in t_rel, {numbers}"
    if math.isnan(gain.low):
        return f"{found} (too short for an interval){rest}"
    low, high = sorted((sign * gain.low, sign * gain.high))
    unsure = ""
    if not low > 0.0:
        unsure = ": not told apart"
    elif abs(t_rel[METHOD] - t_rel[BASELINE]) < SEED_SPREAD:
        unsure = ": less than seeds differ"
    return f"{found} (95 % interval {low:.0f} to {high:.0f} %){unsure}{rest}"


def _refuse(args: Namespace, *options: str) -> None:
    for option in options:
        if getattr(args, option):
            raise ValueError(f"--{option} is not for dead_reckoning: leave it out")

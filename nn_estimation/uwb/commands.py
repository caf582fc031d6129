"""What `nn_estimation train|evaluate|replay uwb` do."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn_estimation.configuration import from_yaml
from nn_estimation.metrics import Reduction, reduction

BASELINE, METHOD = "affine", "network"


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    from nn_estimation.uwb.training import UwbTrainConfig
    from nn_estimation.uwb.training import train as train_model

    config = from_yaml(UwbTrainConfig, args.config) if args.config else UwbTrainConfig()
    trained = train_model(
        args.bags,
        args.out,
        config,
        remap=args.remap,
        truth=args.truth,
        anchors=args.anchors,
        say=(lambda _: None) if args.quiet else print,
        progress=not args.quiet and sys.stderr.isatty(),
        checkpoint_dir=args.checkpoints,
        log_dir=args.logs,
        resume=args.resume,
        command=args.command_line,
    )
    held_out = trained.contract.metrics
    if not args.quiet:
        print(
            f"held out: affine {held_out[BASELINE]['rmse_m']:.4f} m, network {held_out[METHOD]['rmse_m']:.4f} m"
        )
        print(f"nn_estimation info {trained.path} shows what is in it")
    return 0


def evaluate(args: Namespace) -> int:
    """Every method of a model on bags; a table, one sentence, a report."""
    from nn_estimation.inference import Model
    from nn_estimation.report import Report, text_table, write
    from nn_estimation.uwb.evaluation import evaluate as run
    from nn_estimation.uwb.figures import pictures

    say = None if args.quiet or args.json else lambda text: print(text, file=sys.stderr)
    evaluation = run(
        args.bags, args.model, remap=args.remap, truth=args.truth, anchors=args.anchors, progress=say
    )
    gain = gains(evaluation.traces)
    sentence = verdict(gain)
    page = None
    if args.report:
        name = next(iter(evaluation.traces))
        model = Model.load(args.model)
        report = Report(
            f"UWB range correction: {', '.join(evaluation.traces)}",
            sentence,
            evaluation.results,
            pictures(name, evaluation.traces[name], evaluation.layouts[name], evaluation.links),
            {"model": str(args.model), "sha256": model.sha256, "command": args.command_line},
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
    return 0 if args.require is None or gain.percent >= args.require else 1


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.bags import BagReader
    from nn_estimation.inference import Model
    from nn_estimation.uwb.estimator import UwbEstimator
    from nn_estimation.uwb.learned_bias import load_bias_models
    from nn_estimation.uwb.replay import layout_of, write_replay
    from nn_estimation.uwb.stream import UwbStream

    if args.aid_for is not None:
        raise ValueError("--aid-for is not for uwb: leave it out")
    with BagReader(args.bag, args.remap) as bag:
        layout = layout_of(bag, args.anchors)
        models = load_bias_models(Model.load(args.model), layout)
        method = args.method or "network"
        if method not in models:
            raise ValueError(f"--method {method} is not in the model: choose one of {', '.join(models)}")
        stream = UwbStream(UwbEstimator(layout, models[method]))
        counts = write_replay(bag, stream, args.out)
    if not args.quiet:
        for topic, count in sorted(counts.items()):
            print(f"{count:8d}  {topic}")
        print(f"{args.bag} and its corrected ranges are in {args.out}")
    return 0


def gains(traces: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> Reduction:
    """By how much the network's range RMSE is below that of affine, over all recordings."""
    errors: dict[str, np.ndarray] = {
        method: np.concatenate([found[method][0].error for found in traces.values()])
        for method in (BASELINE, METHOD)
    }
    # Recordings may overlap in time; a gap keeps their blocks apart.
    stamps, end = [], 0.0
    for found in traces.values():
        stamp = found[METHOD][0].stamp
        stamps.append(stamp - stamp.min() + end)
        end = stamps[-1].max() + 60.0
    return reduction(errors[BASELINE], errors[METHOD], np.concatenate(stamps))


def verdict(gain: Reduction) -> str:
    """Who won and by how much."""
    sign, where = (1.0, "below") if gain.percent >= 0 else (-1.0, "above")
    found = f"network is {abs(gain.percent):.0f} % {where} affine in range RMSE"
    if math.isnan(gain.low):
        return f"{found} (too short for an interval)"
    low, high = sorted((sign * gain.low, sign * gain.high))
    unsure = "" if low > 0.0 else ": not told apart"
    return f"{found} (95 % interval {low:.0f} to {high:.0f} %){unsure}"

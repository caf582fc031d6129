"""What `nn_estimation train|evaluate|replay uwb` do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn_estimation import commands
from nn_estimation.metrics import Reduction, reduction

BASELINE, METHOD = "affine", "network"


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    from nn_estimation.uwb.training import UwbTrainConfig
    from nn_estimation.uwb.training import train as train_model

    return commands.train(
        args,
        UwbTrainConfig,
        train_model,
        _held_out,
        anchors=args.anchors,
        checkpoint_dir=args.checkpoints,
        log_dir=args.logs,
        resume=args.resume,
    )


def _held_out(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    affine, network = (metrics[method]["rmse_m"] for method in (BASELINE, METHOD))
    return [f"affine {affine:.4f} m, network {network:.4f} m"]


def evaluate(args: Namespace) -> int:
    """Every method of a model on bags; a table, one sentence, a report."""
    from nn_estimation.uwb.evaluation import evaluate as run
    from nn_estimation.uwb.figures import pictures

    say = commands.progress(args)
    evaluation = run(
        args.bags, args.model, remap=args.remap, truth=args.truth, anchors=args.anchors, progress=say
    )
    gain = gains(evaluation.traces)
    name, found = next(iter(evaluation.traces.items()))
    return commands.present(
        args,
        evaluation,
        "UWB range correction",
        verdict(gain),
        lambda: pictures(name, found, evaluation.layouts[name], evaluation.links),
        gain.percent,
    )


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.bags import BagReader
    from nn_estimation.inference import Model
    from nn_estimation.uwb.learned_bias import load_bias_models
    from nn_estimation.uwb.parameters import NODE, PARAMETERS, WITHOUT_NETWORK, says_where, stream_of
    from nn_estimation.uwb.replay import layout_of, write_replay

    commands.refuse(args, "aid_for")
    p = commands.configured(args, NODE, PARAMETERS, {})
    with BagReader(args.bag, args.remap) as bag:
        layout = layout_of(bag, args.anchors or p["anchors"] or None)
        method = METHOD if p["use_network"] else WITHOUT_NETWORK
        model = commands.chosen(args, load_bias_models(Model.load(args.model), layout), method)
        added = write_replay(bag, stream_of(layout, model, p), args.out, says_where(p))
    commands.say_replayed(args, added, "corrected ranges")
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
    return f"network is {gain.size} affine in range RMSE {gain.interval}"

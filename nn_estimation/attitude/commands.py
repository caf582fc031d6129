"""What `nn_estimation train|evaluate|replay attitude` do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nn_estimation import commands
from nn_estimation.metrics import Reduction, in_words, recording_reduction

if TYPE_CHECKING:
    from nn_estimation.attitude.evaluation import AttitudeTrace

BASELINE, METHOD = "vqf", "network"
BLOCK = 20.0  # [s] errors of an attitude closer in time than this are not independent: bias and heading last
WORSE = 0.5  # [%] above vqf from which on a trial is named


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    commands.refuse(args, "anchors", "checkpoints", "logs", "resume")
    from nn_estimation.attitude.training import AttitudeTrainConfig
    from nn_estimation.attitude.training import train as train_model

    return commands.train(args, AttitudeTrainConfig, train_model, _held_out)


def _held_out(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{method:12s} inclination {found['inclination_deg']:.3f}, total {found['total_deg']:.3f} deg"
        for method, found in metrics.items()
    ]


def evaluate(args: Namespace) -> int:
    """Every method of a model and the published filters on trials; a table, one sentence, a report."""
    from nn_estimation.attitude.evaluation import evaluate as run
    from nn_estimation.attitude.figures import pictures
    from nn_estimation.attitude.peers import versions

    commands.refuse(args, "anchors")
    say = commands.progress(args)
    evaluation = run(args.bags, args.model, remap=args.remap, truth=args.truth, progress=say)
    gain, recordings = gains(evaluation.traces), evaluation.results["recordings"]
    evaluation.notes += worse(recordings)
    return commands.present(
        args,
        evaluation,
        "Attitude",
        verdict(gain, evaluation.results),
        lambda: pictures(evaluation.traces, recordings),
        gain["inclination"].percent,
        {"beside it": versions()},
    )


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.attitude.health import health
    from nn_estimation.attitude.model import load_setups
    from nn_estimation.attitude.parameters import NODE, PARAMETERS, WITHOUT_NETWORK, stream_params
    from nn_estimation.attitude.replay import write_replay
    from nn_estimation.attitude.stream import AttitudeStream
    from nn_estimation.attitude.trial import MAG_TOPIC
    from nn_estimation.bags import BagReader
    from nn_estimation.inference import Model

    commands.refuse(args, "anchors", "aid_for")
    with BagReader(args.bag, args.remap) as bag:
        p = commands.configured(args, NODE, PARAMETERS, {"use_mag": MAG_TOPIC in bag.topics})
        method = "network" if p["use_network"] else WITHOUT_NETWORK
        setup = commands.chosen(args, load_setups(Model.load(args.model)), method)
        stream = AttitudeStream(setup, stream_params(p))
        added = write_replay(bag, stream, args.out, p["child_frame"], p["publish_rpy"])
    commands.say_replayed(args, added, "attitude", health(stream))
    return 0


def gains(traces: Mapping[str, Mapping[str, AttitudeTrace]]) -> dict[str, Reduction]:
    """By how much the network's inclination and total are below those of vqf, in the mean over the trials."""
    stamp = [found[METHOD].stamp for found in traces.values()]
    return {
        kind: recording_reduction(
            [getattr(found[BASELINE].errors, kind) for found in traces.values()],
            [getattr(found[METHOD].errors, kind) for found in traces.values()],
            stamp,
            BLOCK,
        )
        for kind in ("inclination", "total")
    }


def verdict(gain: Mapping[str, Reduction], results: Mapping[str, Any]) -> str:
    """Who won in inclination and in total, by how much, whether that is more than chance, and where it did worst."""
    parts: list[str] = []
    for kind, found in gain.items():
        ours, theirs = (results["summary"][method][f"{kind}_deg"] for method in (METHOD, BASELINE))
        whose = "" if parts else f" {BASELINE}"
        parts.append(f"{found.size}{whose} in {kind}, {ours:.2f} against {theirs:.2f} deg {found.interval}")
    sentence = f"{METHOD} is {' and '.join(parts)}"
    trials = results["recordings"]
    if len(trials) > 1:
        worst = max(trials, key=lambda name: -below(trials[name], "total_deg"))
        said = " and ".join(
            f"{in_words(below(trials[worst], f'{kind}_deg'))} in {kind}" for kind in ("total", "inclination")
        )
        sentence += f"; at worst, on {worst}, {said}"
    return sentence


def worse(recordings: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Notes of the trials on which the network does worse than vqf."""
    notes = []
    for kind in ("inclination", "total"):
        lost = {name: -below(rows, f"{kind}_deg") for name, rows in recordings.items()}
        named = [f"{name} ({percent:.1f} %)" for name, percent in lost.items() if percent > WORSE]
        if named:
            notes.append(f"{METHOD} is above {BASELINE} in {kind} on {', '.join(named)}")
    return notes


def below(rows: Mapping[str, Mapping[str, float]], metric: str) -> float:
    """[%] that the network's metric is below that of vqf."""
    return 100.0 * (1.0 - rows[METHOD][metric] / rows[BASELINE][metric])

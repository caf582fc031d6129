"""What `nn_estimation train|evaluate|replay attitude` do."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nn_estimation.configuration import from_yaml
from nn_estimation.metrics import Reduction, recording_reduction

if TYPE_CHECKING:
    from nn_estimation.attitude.evaluation import AttitudeTrace

BASELINE, METHOD = "vqf", "network"
BLOCK = 20.0  # [s] errors of an attitude closer in time than this are not independent: bias and heading last
WORSE = 0.5  # [%] above vqf from which on a trial is named


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    _refuse(args, "anchors", "checkpoints", "logs", "resume")
    from nn_estimation.attitude.training import AttitudeTrainConfig
    from nn_estimation.attitude.training import train as train_model

    config = from_yaml(AttitudeTrainConfig, args.config) if args.config else AttitudeTrainConfig()
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
            inclination, total = found["inclination_deg"], found["total_deg"]
            print(f"held out: {method:12s} inclination {inclination:.3f}, total {total:.3f} deg")
        print(f"nn_estimation info {trained.path} shows what is in it")
    return 0


def evaluate(args: Namespace) -> int:
    """Every method of a model and the published filters on trials; a table, one sentence, a report."""
    from nn_estimation.attitude.evaluation import evaluate as run
    from nn_estimation.attitude.figures import pictures
    from nn_estimation.attitude.peers import versions
    from nn_estimation.inference import Model
    from nn_estimation.report import Report, text_table, write

    _refuse(args, "anchors")
    say = None if args.quiet or args.json else lambda text: print(text, file=sys.stderr)
    evaluation = run(args.bags, args.model, remap=args.remap, truth=args.truth, progress=say)
    results = evaluation.results
    gain = gains(evaluation.traces)
    sentence = verdict(gain, results)
    notes = evaluation.notes + worse(results["recordings"])
    page = None
    if args.report:
        report = Report(
            f"Attitude: {', '.join(evaluation.traces)}",
            sentence,
            results,
            pictures(evaluation.traces, results["recordings"]),
            {
                "model": str(args.model),
                "sha256": Model.load(args.model).sha256,
                "beside it": versions(),
                "command": args.command_line,
            },
            notes,
        )
        page = write(report, args.report)
    if args.json:
        import json

        print(json.dumps(results))
    else:
        print(text_table(results))
        for note in notes:
            print(f"note: {note}")
        print(sentence + (f" · {page}" if page else ""))
    return 0 if args.require is None or gain["inclination"].percent >= args.require else 1


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.attitude.health import health
    from nn_estimation.attitude.model import load_setups
    from nn_estimation.attitude.replay import write_replay
    from nn_estimation.attitude.stream import AttitudeStream, StreamParams
    from nn_estimation.attitude.trial import MAG_TOPIC
    from nn_estimation.bags import BagReader
    from nn_estimation.inference import Model

    _refuse(args, "anchors")
    if args.aid_for is not None:
        raise ValueError("--aid-for is not for attitude: leave it out")
    setups, method = load_setups(Model.load(args.model)), args.method or METHOD
    if method not in setups:
        raise ValueError(f"--method {method} is not of attitude: choose one of {', '.join(setups)}")
    with BagReader(args.bag, args.remap) as bag:
        stream = AttitudeStream(setups[method], StreamParams(use_mag=MAG_TOPIC in bag.topics))
        counts = write_replay(bag, stream, args.out)
    if not args.quiet:
        for topic, count in counts.items():
            print(f"{count:8d}  {topic}")
        for aspect, problem, _ in health(stream):
            if problem and aspect != "input":
                print(f"{aspect}: {problem}")
        print(f"{args.bag} and its attitude are in {args.out}")
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
        sign, where = (1.0, "below") if found.percent >= 0 else (-1.0, "above")
        ours, theirs = (results["summary"][method][f"{kind}_deg"] for method in (METHOD, BASELINE))
        whose = f" {BASELINE}" if not parts else ""
        part = f"{abs(found.percent):.0f} % {where}{whose} in {kind}, {ours:.2f} against {theirs:.2f} deg"
        if math.isnan(found.low):
            part += " (too short for an interval)"
        else:
            low, high = sorted((sign * found.low, sign * found.high))
            part += (
                f" (95 % interval {round(low)} to {round(high)} %{'' if low > 0.0 else ', not told apart'})"
            )
        parts.append(part)
    sentence = f"{METHOD} is {' and '.join(parts)}"
    trials = results["recordings"]
    if len(trials) > 1:
        worst = max(trials, key=lambda name: -below(trials[name], "total_deg"))
        said = " and ".join(
            _beside(below(trials[worst], f"{kind}_deg"), f"in {kind}") for kind in ("total", "inclination")
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


def _beside(percent: float, what: str) -> str:
    return f"{abs(percent):.0f} % {'below' if percent >= 0 else 'above'} {what}"


def _refuse(args: Namespace, *options: str) -> None:
    for option in options:
        if getattr(args, option):
            raise ValueError(f"--{option} is not for attitude: leave it out")

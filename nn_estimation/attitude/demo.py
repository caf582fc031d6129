"""The demo of attitude: a simulated IMU in a hand, and the live node beside the published filter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nn_estimation import cdr
from nn_estimation.attitude.commands import BASELINE, gains, verdict, worse
from nn_estimation.attitude.evaluation import AttitudeTrace, evaluate
from nn_estimation.attitude.figures import pictures
from nn_estimation.attitude.replay import OUTPUT_TOPIC
from nn_estimation.attitude.simulation import START, SimulationParams, simulate_handling
from nn_estimation.attitude.trial import IMU_TOPIC, MAG_TOPIC, Trial, read_trial
from nn_estimation.bags import BagReader
from nn_estimation.demo import Outcome, Say, Show, node_arguments
from nn_estimation.metrics import attitude_errors, attitude_metrics
from nn_estimation.recorded import TICK, columns
from nn_estimation.report import COLOURS, Picture, Report, text_table, write
from nn_estimation.shipped import default_model

HANDLING = SimulationParams(seed=104, duration=40.0, pace=1.5, taps=0.3, magnets=1)
RATE = 3.0  # times real time
MODEL = "attitude.onnx"
PLAYED = [MAG_TOPIC, IMU_TOPIC]
MIN_SHARE = 0.99  # of the attitudes that must come
START_UP = 1.0  # [s] within which the first must


@dataclass(frozen=True)
class Live:
    """N attitudes that the node published, beside the truth."""

    stamp: np.ndarray  # (N,) [s]
    quaternion: np.ndarray  # (N, 4) x, y, z, w; sensor to world
    covariance: np.ndarray  # (N, 3, 3) [rad^2] about the world axes
    truth: np.ndarray  # (N, 4)
    scored: np.ndarray  # (N,) bool


def show(directory: Path, say: Say) -> Show:
    """An IMU that is turned and carried about by hand, knocked, and passes a magnet.

    Args:
        directory: of the demo.
        say: is told what is being done.
    """
    handling = directory / "attitude" / "handling"
    if not handling.exists():
        say("simulating a nine-axis IMU in a hand")
        simulate_handling(HANDLING, handling)
    model = default_model(MODEL)
    arguments = node_arguments(PLAYED, f"model:={model}", "use_network:=true")
    return Show(
        name="attitude",
        title=f"{HANDLING.duration:.0f} s of an IMU in a hand",
        bag=handling,
        nodes={"attitude_node": ["nn_estimation.attitude.node", *arguments]},
        listens=PLAYED,
        played=PLAYED,
        recorded=[OUTPUT_TOPIC],
        rate=RATE,
        judge=partial(_judge, handling, model),
    )


def _judge(path: Path, model: Path, recorded: Path) -> Outcome:
    """All methods over the recording, and what the live node said."""
    evaluation = evaluate([path], model)
    results, traces = evaluation.results, evaluation.traces
    sentence = verdict(gains(traces), results)
    trial, peer = read_trial(path), traces[path.name][BASELINE]
    live = _read(recorded, trial)
    line, complete = _line(live, trial, peer)
    found = pictures(traces, results["recordings"])
    if live.scored.any():
        found = [_beside(live, peer), *found]
    report = Report(
        "A simulated IMU in a hand, before and after",
        sentence,
        results,
        found,
        {"model": str(model), "live": line, "command": "nn_estimation demo attitude"},
        [
            "Simulated data: the error model is physical, the numbers are not those of a real sensor. The model "
            "was trained on a real one.",
            *evaluation.notes,
            *worse(results["recordings"]),
        ],
    )
    page = write(report, path.parent / "report")
    return Outcome(page, text_table(results), (line, sentence), complete)


def _read(recorded: Path, trial: Trial) -> Live:
    """What the node published at stamps of the IMU."""
    with BagReader(recorded) as bag:
        found = [cdr.decode_imu(data) for _, _, data in bag.raw([OUTPUT_TOPIC])]
    if not found:
        return Live(
            np.empty(0), np.empty((0, 4)), np.empty((0, 3, 3)), np.empty((0, 4)), np.empty(0, dtype=bool)
        )
    stamp, quaternion, covariance = columns(found, "orientation", "orientation_covariance")
    rows = np.clip(np.searchsorted(trial.stamp, stamp - TICK), 0, len(trial.stamp) - 1)
    known = trial.scored[rows] & (np.abs(trial.stamp[rows] - stamp) < TICK)
    return Live(stamp, quaternion, covariance.reshape(-1, 3, 3), trial.truth[rows], known)


def _line(live: Live, trial: Trial, peer: AttitudeTrace) -> tuple[str, bool]:
    """How many attitudes came, and how far off they and those of the published filter are."""
    if not live.scored.any():
        return "live: no attitude was recorded", False
    begin = trial.stamp[0] + START_UP
    came, expected = int((live.stamp >= begin).sum()), int((trial.stamp >= begin).sum())
    ours = attitude_metrics(live.quaternion[live.scored], live.truth[live.scored])
    theirs = attitude_metrics(peer.quaternion, peer.truth)
    line = (
        f"live over DDS: {came} of {expected} attitudes, total error {ours['total_deg']:.2f} deg and "
        f"inclination error {ours['inclination_deg']:.2f} deg, beside {theirs['total_deg']:.2f} and "
        f"{theirs['inclination_deg']:.2f} deg of {BASELINE}"
    )
    return line, came >= MIN_SHARE * expected


def _beside(live: Live, peer: AttitudeTrace) -> Picture:
    """Errors of the live node with the bound it gives itself, and those of the published filter."""
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    use = live.scored
    errors = attitude_errors(live.quaternion[use], live.truth[use])
    variance = np.diagonal(live.covariance[use], axis1=1, axis2=2)
    rows = [
        ("inclination", errors.inclination, peer.errors.inclination, variance[:, 0] + variance[:, 1]),
        ("heading", np.abs(errors.heading), np.abs(peer.errors.heading), variance[:, 2]),
    ]
    for ax, (name, ours, theirs, square) in zip(axes, rows, strict=True):
        bound = np.degrees(2.0 * np.sqrt(square))
        ax.plot(peer.stamp - START, np.degrees(theirs), ".", ms=1.2, color=COLOURS[BASELINE], label=BASELINE)
        ax.plot(
            live.stamp[use] - START, np.degrees(ours), ".", ms=1.2, color=COLOURS["network"], label="live"
        )
        ax.plot(live.stamp[use] - START, bound, ".", ms=0.6, color="black", label="live, 2 sigma")
        ax.set(ylabel=f"{name} error [deg]", ylim=(0.0, None))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9, ncols=3, markerscale=8)
    axes[1].set(xlabel="time [s]")
    caption = (
        "What the live node published while the IMU moved, and what the published filter makes of the same."
    )
    return Picture("live", "The live node beside the published filter", caption, figure)

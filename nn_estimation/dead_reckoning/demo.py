"""The demo of dead reckoning: a simulated drive, and the live node alone while GNSS is out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.dead_reckoning.commands import gains, verdict
from nn_estimation.dead_reckoning.drive import IMU_TOPIC, Drive, read_drive
from nn_estimation.dead_reckoning.evaluation import evaluate
from nn_estimation.dead_reckoning.figures import pictures
from nn_estimation.dead_reckoning.simulated_car import START
from nn_estimation.dead_reckoning.simulation import SimulationParams, simulate_drive, world
from nn_estimation.demo import Outcome, Say, Show, node_arguments
from nn_estimation.recorded import TICK
from nn_estimation.report import COLOURS, Picture, Report, text_table, write
from nn_estimation.shipped import default_model

DRIVE = SimulationParams(seed=103, duration=60.0, outage=(25.0, 55.0))  # of other seeds than the training
RATE = 6.0  # times real time
MODEL = "dead_reckoning_demo.onnx"
TOPIC = "odometry/dead_reckoning"
PLAYED = [IMU_TOPIC, "fix", "fix_velocity"]
MIN_SHARE = 0.99  # of the odometry that must come


@dataclass(frozen=True)
class Live:
    """N estimates that the node published, beside the truth; world axes."""

    stamp: np.ndarray  # (N,) [s]
    position: np.ndarray  # (N, 3) [m]
    truth: np.ndarray  # (N, 3) [m]
    covariance: np.ndarray  # (N, 3, 3) [m^2]

    @property
    def error(self) -> np.ndarray:
        """(N, 3) [m]."""
        return self.position - self.truth


def show(directory: Path, say: Say) -> Show:
    """A car whose receiver sees no satellite for half a minute.

    Args:
        directory: of the demo.
        say: is told what is being done.
    """
    drive = directory / "dead_reckoning" / "drive"
    if not drive.exists():
        say("simulating a car drive with a GNSS outage")
        simulate_drive(DRIVE, drive)
    model = default_model(MODEL)
    arguments = node_arguments(PLAYED, f"model:={model}", "aiding:=fix")
    return Show(
        name="dead_reckoning",
        title=f"{DRIVE.duration:.0f} s of driving with {DRIVE.outage[1] - DRIVE.outage[0]:.0f} s without GNSS",
        bag=drive,
        nodes={"dead_reckoning_node": ["nn_estimation.dead_reckoning.node", *arguments]},
        listens=PLAYED,
        played=PLAYED,
        recorded=[TOPIC],
        rate=RATE,
        judge=partial(_judge, drive, model),
    )


def _judge(path: Path, model: Path, recorded: Path) -> Outcome:
    """Constant, tuned and network without any GNSS, and what the live node made of the outage."""
    evaluation = evaluate([path], model)
    sentence = verdict(gains(evaluation.traces), evaluation.results["summary"])
    drive = read_drive(path)
    live = _read(recorded, path, drive)
    line, agrees = _line(live, drive)
    found = pictures("simulated drive", evaluation.traces[path.name])
    if len(live.stamp):
        found = [_bridged(live, drive), *found]
    report = Report(
        "A simulated drive, before and after",
        sentence,
        evaluation.results,
        found,
        {"model": str(model), "live": line, "command": "nn_estimation demo dead_reckoning"},
        [
            "Simulated data: the error model is physical, the numbers are not those of a real car.",
            *evaluation.notes,
        ],
    )
    page = write(report, path.parent / "report")
    lines = (line, f"without any GNSS, from the true start: {sentence}")
    return Outcome(page, text_table(evaluation.results), lines, agrees)


def _read(recorded: Path, path: Path, drive: Drive) -> Live:
    """What the node published; its world begins at the first fix."""
    found = []
    with BagReader(recorded) as bag:
        for _, _, data in bag.raw([TOPIC]):
            found.append(cdr.decode_odometry(data))
    with BagReader(path) as bag:
        fix = next(cdr.decode_fix(data) for _, _, data in bag.raw(["fix"]))
    latitude, longitude = np.radians(fix.place[:2])
    origin = world(DRIVE).position(latitude, longitude, fix.place[2])
    stamp = np.array([message.stamp_ns * 1e-9 for message in found])
    position = origin + np.array([message.position for message in found]).reshape(-1, 3)
    truth = np.stack([np.interp(stamp, drive.stamp, column) for column in drive.position.T], axis=1)
    covariance = np.array([message.covariance for message in found]).reshape(-1, 6, 6)
    return Live(stamp, position, truth, covariance[:, :3, :3])


def _line(live: Live, drive: Drive) -> tuple[str, bool]:
    """How many estimates came, and how far off they were when the fixes returned."""
    if not len(live.stamp):
        return "live: no odometry was recorded", False
    expected = int((drive.stamp > live.stamp[0] - TICK).sum())
    begin, end = (START + at for at in DRIVE.outage)
    last = int(np.searchsorted(live.stamp, end)) - 1
    off = float(np.linalg.norm(live.error[last, :2]))
    sigma = float(np.sqrt(np.linalg.eigvalsh(live.covariance[last, :2, :2])[-1]))
    out = (drive.stamp >= begin) & (drive.stamp < end)
    driven = np.linalg.norm(np.diff(drive.position[out], axis=0), axis=1).sum()
    line = (
        f"live over DDS: {len(live.stamp)} of {expected} odometry messages, error at the end of the outage "
        f"{off:.1f} m after {driven:.0f} m in {end - begin:.0f} s, standard deviation {sigma:.1f} m"
    )
    complete = len(live.stamp) >= MIN_SHARE * expected and live.stamp[0] < begin and last >= 0
    return line, complete


def _bridged(live: Live, drive: Drive) -> Picture:
    """The live node through the outage: from above, and its error with the bound it gives itself."""
    begin, end = (START + at for at in DRIVE.outage)
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    above, over = figure.subplots(1, 2)
    alone = (live.stamp >= begin) & (live.stamp < end)
    above.plot(*drive.position[:, :2].T, color="black", lw=1.1, ls="--", label="truth")
    for use, colour, label in (
        (live.stamp < begin, COLOURS["affine"], "with GNSS"),
        (alone, COLOURS["network"], "alone"),
        (live.stamp >= end, COLOURS["affine"], None),
    ):
        above.plot(*live.position[use, :2].T, color=colour, lw=1.6, label=label)
    above.set_aspect("equal", adjustable="datalim")
    above.set(xlabel="east [m]", ylabel="north [m]")
    time = live.stamp - START
    off = np.linalg.norm(live.error[:, :2], axis=1)
    bound = 3.0 * np.sqrt(np.linalg.eigvalsh(live.covariance[:, :2, :2])[:, -1])
    over.axvspan(*DRIVE.outage, color="#8c8c8c", alpha=0.15, lw=0, label="no GNSS")
    over.plot(time, off, color=COLOURS["network"], lw=1.4, label="error")
    over.plot(time, bound, color="black", lw=0.9, ls=":", label="3 sigma, along its longest axis")
    over.set(xlabel="time [s]", ylabel="horizontal error [m]", ylim=(0.0, None))
    for ax in (above, over):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=9)
    caption = "What the live node published: aided by fixes, then alone for half a minute, then aided again."
    return Picture("outage", "The live node through the outage", caption, figure)

"""Evaluation: every method on the same drives, from the true start, side by side, against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nn_estimation.dead_reckoning.drive import Drive, DriveError, read_drive
from nn_estimation.dead_reckoning.estimator import DeadReckoning
from nn_estimation.dead_reckoning.model import METHODS, TASK, Setup, load_setups
from nn_estimation.dead_reckoning.tuning import MIN_STRETCH, frames, pooled
from nn_estimation.evaluation import Evaluation, unused
from nn_estimation.inference import Model
from nn_estimation.metrics import SEGMENTS, SegmentErrors, coverage, nees, segment_errors

SETTLED = 1.0  # [s] after the start from which on bounds are scored: at the start itself they are zero
RATE_TOLERANCE = 0.2  # of the rate a model was trained at
TOO_SMALL = 0.95  # share within 3 sigma (.997 if true) below which bounds are called too small
TOO_LARGE = 2.0  # times the errors from which on they are called too large


@dataclass(frozen=True, slots=True)
class DriveTrace:
    """What a method made of a stretch without gaps: K scored frames, ten a second, world axes."""

    stamp: np.ndarray  # (K,) [s]
    R: np.ndarray  # (K, 3, 3) IMU to world
    position: np.ndarray  # (K, 3) [m]
    velocity: np.ndarray  # (K, 3) [m/s]
    R_true: np.ndarray  # (K, 3, 3)
    true_position: np.ndarray  # (K, 3) [m]
    true_velocity: np.ndarray  # (K, 3) [m/s]
    position_covariance: np.ndarray  # (K, 3, 3) [m^2]
    velocity_covariance: np.ndarray  # (K, 3, 3) [m^2/s^2]
    variance: np.ndarray  # (K, 2) [m^2/s^2] of the lateral and vertical pseudo-measurement
    settled: np.ndarray  # (K,) bool, where bounds are scored
    nis: np.ndarray  # (M,) of each scored pseudo-measurement, 2 degrees of freedom
    looks: int  # of the network
    spoken: int  # looks at which it was trusted

    @property
    def position_error(self) -> np.ndarray:
        """(K, 3) [m]."""
        return self.position - self.true_position

    @property
    def velocity_error(self) -> np.ndarray:
        """(K, 3) [m/s]."""
        return self.velocity - self.true_velocity

    @property
    def driven(self) -> float:
        """[m] of the true path."""
        return float(np.linalg.norm(np.diff(self.true_position, axis=0), axis=1).sum())

    @property
    def segments(self) -> SegmentErrors:
        """By the rules of the KITTI odometry benchmark."""
        return segment_errors(self.R_true, self.true_position, self.R, self.position)


def evaluate(
    bags: Sequence[str | Path],
    model_path: str | Path,
    *,
    methods: Sequence[str] = METHODS,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation[list[DriveTrace]]:  # of each stretch
    """Run the methods of a model over bags.

    Each method starts at the true pose and velocity of the first sample, and anew after each gap of the IMU, as in
    the KITTI benchmark; nothing is aligned. All are scored at the same frames.

    Args:
        bags: with a truth.
        model_path: ONNX file of the task dead_reckoning.
        methods: among constant, tuned, network.
        remap: topic in a bag -> name it is read as.
        truth: topic of the true Odometry.
        progress: is told what is being done.

    Returns:
        Of each recording and of all, where there is such a number: t_rel_percent, r_rel_deg_per_km,
        position_rmse_m, end_error_m (mean of the stretches), position_coverage_3sigma and velocity_coverage_3sigma
        (share of single world coordinates within three predicted standard deviations; Gaussian: .997),
        position_nees, velocity_nees and nis (means by their degrees of freedom, 1 if true), network_share.

    Raises:
        DriveError, BagError, ModelError: as their modules say.
    """
    say = progress or (lambda _: None)
    model = Model.load(model_path)
    setups = load_setups(model)
    traces: dict[str, dict[str, list[DriveTrace]]] = {}
    about: dict[str, list[str]] = {}  # what is to be noted, and of which recordings
    for path in bags:
        say(f"reading {path}")
        drive = read_drive(path, remap, truth)
        name = unused(drive.name, traces)
        stretches = [part for part in drive.without_gaps() if scorable(part)]
        if not stretches:
            raise DriveError(f"{path} has no stretch of {MIN_STRETCH:.0f} s of IMU with truth")
        say(f"dead reckoning {name} with {', '.join(methods)}")
        traces[name] = {
            method: [dead_reckon(part, setups[method]) for part in stretches] for method in methods
        }
        for note in _remarkable(drive, model, traces[name]):
            about.setdefault(note, []).append(name)
    results = _results(model_path, traces, methods)
    notes = [f"{', '.join(names)}: {note}" for note, names in about.items()]
    if "network" in methods and not corrections(model):
        notes.append("network: its training left the corrections out, it says the tuned constants")
    return Evaluation(results, traces, notes + _of_bounds(results["summary"]))


def dead_reckon(drive: Drive, setup: Setup) -> DriveTrace:
    """A method over a stretch without gaps, sample by sample as the node runs it."""
    estimator = DeadReckoning(setup.constants, drive.latitude if setup.earth else None, setup.network)
    before = _counts(setup)
    estimator.start(drive.stamp[0], drive.position[0], drive.R[0], drive.velocity[0], drive.gyro[0])
    rows = frames(drive)
    count = len(rows)
    R, position, velocity = drive.R[rows], drive.position[rows], drive.velocity[rows]
    of_position, of_velocity, variance = (
        np.zeros((count, 3, 3)),
        np.zeros((count, 3, 3)),
        np.empty((count, 2)),
    )
    variance[:] = estimator.expected[1]
    nis = np.full(len(drive.stamp), np.nan)
    begin = 1  # row 0 is the start, which is the truth
    for k, row in enumerate(rows.tolist()):
        for i in range(begin, row + 1):
            estimate = estimator.update(drive.stamp[i], drive.gyro[i], drive.accel[i])
            nis[i] = estimator.nis
        if row >= begin:
            assert estimate is not None  # a drive holds no sample that is of no use
            R[k], position[k], velocity[k] = estimate.R_world_imu, estimate.position, estimate.velocity
            of_position[k], of_velocity[k] = estimate.covariance[:3, :3], estimate.velocity_covariance
            variance[k] = estimator.expected[1]
            begin = row + 1
    looks, spoken = (after - first for after, first in zip(_counts(setup), before, strict=True))
    return DriveTrace(
        drive.stamp[rows], R, position, velocity, drive.R[rows], drive.position[rows], drive.velocity[rows],
        of_position, of_velocity, variance, drive.stamp[rows] - drive.stamp[0] >= SETTLED,
        nis[drive.scored & (nis >= 0.0)], looks, spoken,
    )  # fmt: skip


def scorable(drive: Drive) -> bool:
    """Whether a stretch is long enough, and has truth."""
    return bool(drive.stamp[-1] - drive.stamp[0] > MIN_STRETCH and len(frames(drive)) > 1)


def corrections(model: Model) -> bool:
    """Whether the training kept what the network says beyond the tuned constants."""
    return bool(model.contract.parameters.get("corrections", True))


def _counts(setup: Setup) -> tuple[int, int]:
    """Looks of the network so far, and those at which it was trusted."""
    counts = setup.network.counts if setup.network else {}
    return sum(counts.values()), counts.get("network", 0)


def _remarkable(drive: Drive, model: Model, found: Mapping[str, Sequence[DriveTrace]]) -> list[str]:
    """What a reader of the numbers of a recording has to know."""
    notes = []
    stretches = next(iter(found.values()))
    if len(stretches) > 1:
        notes.append(f"{len(stretches)} stretches between gaps, each from its true start")
    rate, trained = 1.0 / float(np.median(np.diff(drive.stamp))), model.contract.rate
    if trained is not None and abs(rate / trained - 1.0) > RATE_TOLERANCE:
        notes.append(f"IMU at {rate:.0f} Hz, the model was trained at {trained:.0f} Hz")
    if not any(len(trace.segments.length) for trace in stretches):
        notes.append(f"shorter than {SEGMENTS[0]} m, no t_rel")
    if all(metrics(traces).get("nis", 0.0) > 1.0 for traces in found.values()):
        notes.append("NIS above 1: it moves as no vehicle does that neither slips nor flies")
    return notes


def _of_bounds(summary: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is wrong with the predicted uncertainties."""
    found = []
    for method, row in summary.items():
        shares = {kind: row.get(f"{kind}_coverage_3sigma", math.nan) for kind in ("position", "velocity")}
        short = [f"{kind} {100 * share:.0f} %" for kind, share in shares.items() if not share >= TOO_SMALL]
        if short:
            found.append(f"{method}: bounds too small, within 3 sigma {' and '.join(short)} (99.7 if true)")
        larger = 1.0 / math.sqrt(max(row.get("position_nees", 1.0), 1e-12))
        if larger > TOO_LARGE:
            found.append(f"{method}: position bounds {larger:.1f} times as large as its errors")
    return found


def _results(
    model_path: str | Path, traces: Mapping[str, Mapping[str, Sequence[DriveTrace]]], methods: Sequence[str]
) -> dict[str, Any]:
    recordings = {
        name: {method: metrics(found[method]) for method in methods} for name, found in traces.items()
    }
    summary = {
        method: metrics([trace for found in traces.values() for trace in found[method]]) for method in methods
    }
    return {"task": TASK, "model": str(model_path), "recordings": recordings, "summary": summary}


def metrics(traces: Sequence[DriveTrace]) -> dict[str, float]:
    """Of several stretches as one; see `evaluate`. What there is not is left out."""
    segments = pooled([trace.segments for trace in traces])
    error = np.concatenate([trace.position_error for trace in traces])
    nis = np.concatenate([trace.nis for trace in traces])
    looks = sum(trace.looks for trace in traces)
    found = {
        "t_rel_percent": segments.t_rel_percent,
        "r_rel_deg_per_km": segments.r_rel_deg_per_km,
        "position_rmse_m": float(np.sqrt(np.mean(np.sum(error**2, axis=1)))),
        "end_error_m": float(np.mean([np.linalg.norm(trace.position_error[-1]) for trace in traces])),
    }
    for kind in ("position", "velocity"):
        off = np.concatenate([getattr(trace, f"{kind}_error")[trace.settled] for trace in traces])
        bound = np.concatenate([getattr(trace, f"{kind}_covariance")[trace.settled] for trace in traces])
        if len(off):
            found[f"{kind}_coverage_3sigma"] = coverage(off, bound, 3.0)
            found[f"{kind}_nees"] = nees(off, bound)
    found["nis"] = float(nis.mean()) / 2.0 if len(nis) else math.nan
    found["network_share"] = sum(trace.spoken for trace in traces) / looks if looks else math.nan
    return {name: value for name, value in found.items() if math.isfinite(value)}

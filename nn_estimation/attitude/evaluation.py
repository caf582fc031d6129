"""Evaluation: every method on the same trials, the published filters among them, side by side, against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.batch import track
from nn_estimation.attitude.estimator import START_UP
from nn_estimation.attitude.model import METHODS, TASK, Setup, load_setups
from nn_estimation.attitude.peers import PEERS, Peer, carried_forward, installed, vqf
from nn_estimation.attitude.trial import Trial, read_trial
from nn_estimation.evaluation import Evaluation, unused
from nn_estimation.inference import Model
from nn_estimation.metrics import AttitudeErrors, attitude_errors, attitude_metrics

ALIGN = (
    1.0  # [s] from the first scored sample, over which a heading is aligned where the trial names no interval
)
MANY_NAMES = 3  # beyond which a note on all recordings does not name them
NOMINAL, SHORT = 0.954, 0.05  # share within 2 sigma if true; by how much it is off before that is said


@dataclass(frozen=True, slots=True)
class AttitudeTrace:
    """What a method made of the K scored samples of a trial."""

    stamp: np.ndarray  # (K,) [s]
    quaternion: np.ndarray  # (K, 4) x, y, z, w; sensor to world
    truth: np.ndarray  # (K, 4)
    covariance: np.ndarray | None = None  # (K, 3, 3) [rad^2] about the world axes, where the method says one
    heading: bool = True  # whether the method has one
    spoke: np.ndarray | None = (
        None  # (K,) bool, whether the network had a share in the heading, where there is one
    )

    @property
    def errors(self) -> AttitudeErrors:
        """Of the K samples."""
        return attitude_errors(self.quaternion, self.truth)


class Estimate(NamedTuple):
    """Of a method at every sample of a trial."""

    quaternion: np.ndarray  # (N, 4) x, y, z, w; sensor to world, NaN where it has none
    covariance: np.ndarray | None = None  # (N, 3, 3) [rad^2]
    spoke: np.ndarray | None = None  # (N,) bool


def evaluate(
    bags: Sequence[str | Path],
    model_path: str | Path,
    *,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation[AttitudeTrace]:
    """Run the methods of a model and the published filters that are installed over bags.

    Nothing is aligned, but where the truth knows no north or the bag has no magnetometer: there the heading of every
    method is turned by one constant. All methods are scored at the same samples.

    Args:
        bags: with a truth.
        model_path: ONNX file.
        remap: topic in the bag -> name it is given here.
        truth: topic of the true Odometry.
        progress: called with what is being done.

    Returns:
        results of the shape {"task", "model", "recordings": {NAME: {METHOD: {METRIC: value}}}, "summary"}; metrics
        as of `metrics`, of the summary their means over the recordings.

    Raises:
        ModelError: no model, or of another task.
        TrialError: a bag without an IMU or without a truth.
    """
    model = Model.load(model_path)
    setups, peers = load_setups(model), installed()
    traces: dict[str, dict[str, AttitudeTrace]] = {}
    about: dict[str, list[str]] = {}
    for path in bags:
        trial = read_trial(path, remap, truth)
        name = unused(trial.name, traces)
        traces[name] = {}
        estimates = {}
        for method in (*METHODS[:2], *peers, *METHODS[2:]):
            if progress:
                progress(f"running {method} over {name}")
            estimates[method] = estimate(trial, method, setups, peers)
        traces[name] = score(trial, estimates)
        for note in _remarkable(trial):
            about.setdefault(note, []).append(name)
    results = _results(model_path, traces)
    notes = [f"{_which(names, len(traces))}: {note}" for note, names in about.items()]
    if results["summary"]["network"]["network_share"] == 0.0:
        notes.append("network: it never spoke, what is said is the filter's")
    return Evaluation(results, traces, notes + _of_bounds(results["summary"]))


def estimate(trial: Trial, method: str, setups: Mapping[str, Setup], peers: Mapping[str, Peer]) -> Estimate:
    """What a method makes of a trial; ours is NaN while the node would still be starting."""
    if method in peers:
        return Estimate(peers[method].run(trial))
    if method in ("vqf", "vqf_latency"):
        quaternion, bias = vqf(trial)
        latency = setups["network"].constants.latency if method == "vqf_latency" else 0.0
        return Estimate(carried_forward(quaternion, trial.gyro - bias, latency))
    setup = setups[method]
    found = track(setup, trial.stamp, trial.gyro, trial.accel, trial.mag_stamp, trial.mag)
    starting = trial.stamp - trial.stamp[0] < START_UP
    quaternion = np.where(starting[:, None], np.nan, found.quaternion)
    return Estimate(quaternion, found.covariance, None if setup.network is None else found.share > 0.0)


def score(trial: Trial, estimates: Mapping[str, Estimate]) -> dict[str, AttitudeTrace]:
    """What each method is scored on: the scored samples at which all of them have an estimate.

    Raises:
        ValueError: there is none.
    """
    finite = [np.isfinite(each.quaternion).all(axis=1) for each in estimates.values()]
    rows = np.flatnonzero(trial.scored & np.all(finite, axis=0))
    if not len(rows):
        raise ValueError(
            f"{trial.name}: no scored sample has an estimate; it is too short, or its scored intervals lie elsewhere"
        )
    found = {}
    for method, each in estimates.items():
        quaternion = aligned(trial, each.quaternion) if relative(trial) else each.quaternion
        found[method] = AttitudeTrace(
            trial.stamp[rows],
            quaternion[rows],
            trial.truth[rows],
            None if each.covariance is None else each.covariance[rows],
            method not in PEERS or PEERS[method].heading,
            None if each.spoke is None else each.spoke[rows],
        )
    return found


def relative(trial: Trial) -> bool:
    """Whether headings count up to a constant only."""
    return trial.relative_heading or not len(trial.mag)


def aligned(trial: Trial, quaternion: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) turned about the vertical to the mean true heading of the interval at rest."""
    known = np.isfinite(trial.truth).all(axis=1) & np.isfinite(quaternion).all(axis=1)
    begin, end = trial.align or (trial.stamp[trial.scored][0], trial.stamp[trial.scored][0] + ALIGN)
    rows = known & (trial.stamp >= begin) & (trial.stamp <= end)
    if not rows.any():
        raise ValueError(
            f"{trial.name}: no truth from {begin:.1f} to {end:.1f} s, over which its heading is aligned"
        )
    error = (Rotation.from_quat(quaternion[rows]) * Rotation.from_quat(trial.truth[rows]).inv()).as_quat()
    # An error and its negative are one rotation: double angles have one mean.
    twice = 2.0 * np.arctan2(error[:, 2], error[:, 3])
    heading = math.atan2(np.sin(twice).mean(), np.cos(twice).mean())
    turned = np.full_like(quaternion, np.nan)
    finite = np.isfinite(quaternion).all(axis=1)
    turned[finite] = (Rotation.from_euler("z", -heading) * Rotation.from_quat(quaternion[finite])).as_quat()
    return turned


def metrics(trace: AttitudeTrace) -> dict[str, float]:
    """Of a method on a trial: `attitude_metrics`, of one without a heading the inclination alone, and network_share.

    That is the share of samples at which the network had a say.
    """
    found = attitude_metrics(trace.quaternion, trace.truth, trace.covariance)
    if trace.spoke is not None:
        found["network_share"] = float(trace.spoke.mean())
    return found if trace.heading else {"inclination_deg": found["inclination_deg"]}


def _results(model_path: str | Path, traces: Mapping[str, Mapping[str, AttitudeTrace]]) -> dict[str, Any]:
    recordings = {
        name: {method: metrics(trace) for method, trace in found.items()} for name, found in traces.items()
    }
    summary: dict[str, dict[str, float]] = {}
    for method in next(iter(recordings.values())):
        rows = [found[method] for found in recordings.values()]
        summary[method] = {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
    return {"task": TASK, "model": str(model_path), "recordings": recordings, "summary": summary}


def _remarkable(trial: Trial) -> list[str]:
    """What a reader of the numbers of a trial has to know."""
    if not relative(trial):
        return []
    why = "its truth knows no north" if trial.relative_heading else "it has no magnetometer"
    return [f"{why}: the heading of each method is turned by one constant"]


def _which(names: Sequence[str], all_of_them: int) -> str:
    return f"all {all_of_them}" if len(names) == all_of_them > MANY_NAMES else ", ".join(names)


def _of_bounds(summary: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is wrong with the predicted uncertainties."""
    found = []
    for method, row in summary.items():
        for kind in ("tilt", "heading"):
            share = row.get(f"{kind}_coverage_2sigma", math.nan)
            if share < NOMINAL - SHORT:
                found.append(
                    f"{method}: {kind} bounds too small, within 2 sigma {100 * share:.0f} % (95 if true)"
                )
    return found

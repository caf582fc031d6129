"""Tuning: the constants with which the filter drifts least on drives with truth, found by CMA-ES."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_estimation.dead_reckoning.calibration import CalibrationError
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.estimator import track
from nn_estimation.metrics import SEGMENTS, SegmentErrors, segment_errors

FRAME = 0.1  # [s] between two poses that are scored, as in the KITTI benchmark
LENGTHS = tuple(length for length in SEGMENTS if length >= 200)  # [m] shorter ones are noise of the truth
MIN_SEGMENTS = 50  # of a recording that counts as a group of its own
MIN_STRETCH = 5.0  # [s]

# Positive constants are searched by their logarithm, the others in units of how well a drive tells them.
LOGARITHMIC = (
    "gyro", "accel", "gyro_walk", "accel_walk", "mount_walk", "lever_walk", "tilt_0", "velocity_0", "gyro_bias_0",
    "accel_bias_0", "mount_0", "lever_0", "lateral", "vertical",
)  # fmt: skip
LINEAR = {
    "slip": 0.02, "slip_speed": 0.001, "squat": 0.003, "lift": 0.01, "mount_pitch": 0.003, "mount_yaw": 0.002,
    "lever_x": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    constants: Constants
    objective: float  # [%]
    before: float  # [%] of the constants it started from
    evaluations: int


def drift(
    drive: Drive, constants: Constants, lengths: tuple[int, ...] = SEGMENTS, network: Any = None
) -> SegmentErrors:
    """Segment errors of the filter from the true start of a drive without gaps, at 10 Hz."""
    start = drive.start(constants)
    found = track(constants, drive.stamp, drive.gyro, drive.accel, start, drive.latitude, network=network)
    rows = frames(drive)
    return segment_errors(
        drive.R[rows], drive.position[rows], found.R[rows], found.position[rows], lengths=lengths
    )


def frames(drive: Drive) -> np.ndarray:
    """Samples of a drive that are scored, at 10 Hz."""
    period = float(np.median(np.diff(drive.stamp)))
    return np.flatnonzero(drive.scored)[:: max(1, round(FRAME / period))]


def pooled(errors: Sequence[SegmentErrors]) -> SegmentErrors:
    """Errors of several drives as one."""
    return SegmentErrors(
        *(
            np.concatenate([getattr(e, name) for e in errors])
            for name in ("length", "translation", "rotation", "start")
        )
    )


class Objective:
    """Half the pooled t_rel [%], half the mean of that of each group: a recording, or all short ones.

    Args:
        recordings: the stretches without gaps of each.
        threads: over stretches.

    Raises:
        CalibrationError: no segment of 200 m in any.
    """

    def __init__(self, recordings: Sequence[Sequence[Drive]], threads: int = 2) -> None:
        stretches = [
            (number, drive)
            for number, drives in enumerate(recordings)
            for drive in drives
            if drive.stamp[-1] - drive.stamp[0] > MIN_STRETCH
        ]
        self._pool = ThreadPoolExecutor(threads)
        self._stretches = [drive for _, drive in stretches]
        number = np.array([n for n, _ in stretches])
        counts = np.array([len(e.length) for e in self.errors(Constants())])
        of_recording = np.bincount(number, counts, len(recordings)) if len(number) else np.zeros(0)
        if not of_recording.sum():
            raise CalibrationError(f"no recording has {LENGTHS[0]} m of driving with truth")
        self._group = np.where(of_recording[number] >= MIN_SEGMENTS, number, -1)

    def errors(self, constants: Constants) -> list[SegmentErrors]:
        """Of each stretch."""
        return list(self._pool.map(lambda drive: drift(drive, constants, LENGTHS), self._stretches))

    def __call__(self, constants: Constants) -> float:
        """[%]; infinite where the filter diverged."""
        errors = self.errors(constants)
        groups = [
            pooled([e for e, g in zip(errors, self._group, strict=True) if g == group])
            for group in np.unique(self._group)
        ]
        each = [group.t_rel_percent for group in groups if len(group.length)]
        value = 0.5 * pooled(errors).t_rel_percent + 0.5 * float(np.mean(each))
        return value if math.isfinite(value) else math.inf


def tune(
    objective: Objective,
    start: Constants,
    *,
    evaluations: int = 600,
    seed: int = 1,
    caution: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Search around `start`.

    Args:
        objective: to be small.
        start: calibrated constants.
        evaluations: of the objective.
        seed: of the search.
        caution: [%] that a unit of squared distance from `start` must gain.
        say: is told how it goes, one line.
    """
    import cma

    before = objective(start)
    search = cma.CMAEvolutionStrategy(
        np.zeros(len(LOGARITHMIC) + len(LINEAR)), 1.0, {"seed": seed, "verbose": -9, "maxfevals": evaluations}
    )
    best, best_value, used = np.zeros(len(LOGARITHMIC) + len(LINEAR)), before, 1
    while not search.stop():
        candidates = search.ask()
        values = [objective(at(start, x)) + caution * float(x @ x) for x in candidates]
        used += len(values)
        search.tell(candidates, values)
        if min(values) < best_value:
            best_value, best = min(values), candidates[int(np.argmin(values))]
        say(f"{used} filters tried: {before:.3f} -> {best_value:.3f} %")
    mean = search.result.xfavorite
    if objective(at(start, mean)) + caution * float(mean @ mean) < best_value:
        best = mean
    found = at(start, best)
    return Tuned(found, objective(found), before, used)


def at(start: Constants, x: np.ndarray) -> Constants:
    """Constants at a point of the search; zeros are `start`."""
    changed = {
        name: getattr(start, name) * math.exp(min(max(v, -12.0), 12.0))
        for name, v in zip(LOGARITHMIC, x[: len(LOGARITHMIC)].tolist(), strict=True)
    }
    for (name, unit), v in zip(LINEAR.items(), x[len(LOGARITHMIC) :].tolist(), strict=True):
        changed[name] = getattr(start, name) + unit * v
    return start._replace(**changed)

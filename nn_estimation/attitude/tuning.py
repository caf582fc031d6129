"""Tuning: latency and constants with which the inclination is best on trials with truth, and true covariances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from nn_estimation.attitude import sweeps
from nn_estimation.attitude.batch import Prepared, filtered, prepare
from nn_estimation.attitude.constants import Constants, packed
from nn_estimation.attitude.trial import Trial, TrialError
from nn_estimation.metrics import attitude_errors

STRIDE = 4  # of the scored samples, of which one is looked at
LATENCIES = -0.02, 0.04  # [s] between which the latency is searched
ENOUGH = 0.9  # of VQF's inclination error, from which on a trial is a concern of the search
CONCERN = 4.0  # weight of that
CAUTION = 0.02  # that the mean squared logarithm of a change must gain
# Positive constants, searched by their logarithm.
SEARCHED = (
    "gyro", "gyro_turn", "gyro_walk", "matrix_walk", "accel", "accel_walk", "tilt_0", "gyro_bias_0", "matrix_0",
    "accel_bias_0", "velocity", "position", "adapt", "rest_velocity", "rest_gyro",
)  # fmt: skip
PEER_TILTS = 0.004, 0.006, 0.008, 0.011, 0.016  # [rad]
DOUBTS = 0.0, 3.0, 10.0, 30.0
SLACK = 0.03  # logarithm of the inclination error that more caution may cost


@dataclass(frozen=True)
class Seen:
    """A trial without gaps, with what does not depend on the constants."""

    trial: Trial
    prepared: Prepared
    rows: np.ndarray  # (K,) scored samples that are looked at

    @property
    def truth(self) -> np.ndarray:
        """(K, 4) x, y, z, w."""
        return self.trial.truth[self.rows]


def see(trial: Trial) -> Seen:
    """A trial for the search.

    Raises:
        TrialError: too short, or nothing in it is scored.
    """
    rows = np.flatnonzero(trial.scored)[::STRIDE]
    if not len(rows):
        raise TrialError(f"{trial.name}: no sample has a truth that counts")
    t = trial
    try:
        return Seen(t, prepare(t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag), rows)
    except ValueError as error:
        raise TrialError(f"{trial.name}: {error}") from error


@dataclass(frozen=True)
class Inclined:
    """What the filter makes of a trial at its K rows."""

    quaternion: np.ndarray  # (K, 4) x, y, z, w with VQF's heading
    tilt: np.ndarray  # (K, 2) [rad] error about the world axes
    trust: np.ndarray  # (K,)
    variance: np.ndarray  # (K,) [rad^2] of the filter


def incline(seen: Seen, constants: Constants, trust: float | None = None) -> Inclined:
    """The filter over a trial; `trust` instead of what it thinks of itself."""
    t, rows = seen.trial, seen.rows
    R, x, shares, _ = filtered(seen.prepared, t.gyro, t.accel, constants)
    trusted = shares[rows, 0] if trust is None else np.full(len(rows), trust)
    zeros, w, q = np.zeros(len(rows)), np.empty((len(rows), 3)), np.empty((len(rows), 4))
    sweeps.compose_all(
        *(
            seen.prepared.peer[rows],
            R[rows],
            x[rows],
            zeros,
            zeros,
            trusted,
            t.gyro[rows],
            packed(constants),
            w,
            q,
        )
    )
    return Inclined(q, attitude_errors(q, seen.truth).tilt, trusted, shares[rows, 1])


def rms(tilt: np.ndarray) -> float:
    """Inclination error [rad] of components (K, 2) [rad]."""
    return float(np.sqrt(np.mean(np.sum(tilt**2, axis=1))))


def find_latency(trials: Sequence[Seen]) -> float:
    """[s] by which VQF's output must be carried forward to have the least error of inclination."""

    def error(latency: float) -> float:
        constants = Constants(latency=latency)
        return float(np.mean([rms(incline(seen, constants, trust=0.0).tilt) for seen in trials]))

    return float(minimize_scalar(error, bounds=LATENCIES, method="bounded", options={"xatol": 5e-5}).x)


def objective(errors: Sequence[float], peers: Sequence[float]) -> float:
    """Mean logarithm of the error by VQF's, and more where a trial gains little or nothing."""
    ratio = np.log(np.array(errors) / np.array(peers))
    return float(ratio.mean() + CONCERN * np.maximum(ratio - math.log(ENOUGH), 0.0).mean())


def tune(
    trials: Sequence[Seen],
    start: Constants,
    evaluations: int,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Constants:
    """Search the constants of the inclination filter around `start` by CMA-ES.

    Args:
        trials: with truth.
        start: has the latency.
        evaluations: of the objective; 0 leaves `start`.
        seed: of the search.
        say: is told the result.
    """
    if not evaluations:
        return start
    import cma

    peers = [rms(incline(seen, start._replace(latency=0.0), trust=0.0).tilt) for seen in trials]

    def value(x: np.ndarray) -> float:
        found = objective([rms(incline(seen, at(start, x), trust=1.0).tilt) for seen in trials], peers)
        return found + CAUTION * float(np.mean(x**2)) if math.isfinite(found) else math.inf

    best, best_value = np.zeros(len(SEARCHED)), value(np.zeros(len(SEARCHED)))
    before = best_value
    options = {"seed": seed, "verbose": -9, "maxfevals": evaluations}
    search = cma.CMAEvolutionStrategy(best, 0.5, options)
    while not search.stop():
        candidates = search.ask()
        values = [value(x) for x in candidates]
        search.tell(candidates, values)
        if min(values) < best_value:
            best_value, best = min(values), candidates[int(np.argmin(values))]
    say(f"constants tuned: objective {before:.3f} -> {best_value:.3f}")
    return at(start, best)


def at(start: Constants, x: np.ndarray) -> Constants:
    """Constants at a point of the search; zeros are `start`."""
    steps = np.clip(x, -8.0, 8.0)
    return start._replace(
        **{n: getattr(start, n) * math.exp(s) for n, s in zip(SEARCHED, steps.tolist(), strict=True)}
    )


def tune_trust(trials: Sequence[Seen], start: Constants) -> Constants:
    """How much the inclination filter is believed beside VQF: the most cautious that costs less than `SLACK`.

    A filter that is believed more than it must be fails where its assumptions do.
    """
    peers = [rms(incline(seen, start._replace(latency=0.0), trust=0.0).tilt) for seen in trials]
    found = []
    for peer_tilt in PEER_TILTS:
        for doubt in DOUBTS:
            c = start._replace(peer_tilt=peer_tilt, doubt=doubt)
            inclined = [incline(seen, c) for seen in trials]
            cost = objective([rms(i.tilt) for i in inclined], peers)
            found.append((cost, float(np.mean([i.trust.mean() for i in inclined])), c))
    least = min(cost for cost, _, _ in found)
    return min((f for f in found if f[0] <= least + SLACK), key=lambda f: f[1])[2]


def scale_tilt(trials: Sequence[Seen], start: Constants) -> Constants:
    """Reported inclination variances of which 68.3 and 95.4 % of the errors are within one and two deviations."""
    inclined = [incline(seen, start) for seen in trials]
    mixed = [i.trust**2 * i.variance + (1.0 - i.trust) ** 2 * start.peer_tilt**2 for i in inclined]
    scale, floor = fit_scale([i.tilt for i in inclined], mixed)
    return start._replace(tilt_scale=scale, tilt_floor=floor)


def fit_scale(errors: Sequence[np.ndarray], variances: Sequence[np.ndarray]) -> tuple[float, float]:
    """Scale and floor of a standard deviation with which coverages are nominal, every trial weighing the same.

    Args:
        errors: (K, D) or (K,) of each trial.
        variances: (K,) of each trial.

    Returns:
        s and f of s^2 v + f^2.
    """
    best = (math.inf, 1.0, 0.0)
    size = float(np.sqrt(np.mean([np.mean(e**2) for e in errors])))
    for scale in np.geomspace(0.1, 100.0, 61):
        for floor in size * np.linspace(0.0, 1.2, 13):
            off = 0.0
            for sigmas, nominal in ((1.0, 0.683), (2.0, 0.954)):
                inside = [
                    np.mean(
                        np.abs(e.reshape(len(v), -1)) <= sigmas * np.sqrt(scale**2 * v + floor**2)[:, None]
                    )
                    for e, v in zip(errors, variances, strict=True)
                ]
                off += abs(float(np.mean(inside)) - nominal)
            best = min(best, (off, float(scale), float(floor)))
    return best[1], best[2]

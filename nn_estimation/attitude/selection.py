"""How much of the learned heading goes into the output: chosen on trials that the network has not seen, by the worst.

A heading that is held longer by the gyro forgives more of a field, and less of a gyro that drifts after all: so every
trial counts once more with a drift in its motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numba import njit

from nn_estimation.attitude.batch import filtered
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.features import SETTLED
from nn_estimation.attitude.heading import azimuth, twist, vqf_angle
from nn_estimation.attitude.state import State
from nn_estimation.attitude.tuning import Seen, fit_scale, incline, rms
from nn_estimation.filters import matrix

DRIFT = math.radians(0.05)  # [rad/s] of heading in motion, that every trial must also bear
WALKS = tuple(math.radians(w) for w in (0.05, 0.1, 0.2, 0.3))  # [rad/sqrt(s)]
CORRELATIONS = 0.45, 0.9, 1.8, 3.6, 7.2
BLENDS = 0.25, 0.35, 0.5
WORST, DRIFTING = 3.0, 0.5  # weight of the worst trial, and of the worst with a drift


@dataclass(frozen=True)
class Looks:
    """What the network sees of a trial, L times, and what the fields say of the heading."""

    features: np.ndarray  # (L, 14)
    row: np.ndarray  # (L,) sample
    azimuth: np.ndarray  # (L,) [rad] angle of the filter's world by the field
    peer: np.ndarray  # (L,) [rad] by VQF
    true: np.ndarray  # (L,) [rad] by the truth, NaN where there is none
    moving: np.ndarray  # (L,) bool
    dt: np.ndarray  # (L,) [s] since the look before
    settled: np.ndarray  # (L,) bool

    @property
    def error(self) -> np.ndarray:
        """(L,) [rad] of the fields, NaN where the truth is unknown."""
        return _wrap(self.azimuth - self.true)

    @property
    def peer_error(self) -> np.ndarray:
        """(L,) [rad] of VQF's heading, NaN where the truth is unknown."""
        return _wrap(self.peer - self.true)


def looks(seen: Seen, constants: Constants) -> Looks:
    """All looks of a trial with a magnetometer."""
    t, peer = seen.trial, seen.prepared.peer
    rows: list[tuple[int, float, float, float]] = []
    found = []
    true = np.empty((3, 3))

    def look(s: State, end: int) -> None:
        n = end - 1
        q = t.truth[n]
        matrix(np.roll(q, 1), true)
        known = twist(true, s.R) if math.isfinite(q[0]) else math.nan
        rows.append((n, azimuth(s.R, s.mean[3:]), vqf_angle(peer[n], s.R), known))
        found.append(s.found.copy())
        s.clock[1] = 0.0

    filtered(seen.prepared, t.gyro, t.accel, constants, look)
    numbers, by_field, by_peer, by_truth = np.array(rows).T
    row = numbers.astype(np.int64)
    dt = np.diff(t.stamp[row], prepend=t.stamp[0])
    moving = ~seen.prepared.rest[row]
    return Looks(np.array(found), row, by_field, by_peer, by_truth, moving, dt, np.cumsum(dt) >= SETTLED)


@njit(cache=True)
def _follow(azimuth, usable, variance, walk, dt, first, angle, spread):  # type: ignore[no-untyped-def]
    """The heading of the filter's world by fields: what `heading.Heading` and the network's graph do, in a plane."""
    a, p = azimuth[0], first
    for n in range(len(azimuth)):
        p += walk * walk * dt[n]
        if usable[n]:
            w = 1.0 / variance[n]
            sine = math.sin(a) / p + math.sin(azimuth[n]) * w
            cosine = math.cos(a) / p + math.cos(azimuth[n]) * w
            a, p = math.atan2(sine, cosine), 1.0 / math.hypot(sine, cosine)
        angle[n], spread[n] = a, p


@dataclass(frozen=True)
class Chosen:
    """Constants of the heading and what they are worth on trials left out."""

    constants: Constants
    heading_errors: tuple[float, ...]  # [rad] root mean square of each trial
    heading_ratio: float  # mean of them by VQF's
    worst_ratio: float  # of the total error


def choose(
    trials: Sequence[Seen], seen: Sequence[Looks], scales: Sequence[np.ndarray], start: Constants
) -> Chosen:
    """Correlation, walk and blend by the mean and the worst trial; bounds of the heading that are true.

    Args:
        trials: all of them.
        seen: looks of each.
        scales: (L,) [rad] Laplace scales of each by a network that was not trained on it.
        start: constants of the filter.
    """
    inclined = [rms(incline(s, start).tilt) for s in trials]
    peer_inclined = [rms(incline(s, start._replace(latency=0.0), 0.0).tilt) for s in trials]
    rows = [_scored(s, k) for s, k in zip(trials, seen, strict=True)]
    peers = [_rms(k.peer_error[r]) for k, r in zip(seen, rows, strict=True)]
    best: tuple[float, Constants, list[float], float] | None = None
    for correlation, walk, blend in product(CORRELATIONS, WALKS, BLENDS):
        c = start._replace(correlation=correlation, heading_walk=walk, blend=blend)
        ratios, drifting, headings = [], [], []
        for n, (k, b, r) in enumerate(zip(seen, scales, rows, strict=True)):
            peer = math.hypot(peers[n], peer_inclined[n])
            plain = _rms(_blended(k, b, c)[0][r])
            worst = max(_rms(_blended(k, b, c, sign * DRIFT)[0][r]) for sign in (-1.0, 1.0))
            headings.append(plain)
            ratios.append(math.hypot(plain, inclined[n]) / peer)
            drifting.append(math.hypot(worst, inclined[n]) / peer)
        cost = float(np.mean(np.log(ratios)))
        cost += WORST * max(math.log(max(ratios)), 0.0) + DRIFTING * max(math.log(max(drifting)), 0.0)
        if best is None or cost < best[0]:
            best = cost, c, headings, max(ratios)
    assert best is not None
    _, c, headings, worst_ratio = best
    found = [_blended(k, b, c) for k, b in zip(seen, scales, strict=True)]
    of_peer = [k.peer_error[r] for k, r in zip(seen, rows, strict=True)]
    ones = [np.zeros(len(e)) for e in of_peer]
    _, alone = fit_scale(of_peer, ones)
    errors = [e[r] for (e, _), r in zip(found, rows, strict=True)]
    scale, floor = fit_scale(errors, [p[r] for (_, p), r in zip(found, rows, strict=True)])
    c = c._replace(heading=alone, heading_scale=scale, heading_floor=floor)
    heading_ratio = float(np.mean(np.array(headings) / np.array(peers)))
    return Chosen(c, tuple(headings), heading_ratio, worst_ratio)


def _blended(k: Looks, scale: np.ndarray, c: Constants, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Heading error (L,) [rad] of the output and variance (L,) [rad^2] of the learned heading."""
    angle, spread = np.empty(len(k.row)), np.empty(len(k.row))
    # A gyro that drifts turns the world of the filter away from under the field and the truth.
    away = np.cumsum(drift * k.dt * k.moving)
    variance = c.correlation * 2.0 * scale**2
    _follow(k.azimuth + away, k.settled, variance, c.heading_walk, k.dt, c.heading_0**2, angle, spread)
    return _wrap(k.peer + c.blend * _wrap(angle - away - k.peer) - k.true), spread


def _scored(seen: Seen, k: Looks) -> np.ndarray:
    """Indices of the looks at samples that are scored."""
    return np.flatnonzero(seen.trial.scored[k.row])


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


__all__ = ["Chosen", "Looks", "choose", "looks"]

"""Metrics of ranges, trajectories, orientations and of how true the predicted uncertainties are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.traces import PoseTrace

BLOCK = 5.0  # [s] errors closer in time than this are not independent
RESAMPLES = 1000


def range_metrics(error: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """Of N range errors and their predicted standard deviations, both (N,) [m].

    Returns:
        rmse_m, mae_m, p95_m (95 % quantile of the magnitude), bias_m (mean), std_m, and coverage_1sigma,
        coverage_2sigma: the share within one and two predicted standard deviations (Gaussian: .683, .954).
    """
    magnitude = np.abs(error)
    return {
        "rmse_m": float(np.sqrt(np.mean(error**2))),
        "mae_m": float(magnitude.mean()),
        "p95_m": float(np.quantile(magnitude, 0.95)),
        "bias_m": float(error.mean()),
        "std_m": float(error.std()),
        "coverage_1sigma": float(np.mean(magnitude <= sigma)),
        "coverage_2sigma": float(np.mean(magnitude <= 2.0 * sigma)),
    }


def pose_metrics(trace: PoseTrace) -> dict[str, float]:
    """Of a trajectory, without alignment.

    Returns:
        position_rmse_m and position_p95_m of the Euclidean error (in the plane for planar bodies),
        yaw_rmse_deg, and position_coverage_1sigma, _2sigma: the share of single coordinates within one and two
        of their predicted standard deviations.
    """
    error = trace.position_error
    distance = np.linalg.norm(error, axis=1)
    sigma = np.sqrt(np.diagonal(trace.covariance, axis1=1, axis2=2))[:, : trace.dimensions]
    return {
        "position_rmse_m": float(np.sqrt(np.mean(distance**2))),
        "position_p95_m": float(np.quantile(distance, 0.95)),
        "yaw_rmse_deg": float(np.degrees(np.sqrt(np.mean(trace.yaw_error**2)))),
        "position_coverage_1sigma": float(np.mean(np.abs(error) <= sigma)),
        "position_coverage_2sigma": float(np.mean(np.abs(error) <= 2.0 * sigma)),
    }


@dataclass(frozen=True)
class Reduction:
    """By how much an RMSE is below that of a baseline [%], with its 95 % interval; NaN where there is none."""

    percent: float
    low: float
    high: float

    @property
    def size(self) -> str:
        """In words, such as "12 % below"."""
        return in_words(self.percent)

    @property
    def told_apart(self) -> bool:
        """Whether all of the interval is on one side."""
        return self.low > 0.0 or self.high < 0.0

    @property
    def interval(self) -> str:
        """In words and parentheses, along the direction of `size`."""
        if math.isnan(self.low):
            return "(too short for an interval)"
        sign = 1.0 if self.percent >= 0.0 else -1.0
        low, high = sorted((round(sign * self.low), round(sign * self.high)))
        return f"(95 % interval {low} to {high} %{'' if self.told_apart else ', not told apart'})"


def in_words(percent: float) -> str:
    """Such as "12 % below" of 12 and "3 % above" of -3."""
    return f"{abs(percent):.0f} % {'below' if percent >= 0 else 'above'}"


def reduction(baseline: np.ndarray, error: np.ndarray, stamp: np.ndarray, seed: int = 0) -> Reduction:
    """RMSE of `error` against `baseline`, both (N,) on the same samples.

    The interval is a bootstrap over blocks of `BLOCK` seconds, as neighbouring errors are alike; one block alone
    gives none.

    Args:
        baseline: (N,) errors.
        error: (N,) errors.
        stamp: (N,) [s].
        seed: of the resampling.
    """
    return _reduction(baseline**2, error**2, (stamp - stamp.min()) // BLOCK, seed, 0.5)


def mean_reduction(baseline: np.ndarray, error: np.ndarray, block: np.ndarray, seed: int = 0) -> Reduction:
    """Mean of `error` against that of `baseline`, both (N,) >= 0 on the same samples; bootstrap as in `reduction`.

    Args:
        baseline: (N,) errors.
        error: (N,) errors.
        block: (N,) which block a sample is of; samples of two blocks are independent.
        seed: of the resampling.
    """
    return _reduction(baseline, error, block, seed, 1.0)


def _reduction(
    baseline: np.ndarray, error: np.ndarray, block: np.ndarray, seed: int, power: float
) -> Reduction:
    """Of the power of the two sums."""
    block = np.unique(block, return_inverse=True)[1]
    of_baseline, of_error = np.bincount(block, baseline), np.bincount(block, error)
    count = len(of_baseline)

    def percent(rows: np.ndarray) -> np.ndarray:
        return 100.0 * (1.0 - (of_error[rows].sum(-1) / of_baseline[rows].sum(-1)) ** power)

    found = float(percent(np.arange(count)))
    if count < 2:
        return Reduction(found, math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    low, high = np.quantile(percent(draws), (0.025, 0.975))
    return Reduction(found, float(low), float(high))


def recording_reduction(
    baseline: Sequence[np.ndarray],
    error: Sequence[np.ndarray],
    stamp: Sequence[np.ndarray],
    block: float = BLOCK,
    seed: int = 0,
) -> Reduction:
    """Mean over recordings of their RMSE, against that of `baseline`.

    The interval is a bootstrap over recordings, as the next one is another recording, and over blocks of time within
    each; a single recording of a single block gives none.

    Args:
        baseline: (N,) errors of each recording.
        error: (N,) errors of each recording, of the same samples.
        stamp: (N,) [s] of each recording.
        block: [s] errors closer in time than this are not independent.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    count = len(stamp)
    found, drawn = np.empty((count, 2)), np.empty((count, RESAMPLES, count, 2))
    blocks = 0
    for r, (of_baseline, of_error, t) in enumerate(zip(baseline, error, stamp, strict=True)):
        at = np.unique((t - t.min()) // block, return_inverse=True)[1]
        sums = np.stack([np.bincount(at, e**2) for e in (of_baseline, of_error)], axis=-1)
        sizes = np.bincount(at)
        blocks += len(sizes)
        found[r] = np.sqrt(sums.sum(0) / sizes.sum())
        rows = rng.integers(len(sizes), size=(RESAMPLES, count, len(sizes)))
        drawn[r] = np.sqrt(sums[rows].sum(2) / sizes[rows].sum(2)[..., None])
    percent = float(100.0 * (1.0 - found[:, 1].sum() / found[:, 0].sum()))
    if blocks < 2:
        return Reduction(percent, math.nan, math.nan)
    chosen = rng.integers(count, size=(RESAMPLES, count))
    draw, place = np.arange(RESAMPLES)[:, None], np.arange(count)
    sums = drawn[chosen, draw, place].sum(1)
    low, high = np.quantile(100.0 * (1.0 - sums[:, 1] / sums[:, 0]), (0.025, 0.975))
    return Reduction(percent, float(low), float(high))


def coverage(error: np.ndarray, covariance: np.ndarray, sigmas: float) -> float:
    """Share of single coordinates within so many predicted standard deviations.

    Args:
        error: (N, D).
        covariance: (N, D, D).
        sigmas: 1, 2 or 3; Gaussian shares are .683, .954, .997.
    """
    bound = sigmas * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return float(np.mean(np.abs(error) <= bound))


def nees(error: np.ndarray, covariance: np.ndarray) -> float:
    """Mean of the normalised estimation error squared e' P^-1 e / D; 1 if the covariance is true.

    Args:
        error: (N, D).
        covariance: (N, D, D), positive definite.

    Raises:
        numpy.linalg.LinAlgError: of a singular covariance.
    """
    whitened = np.linalg.solve(covariance, error[..., None])[..., 0]
    return float(np.mean(np.sum(error * whitened, axis=1))) / error.shape[1]


@dataclass(frozen=True)
class AttitudeErrors:
    """Of N orientations, parted as the BROAD benchmark does: first the heading is off, then the world leans."""

    total: np.ndarray  # (N,) [rad] angle of the whole rotation, 0 to pi
    heading: np.ndarray  # (N,) [rad] about the vertical, -pi to pi
    tilt: np.ndarray  # (N, 2) [rad] rotation vector about the world's horizontal axes

    @property
    def inclination(self) -> np.ndarray:
        """(N,) [rad] angle of the tilt, 0 to pi."""
        return np.linalg.norm(self.tilt, axis=1)


def attitude_errors(estimate: np.ndarray, truth: np.ndarray) -> AttitudeErrors:
    """Rotations from the true to the estimated orientation, in the world; Laidig et al. 2021, eq. 5 to 9.

    Args:
        estimate: (N, 4) unit quaternions x, y, z, w, sensor to world with z up.
        truth: (N, 4) the same.
    """
    error = (Rotation.from_quat(estimate) * Rotation.from_quat(truth).inv()).as_quat(canonical=True)
    x, y, z, w = error.T
    level, upright = np.hypot(x, y), np.hypot(z, w)
    angle = 2.0 * np.arctan2(level, upright)
    # Rotation = tilt * heading: the horizontal part of q (0, 0, -z, w), which has no vertical one.
    axis = np.column_stack([x * w - y * z, y * w + x * z])
    scale = np.divide(angle, level * upright, out=np.zeros_like(angle), where=level * upright > 0.0)
    tilt = axis * scale[:, None]
    over = upright == 0.0  # on its head: no heading, and the axis is that of the rotation
    tilt[over] = np.pi * np.column_stack([x, y])[over]
    heading = np.where(over, 0.0, 2.0 * np.arctan2(z, w))
    return AttitudeErrors(2.0 * np.arctan2(np.hypot(level, z), w), heading, tilt)


def attitude_metrics(
    estimate: np.ndarray, truth: np.ndarray, covariance: np.ndarray | None = None
) -> dict[str, float]:
    """Of N orientations, without alignment.

    Args:
        estimate: (N, 4) x, y, z, w, sensor to world with z up.
        truth: (N, 4) the same.
        covariance: (N, 3, 3) [rad^2] of the rotation error about the world axes, where one is predicted.

    Returns:
        total_deg, heading_deg and inclination_deg (root mean square), total_p95_deg, total_max_deg, and, with a
        covariance, tilt_coverage_1sigma, _2sigma: the share of single horizontal components within one and two of
        their predicted standard deviations, and heading_coverage_1sigma, _2sigma.
    """
    errors = attitude_errors(estimate, truth)
    found = {
        f"{name}_deg": float(np.degrees(np.sqrt(np.mean(getattr(errors, name) ** 2))))
        for name in ("total", "heading", "inclination")
    }
    found["total_p95_deg"] = float(np.degrees(np.quantile(errors.total, 0.95)))
    found["total_max_deg"] = float(np.degrees(errors.total.max()))
    if covariance is not None:
        for sigmas in (1, 2):
            found[f"tilt_coverage_{sigmas}sigma"] = coverage(errors.tilt, covariance[:, :2, :2], sigmas)
            found[f"heading_coverage_{sigmas}sigma"] = coverage(
                errors.heading[:, None], covariance[:, 2:, 2:], sigmas
            )
    return found


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive has the larger score, ties counted half.

    Args:
        score: (N,).
        positive: (N,) bool, both kinds present.
    """
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2.0)[inverse]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    return float((rank[positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


SEGMENTS = tuple(range(100, 801, 100))  # [m] of the KITTI odometry benchmark
SEGMENT_STEP = 10  # frames between two starts


@dataclass(frozen=True)
class SegmentErrors:
    """Relative errors of K segments."""

    length: np.ndarray  # (K,) [m]
    translation: np.ndarray  # (K,) share of the length
    rotation: np.ndarray  # (K,) [rad/m]
    start: np.ndarray  # (K,) [m] driven before it

    @property
    def t_rel_percent(self) -> float:
        """Mean translation error [%]; NaN without a segment."""
        return float(100.0 * self.translation.mean()) if len(self.length) else math.nan

    @property
    def r_rel_deg_per_km(self) -> float:
        """Mean rotation error [deg/km]; NaN without a segment."""
        return float(np.degrees(1000.0 * self.rotation.mean())) if len(self.length) else math.nan


def segment_errors(
    true_R: np.ndarray,
    true_position: np.ndarray,
    R: np.ndarray,
    position: np.ndarray,
    lengths: tuple[int, ...] = SEGMENTS,
) -> SegmentErrors:
    """The KITTI odometry benchmark's errors of relative displacement, as its development kit computes them.

    Args:
        true_R: (N, 3, 3) at 10 Hz.
        true_position: (N, 3) [m].
        R: (N, 3, 3) estimated at the same stamps.
        position: (N, 3) [m].
        lengths: [m] along the true path.
    """
    driven = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(true_position, axis=0), axis=1))]
    start = np.arange(0, len(driven), SEGMENT_STEP)
    first, last, length = [], [], []
    for metres in lengths:
        # The first frame beyond the length, as in the kit.
        end = np.searchsorted(driven, driven[start] + metres, side="right")
        inside = end < len(driven)
        first.append(start[inside])
        last.append(end[inside])
        length.append(np.full(int(inside.sum()), float(metres)))
    i, j, L = np.concatenate(first), np.concatenate(last), np.concatenate(length)

    def moved(rotation: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        back = np.swapaxes(rotation[i], 1, 2)
        return back @ rotation[j], np.einsum("nij,nj->ni", back, at[j] - at[i])

    (true_turn, true_shift), (turn, shift) = moved(true_R, true_position), moved(R, position)
    off = np.linalg.norm(shift - true_shift, axis=1)
    trace = np.einsum("nij,nij->n", turn, true_turn)
    angle = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
    return SegmentErrors(L, off / L, angle / L, driven[i])

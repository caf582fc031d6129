"""Calibrations of a link without a network: raw, constant and affine tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn_estimation.uwb.bias import DISTANCE_SCALE, REFERENCE_DISTANCE

SLOPE_SPREAD = 0.05  # [m] per DISTANCE_SCALE, how far a link's slope is believed to be from the common one
CORRELATED = 50.0  # neighbouring samples that share their noise: they count once

Table = dict[str, list[float]]


def fit_table(method: str, error: np.ndarray, distance: np.ndarray, link: np.ndarray, links: int) -> Table:
    """bias = offset + slope (d - 4) / 2 of each link by least squares, slopes drawn to their common value.

    Args:
        method: raw (both zero), constant (slope zero) or affine.
        error: (N,) [m] measured - true.
        distance: (N,) [m], true distance or difference.
        link: (N,) int64 below `links`.
        links: number of rows; one more is appended, for links never seen.

    Returns:
        `offset`, `slope` [m] and `variance` [m^2] by row.
    """
    x = (distance - REFERENCE_DISTANCE) / DISTANCE_SCALE
    count = np.bincount(link, minlength=links).astype(np.float64)
    offset, slope = np.zeros(links), np.zeros(links)
    if method != "raw":
        seen: np.ndarray = np.maximum(count, 1.0)
        mean_x = np.bincount(link, x, links) / seen
        mean_e = np.bincount(link, error, links) / seen
        if method == "affine":
            dx, de = x - mean_x[link], error - mean_e[link]
            sxx, sxy = np.bincount(link, dx * dx, links), np.bincount(link, dx * de, links)
            common = float(sxy.sum()) / max(float(sxx.sum()), 1e-9)
            noise = float(np.mean((de - common * dx) ** 2))
            prior = CORRELATED * noise / SLOPE_SPREAD**2
            slope = (sxy + prior * common) / (sxx + prior)
        offset = mean_e - slope * mean_x
        unseen = count == 0
        offset[unseen] = offset[~unseen].mean()
    residual = error - offset[link] - slope[link] * x
    variance = np.bincount(link, residual**2, links) / np.maximum(count, 1.0)
    pooled = float(np.mean(residual**2))
    # A link with few samples borrows the common variance.
    variance = (count * variance + CORRELATED * pooled) / (count + CORRELATED)
    return {
        "offset": [*offset.tolist(), float(offset.mean())],
        "slope": [*slope.tolist(), float(slope.mean())],
        "variance": [*variance.tolist(), pooled + float(offset.var())],
    }


def apply_table(table: Table, distance: np.ndarray, link: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias [m] and variance [m^2] (N,); link -1 is the last row."""
    x = (distance - REFERENCE_DISTANCE) / DISTANCE_SCALE
    offset, slope, variance = (np.asarray(table[name]) for name in ("offset", "slope", "variance"))
    return offset[link] + slope[link] * x, variance[link]


def scale_variance(table: Table, factor: float) -> Table:
    """The table with its variances times `factor`."""
    return {**table, "variance": [factor * value for value in table["variance"]]}


def variance_factor(residual: np.ndarray, variance: np.ndarray) -> float:
    """What predicted variances must be multiplied with for one sigma to cover 68.3 % of held-out residuals.

    Heavy tails do not enter: the robust filter deals with them.
    """
    return float(np.quantile(residual**2 / variance, 0.6827))


def time_blocks(stamp: np.ndarray, recording: np.ndarray, blocks: int) -> np.ndarray:
    """(N,) fold of each sample: whole recordings where there are enough, stretches of time otherwise."""
    count = len(np.unique(recording))
    if count >= blocks:
        return np.unique(recording, return_inverse=True)[1] % blocks
    fold = np.empty(len(stamp), dtype=np.int64)
    for number in np.unique(recording):
        mine = recording == number
        stamps, rank = np.unique(stamp[mine], return_inverse=True)
        fold[mine] = rank * blocks // len(stamps)
    return fold


def summary(residual: np.ndarray, variance: np.ndarray) -> dict[str, Any]:
    """RMSE [m] and coverage of one and two sigma."""
    ratio = np.abs(residual) / np.sqrt(variance)
    return {
        "rmse_m": float(np.sqrt(np.mean(residual**2))),
        "coverage_1sigma": float(np.mean(ratio < 1.0)),
        "coverage_2sigma": float(np.mean(ratio < 2.0)),
    }

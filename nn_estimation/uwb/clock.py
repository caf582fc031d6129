"""The offset between the clocks of a truth and of the ranges, from the data themselves."""

from __future__ import annotations

import numpy as np

from nn_estimation.recorded import interpolated
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Layout

LAGS = (0.6, 1.2, 2.5)  # [s] over which errors are differenced: slow biases cancel, the motion stays
SEARCH = np.arange(-3.0, 3.05, 0.1)  # [s]
MAX_CHANGE = 0.25  # [m] differenced errors beyond are outliers
WINDOW = np.arange(-0.3, 0.301, 0.1)  # [s] of the parabola: slow motion makes its bottom flat
_ITERATIONS = 3


def estimate_offset(
    layout: Layout,
    stamps: np.ndarray,
    ranges: np.ndarray,
    truth_stamps: np.ndarray,
    position: np.ndarray,
    yaw: np.ndarray,
) -> float:
    """What to add to the truth's stamps to put them on the clock of the ranges.

    Wrong by dt, the error of a range is wrong by dt times its range rate. A coarse search minimises the affine
    residual per link. Then the errors, differenced over `LAGS` so that biases depending on place and heading
    cancel, must change least: a parabola through their mean square over 0.6 s of offsets has its minimum there.
    (Fitted together with a bias model of the heading, the one would be traded against the other.)

    Args:
        layout: anchors and tags.
        stamps: (N,) [s] of the ranges, increasing.
        ranges: (N, T, A) [m], NaN where missing.
        truth_stamps: (M,) [s], increasing.
        position: (M, 3) [m].
        yaw: (M,) [rad], unwrapped.

    Returns:
        Offset [s].
    """
    truth = (truth_stamps, position, yaw)
    few = slice(None, None, max(1, len(stamps) // 2000))
    thin = slice(None, None, max(1, len(stamps) // 8000))
    costs = [
        _affine_residual(ranges[few], _distances(layout, stamps[few] - offset, ranges[few].shape, *truth))
        for offset in SEARCH
    ]
    offset = float(SEARCH[int(np.nanargmin(costs))])
    pairs = [_later(stamps[thin], lag) for lag in LAGS]
    for _ in range(_ITERATIONS):
        candidates = offset + WINDOW
        costs = []
        for candidate in candidates:
            error = ranges[thin] - _distances(layout, stamps[thin] - candidate, ranges[thin].shape, *truth)
            costs.append(sum(_change(error[second] - error[first]) for first, second in pairs))
        curvature, slope, _ = np.polyfit(WINDOW, costs, 2)
        if curvature <= 0.0:
            return offset
        offset += float(np.clip(-slope / (2.0 * curvature), WINDOW[0], WINDOW[-1]))
    return offset


def _change(change: np.ndarray) -> float:
    """Mean square of differenced errors, outliers clipped."""
    return float(np.nanmean(np.minimum(change**2, MAX_CHANGE**2)))


def _later(stamps: np.ndarray, lag: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs of stamps that are `lag` apart."""
    second = np.searchsorted(stamps, stamps + lag)
    first = np.flatnonzero(second < len(stamps))
    second = second[first]
    near = np.abs(stamps[second] - stamps[first] - lag) < 0.1
    return first[near], second[near]


def _distances(
    layout: Layout,
    at: np.ndarray,
    shape: tuple[int, ...],
    truth_stamps: np.ndarray,
    position: np.ndarray,
    yaw: np.ndarray,
) -> np.ndarray:
    """(N, T, A) [m] at the truth's times `at` (N,); NaN outside of it."""
    _, tags, anchors = shape
    p = interpolated(at, truth_stamps, position)
    heading = np.interp(at, truth_stamps, yaw)
    R = np.zeros((len(at), 3, 3))
    R[:, 0, 0] = R[:, 1, 1] = np.cos(heading)
    R[:, 1, 0], R[:, 0, 1], R[:, 2, 2] = np.sin(heading), -np.sin(heading), 1.0
    tag = np.tile(np.repeat(np.arange(tags), anchors), len(at))
    anchor = np.tile(np.arange(anchors), tags * len(at))
    pose = np.repeat(np.arange(len(at)), tags * anchors)
    one_way = np.full(len(tag), NO_ANCHOR)
    distance = link_geometry(layout, p, R, tag, anchor, one_way, pose)[:, 0].reshape(shape)
    distance[(at < truth_stamps[0]) | (at > truth_stamps[-1])] = np.nan
    return distance


def _affine_residual(ranges: np.ndarray, distance: np.ndarray) -> float:
    """Root mean square [m] of the errors after offset and slope per link, outliers clipped."""
    error = ranges - distance
    error[np.abs(error) > 0.8] = np.nan
    usable = np.isfinite(error)
    if usable.sum() < 0.3 * error.size:
        return float("nan")
    count = usable.sum(axis=0)
    d = np.where(usable, distance, 0.0)
    e = np.where(usable, error, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_d, mean_e = d.sum(axis=0) / count, e.sum(axis=0) / count
        dd = np.where(usable, distance - mean_d, 0.0)
        de = np.where(usable, error - mean_e, 0.0)
        slope = (dd * de).sum(axis=0) / (dd**2).sum(axis=0)
        residual = de - slope * dd
    return float(np.sqrt(np.nansum(residual**2) / count.sum()))

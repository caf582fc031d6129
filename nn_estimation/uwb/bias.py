"""Bias models: what a range is too long by, and how sure that is; the ones that are a calibration per link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout

METHODS = ("raw", "constant", "affine", "ridge", "network")
LEARNED = ("ridge", "network")  # those for which the affine calibration stands in
REFERENCE_DISTANCE, DISTANCE_SCALE = 4.0, 2.0  # [m] bias = offset + slope (distance - 4) / 2
DEFAULT_VARIANCE = 0.15**2  # [m^2] of a range no model says anything about
FALLBACK_INFLATION = 2.0  # of the affine variance where it stands in for the network

# Why a calibration stands in for the model.
BY_MODEL, OUT_OF_RANGE, UNKNOWN_LINK, NO_POWER, NETWORK_FAILED, NO_POSE = range(6)
FALLBACK_NAMES = (
    "model",
    "out of the trained range",
    "unknown link",
    "no received power",
    "network failed",
    "no pose",
)


@dataclass(slots=True)
class Bias:
    """Predicted errors of N ranges."""

    bias: np.ndarray  # (N,) [m] measured - true
    variance: np.ndarray  # (N,) [m^2] of a corrected range
    gradient: np.ndarray  # (N, 3) d bias / d(distance, azimuth_tag, elevation_tag) of anchor a
    fallback: np.ndarray  # (N,) uint8, BY_MODEL where none was needed


class BiasModel(Protocol):
    """Predicts from the geometry of the filter, never from the measured range."""

    method: str
    correlation_time: float

    def predict(self, epoch: Epoch, geometry: np.ndarray) -> Bias:
        """Errors of an epoch's ranges; geometry (N, 10) at the predicted pose."""

    def calibrate(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """Bias and variance (N,) without a pose, by the calibration at the measured distance."""


class LinkIndex:
    """Names of links -> rows of the tables of a model.

    Args:
        links: `tag|anchor`, or `tag|anchorA-anchorB` for TDoA, in the order of the tables.
        layout: gives the indices their names.
    """

    def __init__(self, links: list[str], layout: Layout) -> None:
        rows = {name: row for row, name in enumerate(links)}
        tags, anchors = [t.name for t in layout.tags], [a.name for a in layout.anchors]
        size = len(anchors)
        self._table = np.full((len(tags), size, size + 1), -1, dtype=np.int64)
        for t, tag in enumerate(tags):
            for a, first in enumerate(anchors):
                self._table[t, a, NO_ANCHOR] = rows.get(link_name(tag, first), -1)
                for b, second in enumerate(anchors):
                    self._table[t, a, b] = rows.get(link_name(tag, first, second), -1)

    def of(self, epoch: Epoch) -> np.ndarray:
        """(N,) int64 rows, -1 for a link the model never saw."""
        return self._table[epoch.tag, epoch.anchor_a, epoch.anchor_b]


def link_name(tag: str, anchor_a: str, anchor_b: str | None = None) -> str:
    """`tag|anchor`, or `tag|anchorA-anchorB`."""
    return f"{tag}|{anchor_a}" if anchor_b is None else f"{tag}|{anchor_a}-{anchor_b}"


class CalibratedBias:
    """bias = offset + slope (d - 4) / 2 of each link: raw (zeros), constant and affine.

    Args:
        method: name of the row in a table.
        table: `offset`, `slope`, `variance` per link, one more entry at the end for links never seen.
        links: rows of the table.
        correlation_time: [s] of the residuals.
    """

    def __init__(
        self, method: str, table: Mapping[str, list[float]], links: LinkIndex, correlation_time: float
    ) -> None:
        self.method, self.correlation_time = method, correlation_time
        self._links = links
        self._calibrated = len(table["offset"]) > 1
        self._offset = np.array(table["offset"], dtype=np.float64)
        self._slope = np.array(table["slope"], dtype=np.float64)
        self._variance = np.array(table["variance"], dtype=np.float64)

    def predict(self, epoch: Epoch, geometry: np.ndarray) -> Bias:
        """See `BiasModel`."""
        link = self._links.of(epoch)
        distance = np.where(np.isnan(geometry[:, 5]), geometry[:, 0], geometry[:, 5] - geometry[:, 0])
        slope = self._slope[link]
        gradient = np.zeros((len(link), 3))
        gradient[:, 0] = slope / DISTANCE_SCALE * np.where(epoch.anchor_b == NO_ANCHOR, 1.0, -1.0)
        bias = self._offset[link] + slope * (distance - REFERENCE_DISTANCE) / DISTANCE_SCALE
        fallback = np.where(self._calibrated & (link < 0), UNKNOWN_LINK, BY_MODEL).astype(np.uint8)
        return Bias(bias, self._variance[link], gradient, fallback)

    def calibrate(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """See `BiasModel`."""
        link = self._links.of(epoch)
        slope = self._slope[link] / DISTANCE_SCALE
        bias = (self._offset[link] + slope * (epoch.measured - REFERENCE_DISTANCE)) / (1.0 + slope)
        return bias, self._variance[link]


def uncalibrated(layout: Layout) -> CalibratedBias:
    """The raw ranges of a layout no model was trained for."""
    table: dict[str, Any] = {"offset": [0.0], "slope": [0.0], "variance": [DEFAULT_VARIANCE]}
    return CalibratedBias("raw", table, LinkIndex([], layout), 0.08)


class AsMeasured:
    """No correction; the variance that came with each range.

    Args:
        variance: [m^2] where a range came with none.
        correlation_time: [s] of the errors.
    """

    method = "as measured"

    def __init__(self, variance: float, correlation_time: float) -> None:
        self.correlation_time = correlation_time
        self._variance = variance

    def predict(self, epoch: Epoch, geometry: np.ndarray) -> Bias:
        """See `BiasModel`."""
        bias, variance = self.calibrate(epoch)
        return Bias(bias, variance, np.zeros((len(bias), 3)), np.full(len(bias), BY_MODEL, dtype=np.uint8))

    def calibrate(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """See `BiasModel`."""
        variance = np.where(epoch.variance > 0.0, epoch.variance, self._variance)
        return np.zeros(len(variance)), variance

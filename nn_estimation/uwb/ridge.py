"""The additive bias model fitted by ridge regression: the network's physics without the network.

bias = offset + slope (d - 4) / 2 of the link + a Fourier series in the direction of the anchor, shared by all tags,
with small ones of each tag and anchor + a polygon in the distance, the elevation and each received power.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nn_estimation.uwb.bias import DISTANCE_SCALE, REFERENCE_DISTANCE
from nn_estimation.uwb.calibration import CORRELATED

HARMONICS, OWN_HARMONICS, KNOTS = 5, 2, 7
# How large each part is believed to be [m]: the prior that makes it ridge regression.
SPREAD_COMMON, SPREAD_SLOPE, SPREAD_PATTERN, SPREAD_OWN, SPREAD_POLYGON = 1.0, 0.05, 0.1, 0.02, 0.1
ANGLES = ("azimuth_tag", "azimuth_anchor")
LINEAR = ("distance", "distance_b")


@dataclass
class Ridge:
    """Coefficients [m]; the last row of tables by link, tag and anchor is that of what was never seen."""

    features: list[str]
    link_tag: list[int]
    link_anchor: list[int]
    offset: np.ndarray
    slope: np.ndarray
    variance: np.ndarray  # [m^2]
    pattern: np.ndarray  # (2 HARMONICS,) of azimuth_tag
    tag_pattern: np.ndarray  # (T + 1, 2 OWN_HARMONICS)
    anchor_pattern: np.ndarray  # (A + 1, 2 OWN_HARMONICS) of azimuth_anchor
    knots: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Ridge:
        """What `to_dict` wrote."""
        arrays = ("offset", "slope", "variance", "pattern", "tag_pattern", "anchor_pattern")
        polygons = {
            name: {key: np.array(v, dtype=np.float64) for key, v in tree[name].items()}
            for name in ("knots", "values")
        }
        return cls(
            **{**tree, **{name: np.array(tree[name], dtype=np.float64) for name in arrays}, **polygons}
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the contract."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def predict(self, features: np.ndarray, link: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bias (N,) [m] and its derivatives (N, 3) by distance, azimuth_tag, elevation_tag; link -1: never seen."""
        column = {name: features[:, i] for i, name in enumerate(self.features)}
        difference = "distance_b" in column
        span = column["distance_b"] - column["distance"] if difference else column["distance"]
        slope = self.slope[link] / DISTANCE_SCALE
        bias = self.offset[link] + slope * (span - REFERENCE_DISTANCE)
        gradient = np.zeros((len(link), 3))
        gradient[:, 0] = -slope if difference else slope
        if "azimuth_tag" in column:
            basis, derivative = fourier(column["azimuth_tag"], HARMONICS)
            own = np.asarray(self.link_tag)[link]
            few = 2 * OWN_HARMONICS
            bias += basis @ self.pattern + (basis[:, :few] * self.tag_pattern[own]).sum(axis=1)
            gradient[:, 1] = derivative @ self.pattern + (derivative[:, :few] * self.tag_pattern[own]).sum(
                axis=1
            )
        if "azimuth_anchor" in column:
            basis, _ = fourier(column["azimuth_anchor"], OWN_HARMONICS)
            bias += (basis * self.anchor_pattern[np.asarray(self.link_anchor)[link]]).sum(axis=1)
        for name, knots in self.knots.items():
            weights, derivative = polygon(column[name], knots)
            bias += weights @ self.values[name]
            if name == "distance":
                gradient[:, 0] += derivative @ self.values[name]
            elif name == "elevation_tag":
                gradient[:, 2] += derivative @ self.values[name]
        return bias, gradient


def fourier(angle: np.ndarray, harmonics: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2 harmonics) sin and cos of each multiple in turn, and their derivatives."""
    order = np.arange(1, harmonics + 1)
    phase = angle[:, None] * order
    sin, cos = np.sin(phase), np.cos(phase)
    basis = np.stack([sin, cos], axis=2).reshape(len(angle), -1)
    return basis, np.stack([order * cos, -order * sin], axis=2).reshape(len(angle), -1)


def polygon(x: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) weights of linear interpolation between knots, and derivatives; constant beyond the outer ones."""
    inside = np.clip(x, knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    width = knots[left + 1] - knots[left]
    share = (inside - knots[left]) / width
    rows = np.arange(len(x))
    weights, derivative = np.zeros((len(x), len(knots))), np.zeros((len(x), len(knots)))
    weights[rows, left], weights[rows, left + 1] = 1.0 - share, share
    rise = np.where(inside == x, 1.0 / width, 0.0)
    derivative[rows, left], derivative[rows, left + 1] = -rise, rise
    return weights, derivative


class RidgeFit:
    """Least squares from the sums over blocks of samples, so that leaving a block out costs nothing.

    Args:
        names: of the features.
        link_tag: tag number of each link.
        link_anchor: number of its first anchor.
        features: (N, F), no NaN.
        link: (N,) int64.
        error: (N,) [m].
        block: (N,) int64, from 0.
    """

    def __init__(
        self,
        names: Sequence[str],
        link_tag: Sequence[int],
        link_anchor: Sequence[int],
        features: np.ndarray,
        link: np.ndarray,
        error: np.ndarray,
        block: np.ndarray,
    ) -> None:
        self.names, self.link_tag, self.link_anchor = list(names), list(link_tag), list(link_anchor)
        self._features, self._link, self._error, self._block = features, link, error, block
        self.knots = {
            name: np.unique(np.quantile(features[:, i], np.linspace(0.005, 0.995, KNOTS)))
            for i, name in enumerate(self.names)
            if name not in ANGLES and not (name in LINEAR and "distance_b" in self.names)
        }
        self.knots = {name: knots for name, knots in self.knots.items() if len(knots) > 1}
        self._spread = np.concatenate([np.full(size, spread) for _, size, spread in self._parts()])
        size, blocks = len(self._spread), int(block.max()) + 1
        self._gram, self._moment = np.zeros((blocks, size, size)), np.zeros((blocks, size))
        for start in range(0, len(link), 20000):
            part = slice(start, start + 20000)
            X = self._design(features[part], link[part])
            for number in np.unique(block[part]):
                mine = block[part] == number
                self._gram[number] += X[mine].T @ X[mine]
                self._moment[number] += X[mine].T @ error[part][mine]

    def _parts(self) -> Iterator[tuple[str, int, float]]:
        """Blocks of columns: name, number, spread of the prior."""
        links, tags, anchors = len(self.link_tag), max(self.link_tag) + 1, max(self.link_anchor) + 1
        yield "offset", links, SPREAD_COMMON
        yield "slope", links, SPREAD_SLOPE
        if "azimuth_tag" in self.names:
            yield "pattern", 2 * HARMONICS, SPREAD_PATTERN
            yield "tag_pattern", tags * 2 * OWN_HARMONICS, SPREAD_OWN
        if "azimuth_anchor" in self.names:
            yield "anchor_pattern", anchors * 2 * OWN_HARMONICS, SPREAD_OWN
        for name, knots in self.knots.items():
            yield name, len(knots), SPREAD_POLYGON

    def _design(self, features: np.ndarray, link: np.ndarray) -> np.ndarray:
        column = {name: features[:, i] for i, name in enumerate(self.names)}
        span = column["distance_b"] - column["distance"] if "distance_b" in column else column["distance"]
        one = np.eye(len(self.link_tag))[link]
        parts = [one, one * ((span - REFERENCE_DISTANCE) / DISTANCE_SCALE)[:, None]]
        if "azimuth_tag" in column:
            parts.append(fourier(column["azimuth_tag"], HARMONICS)[0])
        for angle, owner in (("azimuth_tag", self.link_tag), ("azimuth_anchor", self.link_anchor)):
            if angle in column:
                basis, _ = fourier(column[angle], OWN_HARMONICS)
                who = np.eye(max(owner) + 1)[np.asarray(owner)[link]]
                parts.append((who[:, :, None] * basis[:, None, :]).reshape(len(link), -1))
        parts += [polygon(column[name], knots)[0] for name, knots in self.knots.items()]
        return np.concatenate(parts, axis=1)

    def fit(self, without: int | None = None) -> Ridge:
        """The model of all blocks, or of all but one."""
        kept = [i for i in range(len(self._gram)) if i != without]
        gram, moment = self._gram[kept].sum(axis=0), self._moment[kept].sum(axis=0)
        use = np.isin(self._block, kept)
        noise = float(np.var(self._error[use])) * 0.25
        weights = np.linalg.solve(gram + np.diag(CORRELATED * noise / self._spread**2), moment)
        part, start = {}, 0
        for name, size, _ in self._parts():
            part[name] = weights[start : start + size]
            start += size
        few = 2 * OWN_HARMONICS
        links = len(self.link_tag)
        unseen_pattern = np.zeros((1, few))
        model = Ridge(
            self.names,
            [*self.link_tag, max(self.link_tag) + 1],
            [*self.link_anchor, max(self.link_anchor) + 1],
            np.append(part["offset"], part["offset"].mean()),
            np.append(part["slope"], part["slope"].mean()),
            np.ones(links + 1),
            part.get("pattern", np.zeros(2 * HARMONICS)),
            np.concatenate([_rows(part.get("tag_pattern"), max(self.link_tag) + 1, few), unseen_pattern]),
            np.concatenate(
                [_rows(part.get("anchor_pattern"), max(self.link_anchor) + 1, few), unseen_pattern]
            ),
            dict(self.knots),
            {name: part[name] for name in self.knots},
        )
        residual = self._error[use] - model.predict(self._features[use], self._link[use])[0]
        count = np.bincount(self._link[use], minlength=links)
        pooled = float(np.mean(residual**2))
        sums = np.bincount(self._link[use], residual**2, links)
        model.variance = np.append((sums + CORRELATED * pooled) / (count + CORRELATED), 2.0 * pooled)
        return model

    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [m] and predicted variances [m^2] (N,), each block by the model of the others."""
        residual, variance = np.empty(len(self._error)), np.empty(len(self._error))
        for number in range(len(self._gram)):
            mine = self._block == number
            model = self.fit(without=number)
            bias, _ = model.predict(self._features[mine], self._link[mine])
            residual[mine] = self._error[mine] - bias
            variance[mine] = model.variance[self._link[mine]]
        return residual, variance


def _rows(values: np.ndarray | None, rows: int, columns: int) -> np.ndarray:
    return np.zeros((rows, columns)) if values is None else values.reshape(rows, columns)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value

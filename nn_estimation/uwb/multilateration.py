"""The cold start: where the body is and which way it faces, from the ranges of half a second."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.bias import BiasModel
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout

ACCEL_GAIN = 0.02  # of a sample in the mean
WINDOW = 0.5  # [s] of ranges that one fix is made of
RETRY = 0.1  # [s] between two attempts; doubles with each that fails
MAX_RETRY = 1.0  # [s]
MAX_HEADING_STD = 0.7  # [rad] of a fix that is believed
MAX_POSITION_STD = 0.5  # [m]
HEADINGS = np.arange(-math.pi, math.pi, math.pi / 12)  # [rad] among which the starts are chosen
MAX_EVALUATIONS = 50  # of the residuals in one fit
PATIENCE = 1.0  # [s] for ranges that tell the heading, while one tag alone is heard, or two headings fit
AS_GOOD, OTHER = 3.0, 0.3  # of the cost, [rad]: two such fits contradict each other
INDEPENDENT = 1e-9  # of the largest eigenvalue of the information: below that a direction is not observed
STARTS = 2  # of the heading; a range is nearly linear in its sine and cosine, so that its cost has two minima


@dataclass(frozen=True, slots=True)
class Fix:
    """A first pose."""

    position: np.ndarray  # (3,) [m], map frame
    R_world_body: np.ndarray  # (3, 3)
    covariance: np.ndarray  # (4, 4) of position and heading [m^2, rad^2]


@dataclass(frozen=True, slots=True)
class RangeResiduals:
    """Residuals of N ranges over their standard deviations, at a state x, y, (z without a plane), (heading)."""

    first: np.ndarray  # (N, 3) [m] the anchor, map frame
    second: np.ndarray  # (N, 3) of TDoA; NaN for two-way ranging
    levers: np.ndarray  # (N, 3) [m] from base_link to the antenna at heading 0, map axes
    measured: np.ndarray  # (N,) [m] two-way, or second - first
    sigma: np.ndarray  # (N,) [m]
    planar_z: float | None  # [m]

    @property
    def axes(self) -> int:
        """Number of position entries of a state."""
        return 3 if self.planar_z is None else 2

    def state(self, position: np.ndarray) -> np.ndarray:
        """The state without a heading at a position (3,)."""
        return position[: self.axes]

    def position(self, state: np.ndarray) -> np.ndarray:
        """(3,) [m]"""
        z = state[2] if self.planar_z is None else self.planar_z
        return np.array([state[0], state[1], z])

    def values(self, state: np.ndarray) -> np.ndarray:
        """(N,)"""
        antenna = self.position(state) + self._turned(state)
        predicted = np.linalg.norm(self.first - antenna, axis=1)
        second = np.linalg.norm(self.second - antenna, axis=1)
        predicted = np.where(np.isnan(second), predicted, second - predicted)
        return (self.measured - predicted) / self.sigma

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """(N, len(state))"""
        turned = self._turned(state)
        antenna = self.position(state) + turned
        first, second = _direction(antenna - self.first), _direction(antenna - self.second)
        by_position = np.where(np.isnan(second), first, second - first)
        columns = [by_position[:, : self.axes]]
        if len(state) > self.axes:
            by_heading = by_position[:, 1] * turned[:, 0] - by_position[:, 0] * turned[:, 1]
            columns.append(by_heading[:, None])
        return -np.hstack(columns) / self.sigma[:, None]

    def _turned(self, state: np.ndarray) -> np.ndarray:
        """(N, 3) levers at the heading of the state."""
        if len(state) == self.axes:
            return self.levers
        c, s = math.cos(state[-1]), math.sin(state[-1])
        x, y, z = self.levers.T
        return np.stack([c * x - s * y, s * x + c * y, z], axis=1)


class Multilateration:
    """Robust least squares on the latest range of every link.

    The heading is solved for where two tags that are heard are more than 5 cm apart; roll and pitch come from the
    mean accelerometer, or are zero.

    Attributes:
        heading_observable: whether the tags of the layout are apart.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.heading_observable = self._apart(range(len(layout.tags)))
        self.reset()

    def reset(self) -> None:
        """Forget the gathered ranges."""
        self._latest: dict[tuple[int, int, int], tuple[float, float, float]] = {}
        self._accel, self._samples = np.array([0.0, 0.0, 1.0]), 0
        self._first = math.nan
        self._tried, self._wait = -math.inf, RETRY

    def add_accel(self, accel: np.ndarray) -> None:
        """Take in an accelerometer sample (3,) [m/s^2], for the tilt."""
        self._samples += 1
        self._accel += max(ACCEL_GAIN, 1.0 / self._samples) * (accel - self._accel)

    def level(self, R_world_body: np.ndarray) -> np.ndarray:
        """(3, 3) the same heading with the roll and pitch that the accelerometer shows."""
        yaw = math.atan2(R_world_body[1, 0], R_world_body[0, 0])
        return Rotation.from_euler("z", yaw).as_matrix() @ self._tilt()

    def add(self, epoch: Epoch, model: BiasModel, imu: bool) -> Fix | None:
        """Take in an epoch; the first pose once the ranges pin it down."""
        bias, variance = model.calibrate(epoch)
        for n in np.flatnonzero(np.isfinite(epoch.measured)):
            key = (int(epoch.tag[n]), int(epoch.anchor_a[n]), int(epoch.anchor_b[n]))
            self._latest[key] = (epoch.stamp, epoch.measured[n] - bias[n], variance[n])
        if epoch.stamp - self._tried < self._wait:
            return None
        young = {k: v for k, v in self._latest.items() if 0 <= epoch.stamp - v[0] <= WINDOW}
        self._latest = young
        needed = 3 if self.layout.planar_z is not None else 4
        anchors = {a for _, a, _ in young} | {b for _, _, b in young if b != NO_ANCHOR}
        if len(anchors) < needed or len(young) < needed:
            return None
        self._first = epoch.stamp if math.isnan(self._first) else self._first
        turned = self._apart({tag for tag, _, _ in young})
        patient = self.heading_observable and epoch.stamp - self._first < PATIENCE
        if patient and not turned:
            return None
        fix = self._solve(young, imu, turned, patient)
        self._tried = epoch.stamp
        self._wait = RETRY if fix is not None else min(2.0 * self._wait, MAX_RETRY)
        return fix

    def _tilt(self) -> np.ndarray:
        if self.layout.planar_z is not None:
            return np.eye(3)
        roll = math.atan2(self._accel[1], self._accel[2])
        pitch = math.atan2(-self._accel[0], math.hypot(self._accel[1], self._accel[2]))
        return Rotation.from_euler("yx", [pitch, roll]).as_matrix()

    def _apart(self, tags: Collection[int]) -> bool:
        """Whether ranges of these tags show the heading."""
        spread = np.ptp(self.layout.tag_positions[list(tags), :2], axis=0)
        return bool(np.hypot(*spread) > 0.05)

    def _solve(
        self,
        links: dict[tuple[int, int, int], tuple[float, float, float]],
        imu: bool,
        turned: bool,
        patient: bool,
    ) -> Fix | None:
        """The fix of the links, with a heading where `turned`; None where `patient` and two headings fit."""
        layout = self.layout
        tag, a, b = (np.array(column) for column in zip(*links, strict=True))
        tilt = self._tilt() if imu else np.eye(3)
        ranges = RangeResiduals(
            layout.anchor_positions[a],
            np.where((b == NO_ANCHOR)[:, None], np.nan, layout.anchor_positions[b]),
            layout.tag_positions[tag] @ tilt.T,
            np.array([value for _, value, _ in links.values()]),
            np.sqrt([variance for _, _, variance in links.values()]),
            layout.planar_z,
        )
        on_axis = replace(ranges, levers=ranges.levers * [0.0, 0.0, 1.0])
        if not turned:
            fix = self._believed(on_axis, self._placed(on_axis), tilt)
            if fix is not None:
                x, y, _ = ranges.levers.mean(axis=0)
                fix.covariance[[0, 1], [0, 1]] += (x * x + y * y) / 2  # base_link is somewhere about the tag
            return fix
        near = self._placed(on_axis).x
        fits = [_fit(ranges, np.append(near, yaw)) for yaw in _headings(ranges, near)]
        best, *others = sorted(fits, key=lambda fit: fit.cost)
        if patient and any(_contradict(best, other) for other in others):
            return None
        return self._believed(ranges, best, tilt)

    def _placed(self, ranges: RangeResiduals) -> Any:
        """The best fit without a heading; of two that mirror each other, the one on the side that the layout says."""
        middle, off = self.layout.anchor_positions.mean(axis=0), np.array([0.0, 0.0, 0.5])
        sides = (middle + off, middle - off) if self.layout.above else (middle - off, middle + off)
        here = _fit(ranges, ranges.state(sides[0]))
        if ranges.planar_z is not None:
            return here
        there = _fit(ranges, ranges.state(sides[1]))
        return there if there.cost < here.cost - AS_GOOD else here

    def _believed(self, ranges: RangeResiduals, found: Any, tilt: np.ndarray) -> Fix | None:
        """The fix of a solution, None where it is too uncertain."""
        information = found.jac.T @ found.jac
        eigenvalues = np.linalg.eigvalsh(information)
        if not eigenvalues[0] > INDEPENDENT * eigenvalues[-1]:
            return None
        covariance = np.linalg.inv(information) * max(1.0, 2.0 * found.cost / len(found.fun))
        heading = len(found.x) > ranges.axes
        index = [*range(ranges.axes), *([3] if heading else [])]
        full = np.zeros((4, 4))
        full[np.ix_(index, index)] = covariance
        if not heading:
            full[3, 3] = math.pi**2 / 3
        if np.sqrt(np.diag(full)[:3]).max() > MAX_POSITION_STD or (
            heading and full[3, 3] > MAX_HEADING_STD**2
        ):
            return None
        yaw = found.x[-1] if heading else 0.0
        return Fix(ranges.position(found.x), Rotation.from_euler("z", yaw).as_matrix() @ tilt, full)


def _fit(ranges: RangeResiduals, start: np.ndarray) -> Any:
    return least_squares(ranges.values, start, jac=ranges.jacobian, loss="soft_l1", max_nfev=MAX_EVALUATIONS)


def _contradict(best: Any, other: Any) -> bool:
    """Whether a fit is about as good as the best one, and has another heading."""
    apart = abs(math.remainder(best.x[-1] - other.x[-1], 2.0 * math.pi))
    return bool(other.cost - best.cost < AS_GOOD and apart > OTHER)


def _headings(ranges: RangeResiduals, near: np.ndarray) -> list[float]:
    """The best headings about a position, which is adjusted to each by one weighted linear step."""
    values = np.stack([ranges.values(np.append(near, yaw)) for yaw in HEADINGS], axis=1)
    weight = (1.0 + np.median(values, axis=1, keepdims=True) ** 2) ** -0.25  # of soft_l1, to the root
    q, _ = np.linalg.qr(weight * ranges.jacobian(near))
    values *= weight
    cost = (values**2).sum(axis=0) - ((q.T @ values) ** 2).sum(axis=0)
    minima = np.flatnonzero((cost <= np.roll(cost, 1)) & (cost <= np.roll(cost, -1)))
    return HEADINGS[minima[np.argsort(cost[minima])][:STARTS]].tolist()


def _direction(vectors: np.ndarray) -> np.ndarray:
    """(N, 3) of length one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

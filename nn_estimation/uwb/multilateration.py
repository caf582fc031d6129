"""The cold start: where the body is and which way it faces, from the ranges of half a second."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.bias import BiasModel
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout

WINDOW = 0.5  # [s] of ranges that one fix is made of
RETRY = 0.1  # [s] between two attempts
MAX_HEADING_STD = 0.7  # [rad] of a fix that is believed
MAX_POSITION_STD = 0.5  # [m]


@dataclass(frozen=True, slots=True)
class Fix:
    """A first pose."""

    position: np.ndarray  # (3,) [m], map frame
    R_world_body: np.ndarray  # (3, 3)
    covariance: np.ndarray  # (4, 4) of position and heading [m^2, rad^2]


class Multilateration:
    """Robust least squares on the latest range of every link, from several headings.

    The heading is solved for where two tags are more than 5 cm apart; roll and pitch come from the mean
    accelerometer, or are zero.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        spread = np.ptp(layout.tag_positions[:, :2], axis=0)
        self.heading_observable = bool(len(layout.tags) > 1 and np.hypot(*spread) > 0.05)
        self.reset()

    def reset(self) -> None:
        """Forget the gathered ranges."""
        self._latest: dict[tuple[int, int, int], tuple[float, float, float]] = {}
        self._accel = np.array([0.0, 0.0, 1.0])
        self._tried = -math.inf

    def add_accel(self, accel: np.ndarray) -> None:
        """Take in an accelerometer sample (3,) [m/s^2], for the tilt."""
        self._accel += 0.02 * (accel - self._accel)

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
        if epoch.stamp - self._tried < RETRY:
            return None
        young = {k: v for k, v in self._latest.items() if 0 <= epoch.stamp - v[0] <= WINDOW}
        self._latest = young
        needed = 3 if self.layout.planar_z is not None else 4
        anchors = {a for _, a, _ in young} | {b for _, _, b in young if b != NO_ANCHOR}
        if len(anchors) < needed or len(young) < needed:
            return None
        self._tried = epoch.stamp
        return self._solve(young, imu)

    def _tilt(self) -> np.ndarray:
        if self.layout.planar_z is not None:
            return np.eye(3)
        roll = math.atan2(self._accel[1], self._accel[2])
        pitch = math.atan2(-self._accel[0], math.hypot(self._accel[1], self._accel[2]))
        return Rotation.from_euler("yx", [pitch, roll]).as_matrix()

    def _solve(self, links: dict[tuple[int, int, int], tuple[float, float, float]], imu: bool) -> Fix | None:
        layout = self.layout
        tag, a, b = (np.array(column) for column in zip(*links, strict=True))
        measured = np.array([value for _, value, _ in links.values()])
        sigma = np.sqrt([variance for _, _, variance in links.values()])
        tdoa = b != NO_ANCHOR
        planar, yaw_free = layout.planar_z is not None, self.heading_observable
        tilt = self._tilt() if imu else np.eye(3)
        levers = layout.tag_positions[tag] @ tilt.T  # (N, 3)

        def residuals(x: np.ndarray) -> np.ndarray:
            z = layout.planar_z if planar else x[-1]
            yaw = x[2] if yaw_free else 0.0
            c, s = math.cos(yaw), math.sin(yaw)
            antenna = np.empty((len(tag), 3))
            antenna[:, 0] = x[0] + c * levers[:, 0] - s * levers[:, 1]
            antenna[:, 1] = x[1] + s * levers[:, 0] + c * levers[:, 1]
            antenna[:, 2] = z + levers[:, 2]
            distance = np.linalg.norm(layout.anchor_positions[a] - antenna, axis=1)
            second = np.linalg.norm(layout.anchor_positions[b] - antenna, axis=1)
            return (measured - np.where(tdoa, second - distance, distance)) / sigma

        centre = layout.anchor_positions.mean(axis=0)
        below = [] if planar else [centre[2] - 0.5]
        headings = np.arange(-math.pi, math.pi, math.pi / 4) if yaw_free else np.zeros(1)
        best = None
        for heading in headings:
            x0 = [centre[0], centre[1], *([heading] if yaw_free else []), *below]
            found = least_squares(residuals, x0, loss="soft_l1", max_nfev=50)
            if best is None or found.cost < best.cost:
                best = found
        assert best is not None
        try:
            covariance = np.linalg.inv(best.jac.T @ best.jac) * max(1.0, 2.0 * best.cost / len(tag))
        except np.linalg.LinAlgError:
            return None
        full = np.zeros((4, 4))
        index = [0, 1, *([3] if yaw_free else []), *([] if planar else [2])]
        full[np.ix_(index, index)] = covariance
        if not yaw_free:
            full[3, 3] = math.pi**2 / 3
        if np.sqrt(np.diag(full)[:3]).max() > MAX_POSITION_STD or (
            yaw_free and full[3, 3] > MAX_HEADING_STD**2
        ):
            return None
        yaw = best.x[2] if yaw_free else 0.0
        z = layout.planar_z if planar else best.x[-1]
        return Fix(
            np.array([best.x[0], best.x[1], z], dtype=np.float64),
            Rotation.from_euler("z", yaw).as_matrix() @ tilt,
            full,
        )

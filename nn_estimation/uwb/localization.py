"""Localization: position, velocity and heading of the body from its ranges, with an IMU where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.filters import quaternion
from nn_estimation.uwb import tracking
from nn_estimation.uwb.bias import Bias, BiasModel
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.gate import ACCEPTED, GateParams, GateState
from nn_estimation.uwb.geometry import link_geometry
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.multilateration import Fix, Multilateration

_POSE_STATES = np.r_[tracking.POSITION, tracking.ROTATION]
_POSE_BLOCK = np.ix_(_POSE_STATES, _POSE_STATES)


@dataclass(frozen=True, slots=True)
class LocalizationParams:
    """Noise densities are per sqrt(Hz); defaults suit trolleys and small drones."""

    acceleration: float = 0.7  # [m/s^2] white acceleration of the body without an IMU
    angular_acceleration: float = 1.0  # [rad/s^2] the same of its heading
    gyro_noise: float = 5e-3  # [rad/s]
    accel_noise: float = 5e-2  # [m/s^2]
    gyro_walk: float = 1e-4  # [rad/s^2]
    accel_walk: float = 1e-3  # [m/s^3]
    robust_scale: float = 2.5  # Geman-McClure scale in standard deviations
    hold: float = 2.0  # [s] without an accepted range until the track is given up
    max_imu_step: float = 0.1  # [s] longest time one IMU sample is held


@dataclass(frozen=True, slots=True)
class PoseEstimate:
    """Pose and velocity of base_link at a stamp."""

    stamp: float  # [s]
    position: np.ndarray  # (3,) [m], map frame
    R_world_body: np.ndarray  # (3, 3)
    velocity: np.ndarray  # (3,) [m/s], map frame
    angular_velocity: np.ndarray  # (3,) [rad/s], base_link frame
    covariance: np.ndarray  # (6, 6) position and rotation about the axes of the map frame [m^2, rad^2]
    velocity_covariance: np.ndarray  # (3, 3) map frame

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) x, y, z, w."""
        out = np.empty(4)
        quaternion(self.R_world_body, out)
        return out

    @property
    def yaw_std(self) -> float:
        """[rad]"""
        return math.sqrt(self.covariance[5, 5])


class Localization:
    """Error-state Kalman filter on the ranges of an epoch, started by multilateration.

    Without an IMU the body is taken to be level, at constant velocity and turn rate driven by white noise. One
    tag without an IMU leaves the heading unobservable: it stays at zero and its variance says so.
    """

    def __init__(
        self, layout: Layout, params: LocalizationParams | None = None, gate: GateParams | None = None
    ) -> None:
        self.layout = layout
        self.params = params or LocalizationParams()
        self.gate = GateState(gate or GateParams())
        self._gate_values = np.array(
            [
                self.gate.params.max_speed,
                self.gate.params.max_acceleration,
                self.gate.params.noise_sigmas,
                self.gate.params.chi2_sigmas,
            ]
        )
        self.restarts = 0
        self._start = Multilateration(layout)
        x, y, _ = layout.tag_positions.mean(axis=0)
        middle = np.array([x, y, 0.0])
        tags = tuple(replace(tag, position=tag.position - middle) for tag in layout.tags)
        self._unturned = Layout(layout.anchors, tags, layout.planar_z, layout.above)
        self._unturned_variance = float(middle @ middle) / 2  # [m^2] of base_link about there, along an axis
        self.reset()

    def reset(self) -> None:
        """Forget everything but how often; the next epochs start a new track."""
        self.p, self.v, self.rate, self.accel_bias = (np.zeros(3) for _ in range(4))
        self.R = np.eye(3)
        self.P = np.zeros((tracking.SIZE, tracking.SIZE))
        self.mask = np.zeros(tracking.SIZE, dtype=np.bool_)
        self.stamp = math.nan
        self.tracking = False
        self._last_accepted = math.nan
        self._imu: tuple[float, np.ndarray, np.ndarray] | None = None
        self._start.reset()
        self.gate.reset()

    @property
    def view(self) -> Layout:
        """The layout; while the heading cannot be known, with the tags where they are on the mean: at base_link."""
        return self.layout if self.mask[8] else self._unturned

    @property
    def uses_imu(self) -> bool:
        """Whether the last IMU sample is young enough to propagate with."""
        return self._imu is not None

    def update_imu(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> None:
        """Propagate to an IMU sample; gyro (3,) [rad/s] and accel (3,) [m/s^2] in base_link, +g up at rest."""
        if not (np.isfinite(gyro).all() and np.isfinite(accel).all()):
            return
        self._start.add_accel(accel)
        self._drop_old_imu(stamp)
        if self.tracking:
            self._predict(stamp)
            if self._imu is None:
                self._change_mode(imu=True)
        self._imu = (stamp, np.array(gyro, dtype=np.float64), np.array(accel, dtype=np.float64))

    def predict(self, stamp: float) -> None:
        """Carry the state to the stamp of an epoch."""
        self._drop_old_imu(stamp)
        if not self.tracking:
            return
        self._predict(stamp)
        if stamp - self._last_accepted > self.params.hold:
            self._lose()

    def update(
        self, epoch: Epoch, geometry: np.ndarray, bias: Bias, inflation: np.ndarray, status: np.ndarray
    ) -> np.ndarray:
        """Gate and fuse an epoch that `predict` was called for.

        Args:
            epoch: N links.
            geometry: (N, 10) at the predicted pose.
            bias: predicted there.
            inflation: (N,) of the variance, for residuals correlated over time.
            status: (N,) uint8; INVALID entries are left alone, the others are set.

        Returns:
            (N,) innovation test ratios; NaN where invalid.
        """
        layout = self.view
        ratio = np.full(len(status), np.nan)
        dt = epoch.stamp - self._last_accepted
        yaw_std = math.sqrt(self.P[8, 8]) if self.mask[8] else 0.0
        tracking.gate_links(
            self.p, self.R, self.P, self.mask, layout.anchor_positions, layout.tag_positions, layout.R_body_tag,
            epoch.tag, epoch.anchor_a, epoch.anchor_b, geometry, epoch.measured, bias.bias, bias.variance,
            bias.gradient, dt, self.gate.shut(yaw_std), self._gate_values, status, ratio,
        )  # fmt: skip
        if (status == ACCEPTED).any():
            tracking.update_links(
                self.p, self.v, self.R, self.rate, self.accel_bias, self.P, self.mask, layout.anchor_positions,
                layout.R_world_anchor, layout.tag_positions, layout.R_body_tag, epoch.tag, epoch.anchor_a,
                epoch.anchor_b, geometry, epoch.measured, bias.bias, bias.variance, bias.gradient,
                inflation, self.params.robust_scale, status,
            )  # fmt: skip
            self._last_accepted = epoch.stamp
        self._judge(epoch.stamp, ratio)
        return ratio

    def start(self, epoch: Epoch, model: BiasModel) -> None:
        """Gather an epoch for the cold start; begins to track once the ranges pin the body down."""
        fix = self._start.add(epoch, model, imu=self._imu is not None)
        if fix is not None:
            self._begin(epoch.stamp, fix)

    def pose(self) -> PoseEstimate | None:
        """The present estimate; None before the cold start."""
        if not self.tracking:
            return None
        covariance = np.zeros((6, 6))
        covariance[:] = self.P[_POSE_BLOCK]
        covariance[3:, :] = self.R @ covariance[3:, :]
        covariance[:, 3:] = covariance[:, 3:] @ self.R.T
        if not self.mask[8]:
            covariance[5, 5] = math.pi**2 / 3  # of a heading anywhere on the circle
            covariance[[0, 1], [0, 1]] += self._unturned_variance
        turn = self.rate if self._imu is None else self._imu[1] - self.rate
        return PoseEstimate(
            self.stamp, self.p.copy(), self.R.copy(), self.v.copy(), turn.copy(), covariance,
            self.P[tracking.VELOCITY, tracking.VELOCITY].copy(),
        )  # fmt: skip

    def geometry(self, epoch: Epoch) -> np.ndarray:
        """(N, 10) of an epoch's links at the present state."""
        return link_geometry(self.view, self.p, self.R, epoch.tag, epoch.anchor_a, epoch.anchor_b)

    def _begin(self, stamp: float, fix: Fix) -> None:
        imu = self._imu is not None
        self.p[:], self.R[:] = fix.position, fix.R_world_body
        self.v[:] = self.rate[:] = self.accel_bias[:] = 0.0
        self.stamp = self._last_accepted = stamp
        self.tracking = True
        self.mask[:] = False
        self._set_mask(imu)
        self.P[:] = 0.0
        self.P[:3, :3] = fix.covariance[:3, :3] + 0.05**2 * np.eye(3)
        self.P[8, 8] = fix.covariance[3, 3] + 0.05**2
        np.fill_diagonal(self.P[3:6, 3:6], 0.5**2)
        if imu:
            self.P[6, 6] = self.P[7, 7] = 0.05**2
            np.fill_diagonal(self.P[9:12, 9:12], 0.02**2)
            np.fill_diagonal(self.P[12:15, 12:15], 0.1**2)
        else:
            self.P[11, 11] = 0.5**2
        self._clear_masked()
        self.gate.reset()

    def _drop_old_imu(self, stamp: float) -> None:
        """What was measured before a gap says nothing of the motion in it."""
        if self._imu is not None and stamp - self._imu[0] > self.params.max_imu_step:
            self._imu = None
            if self.tracking:
                self._change_mode(imu=False)

    def _set_mask(self, imu: bool) -> None:
        planar = self.layout.planar_z is not None
        heading = imu or self._start.heading_observable
        self.mask[[0, 1, 3, 4]] = True
        self.mask[[2, 5]] = not planar
        self.mask[[6, 7]] = imu and not planar
        self.mask[[8, 11]] = heading
        self.mask[[9, 10]] = imu and not planar
        self.mask[[12, 13]] = imu
        self.mask[14] = imu and not planar

    def _change_mode(self, imu: bool) -> None:
        """The rate block holds the gyro bias with an IMU and the turn rate without."""
        was_blind = not self.mask[8]
        self._set_mask(imu)
        self.rate[:] = self.accel_bias[:] = 0.0
        for block in (slice(9, 12), slice(12, 15)):
            self.P[block, :] = 0.0
            self.P[:, block] = 0.0
        np.fill_diagonal(self.P[9:12, 9:12], 0.02**2 if imu else 0.5**2)
        np.fill_diagonal(self.P[12:15, 12:15], 0.1**2)
        if imu:
            self.P[6, 6] = self.P[7, 7] = 0.05**2
            self.R[:] = self._start.level(self.R)
            if was_blind:
                self.P[8, 8] = math.pi**2 / 3
        else:
            self.R[:] = Rotation.from_euler("z", math.atan2(self.R[1, 0], self.R[0, 0])).as_matrix()
        self._clear_masked()

    def _clear_masked(self) -> None:
        off = ~self.mask
        self.P[off, :] = 0.0
        self.P[:, off] = 0.0
        if self.layout.planar_z is not None:
            self.p[2], self.v[2] = self.layout.planar_z, 0.0

    def _predict(self, stamp: float) -> None:
        dt = stamp - self.stamp
        if dt <= 0.0:
            return
        params = self.params
        if self._imu is None:
            tracking.predict_free(
                self.p, self.v, self.R, self.rate, self.P, self.mask, dt, params.acceleration,
                params.angular_acceleration,
            )  # fmt: skip
        else:
            _, gyro, accel = self._imu
            tracking.predict_imu(
                self.p, self.v, self.R, self.rate, self.accel_bias, self.P, self.mask, gyro, accel, dt,
                params.gyro_noise, params.accel_noise, params.gyro_walk, params.accel_walk,
            )  # fmt: skip
        self.stamp = stamp

    def _judge(self, stamp: float, ratio: np.ndarray) -> None:
        """Give the track up where the ranges have disagreed for long, or it is no number any more."""
        disagreeing = int((ratio > 1.0).sum())
        agreeing = int((ratio <= 1.0).sum())
        if self.gate.lost(stamp, agreeing, disagreeing) or not self._sound():
            self._lose()

    def _sound(self) -> bool:
        return bool(np.isfinite(self.p).all() and np.isfinite(self.R).all() and np.isfinite(self.P).all())

    def _lose(self) -> None:
        imu = self._imu
        self.reset()
        self.restarts, self._imu = self.restarts + 1, imu

"""The online algorithm: predict the pose, predict each range's bias there, gate, fuse, correct."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from nn_estimation.uwb.bias import BY_MODEL, FALLBACK_NAMES, LEARNED, NO_POSE, BiasModel
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.gate import (
    ACCEPTED,
    INVALID,
    NO_GEOMETRY,
    REJECTED_CHI2,
    STATUS_NAMES,
    GateParams,
    GateState,
)
from nn_estimation.uwb.geometry import link_geometry, true_difference
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.localization import Localization, LocalizationParams, PoseEstimate
from nn_estimation.uwb.pose_source import PoseSource

MAX_INFLATION = 100.0
POSE_STD = 0.2  # [m] of an external pose along a range
SHORTEST = 1e-6  # [s] between two ranges of a link
RATIO_GAIN = 0.1  # of the smoothed innovation test ratio of a link
NO_POSE_INFLATION = 2.0  # of the variance of a range that was corrected without a pose


@dataclass(frozen=True, slots=True)
class EstimatorParams:
    """What the estimator does besides the model."""

    external_pose: bool = False  # geometry from a pose topic instead of the built-in localization
    pose_timeout: float = 0.5  # [s] after which an external pose is too old
    localization: LocalizationParams = field(default_factory=LocalizationParams)
    gate: GateParams = field(default_factory=GateParams)


@dataclass(slots=True)
class Corrected:
    """What came out of one epoch of N links."""

    epoch: Epoch
    corrected: np.ndarray  # (N,) [m]
    variance: np.ndarray  # (N,) [m^2] of the corrected range
    bias: np.ndarray  # (N,) [m] that was taken off
    fallback: np.ndarray  # (N,) uint8, index into FALLBACK_NAMES
    status: np.ndarray  # (N,) uint8, index into STATUS_NAMES
    ratio: np.ndarray  # (N,) innovation test ratio, NaN without one
    geometry: np.ndarray  # (N, 10) that the bias was predicted at, NaN without a pose
    pose: PoseEstimate | None  # after the update; None while there is none


class UwbEstimator:
    """Corrects the ranges of one robot.

    The network sees the predicted geometry, never the measured range, and the filter stays in charge: a range
    the gate rejects is neither fused nor passed on.

    Attributes:
        counts: ranges by STATUS_NAMES.
        fallbacks: ranges by the method that corrected them, or by why a calibration stood in for it.
    """

    def __init__(self, layout: Layout, model: BiasModel, params: EstimatorParams | None = None) -> None:
        self.layout, self.model = layout, model
        self.params = params or EstimatorParams()
        self.localization = Localization(layout, self.params.localization, self.params.gate)
        self.pose_source = PoseSource(self.params.pose_timeout)
        self.pose_gate = GateState(self.params.gate)
        self.counts = dict.fromkeys(STATUS_NAMES, 0)
        self.fallbacks = dict.fromkeys((model.method, *FALLBACK_NAMES[BY_MODEL + 1 :]), 0)
        self.ratios: dict[tuple[int, int, int], float] = {}
        self._recent_fallbacks = np.zeros(len(FALLBACK_NAMES), dtype=np.int64)
        anchors = len(layout.anchors)
        # [s] newest stamp of a link; the last place of the last axis is that of no second anchor.
        self._heard = np.full((len(layout.tags), anchors, anchors + 1), -math.inf)

    def reset(self) -> None:
        """Forget the track; the counts stay."""
        self.localization.reset()
        self.pose_source.reset()
        self.pose_gate.reset()
        self.ratios.clear()
        self._heard[:] = -math.inf

    def update_imu(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> None:
        """An IMU sample in base_link: gyro (3,) [rad/s], accel (3,) [m/s^2], +g up at rest."""
        if not self.params.external_pose:
            self.localization.update_imu(stamp, gyro, accel)

    def update_pose(self, stamp: float, position: np.ndarray, quaternion: np.ndarray) -> None:
        """A pose of base_link in the map frame from outside: (3,) [m] and (4,) x, y, z, w."""
        self.pose_source.update(stamp, position, quaternion)

    def update(self, epoch: Epoch) -> Corrected:
        """Correct the ranges of an epoch; stamps must not decrease."""
        status = np.full(len(epoch.tag), NO_GEOMETRY, dtype=np.uint8)
        status[~np.isfinite(epoch.measured)] = INVALID
        out = self._external(epoch, status) if self.params.external_pose else self._localized(epoch, status)
        self._heard[epoch.tag, epoch.anchor_a, epoch.anchor_b] = epoch.stamp
        self._count(out)
        return out

    def _localized(self, epoch: Epoch, status: np.ndarray) -> Corrected:
        localization = self.localization
        localization.predict(epoch.stamp)
        if not localization.tracking:
            localization.start(epoch, self.model)
            return self._without_pose(epoch, status)
        geometry = localization.geometry(epoch)
        bias = self.model.predict(epoch, geometry)
        ratio = localization.update(epoch, geometry, bias, self._inflation(epoch), status)
        return Corrected(
            epoch, epoch.measured - bias.bias, bias.variance, bias.bias, bias.fallback, status, ratio, geometry,
            localization.pose(),
        )  # fmt: skip

    def _external(self, epoch: Epoch, status: np.ndarray) -> Corrected:
        at = self.pose_source.at(epoch.stamp)
        if at is None:
            return self._without_pose(epoch, status)
        position, R_world_body = at
        geometry = link_geometry(
            self.layout, position, R_world_body, epoch.tag, epoch.anchor_a, epoch.anchor_b
        )
        bias = self.model.predict(epoch, geometry)
        corrected = epoch.measured - bias.bias
        ratio = self._gate(epoch, corrected, bias.variance, geometry, status)
        return Corrected(
            epoch, corrected, bias.variance, bias.bias, bias.fallback, status, ratio, geometry, None
        )

    def _gate(
        self,
        epoch: Epoch,
        corrected: np.ndarray,
        variance: np.ndarray,
        geometry: np.ndarray,
        status: np.ndarray,
    ) -> np.ndarray:
        """Set the status of ranges by an external pose, unless most contradict it: then it is the pose that is wrong.

        Returns:
            (N,) innovation test ratios, NaN where invalid.
        """
        threshold = self.params.gate.chi2_sigmas**2 * (variance + POSE_STD**2)
        ratio = (corrected - true_difference(geometry)) ** 2 / threshold
        far = ratio > 1.0
        doubted = self.pose_gate.lost(epoch.stamp, int((ratio <= 1.0).sum()), int(far.sum()))
        usable = status == NO_GEOMETRY
        status[usable] = ACCEPTED
        if not doubted:
            status[usable & far] = REJECTED_CHI2
        return ratio

    def _without_pose(self, epoch: Epoch, status: np.ndarray) -> Corrected:
        """No pose yet: the affine calibration at the measured range, and a larger variance."""
        bias, variance = self.model.calibrate(epoch)
        size = len(status)
        nothing = np.full(size, np.nan)
        reason = NO_POSE if self.model.method in LEARNED else BY_MODEL
        return Corrected(
            epoch, epoch.measured - bias, variance * NO_POSE_INFLATION, bias,
            np.full(size, reason, dtype=np.uint8), status, nothing, np.full((size, 10), np.nan), None,
        )  # fmt: skip

    def _inflation(self, epoch: Epoch) -> np.ndarray:
        """(N,) Residuals of a link stay alike for `correlation_time`: so many of its ranges say as much as one."""
        dt = epoch.stamp - self._heard[epoch.tag, epoch.anchor_a, epoch.anchor_b]
        return np.clip(self.model.correlation_time / np.maximum(dt, SHORTEST), 1.0, MAX_INFLATION)

    def take_recent_fallbacks(self) -> np.ndarray:
        """Count of each of FALLBACK_NAMES since the last call."""
        recent, self._recent_fallbacks = self._recent_fallbacks, np.zeros_like(self._recent_fallbacks)
        return recent

    def _count(self, out: Corrected) -> None:
        for index, count in enumerate(np.bincount(out.status, minlength=len(STATUS_NAMES)).tolist()):
            self.counts[STATUS_NAMES[index]] += count
        fallbacks = np.bincount(out.fallback, minlength=len(FALLBACK_NAMES))
        self._recent_fallbacks += fallbacks
        for index, count in enumerate(fallbacks.tolist()):
            name = self.model.method if index == BY_MODEL else FALLBACK_NAMES[index]
            self.fallbacks[name] = self.fallbacks.get(name, 0) + count
        epoch = out.epoch
        keys = zip(epoch.tag.tolist(), epoch.anchor_a.tolist(), epoch.anchor_b.tolist(), strict=True)
        for key, ratio in zip(keys, out.ratio.tolist(), strict=True):
            if ratio == ratio:
                smooth = self.ratios.get(key, ratio)
                self.ratios[key] = smooth + RATIO_GAIN * (ratio - smooth)

"""Traces: what an evaluation keeps of every method, for the metrics and the figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class ErrorTrace:
    """Errors of N scored ranges; the same ranges in the same order for all methods."""

    stamp: np.ndarray  # (N,) [s]
    error: np.ndarray  # (N,) [m] corrected - true
    sigma: np.ndarray  # (N,) [m] predicted standard deviation
    link: np.ndarray  # (N,) int64
    azimuth: np.ndarray  # (N,) [rad] true direction of the anchor in the tag's antenna frame, NaN if none
    distance: np.ndarray  # (N,) [m] true


@dataclass
class PoseTrace:
    """K estimates that have a truth, map frame."""

    stamp: np.ndarray  # (K,) [s]
    position: np.ndarray  # (K, 3) [m]
    truth: np.ndarray  # (K, 3) [m]
    covariance: np.ndarray  # (K, 3, 3) [m^2]
    yaw: np.ndarray  # (K,) [rad]
    yaw_truth: np.ndarray  # (K,) [rad]
    dimensions: int = 3  # 2 where the body moves in a plane

    @property
    def position_error(self) -> np.ndarray:
        """(K, dimensions) [m]."""
        return (self.position - self.truth)[:, : self.dimensions]

    @property
    def yaw_error(self) -> np.ndarray:
        """(K,) [rad], in [-pi, pi)."""
        return (self.yaw - self.yaw_truth + np.pi) % (2.0 * np.pi) - np.pi

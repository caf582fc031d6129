"""The outlier gate: which ranges a moving body can have produced."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

# What became of a range.
ACCEPTED = 0
REJECTED_KINEMATIC = 1  # further from the prediction than the body can have moved
REJECTED_CHI2 = 2  # improbable under the predicted variance
INVALID = 3  # not a finite number, or no distance above zero
NO_GEOMETRY = 4  # no pose to correct at yet: corrected by the affine calibration at the measured range
MOST_DISAGREEING = 0.4  # share of the ranges of a PART that a track may lose to blocked lines of sight
PART = 0.2  # [s] of ranges that are judged together, whether they share a stamp or not
STATUS_NAMES = ("accepted", "rejected_kinematic", "rejected_chi2", "invalid", "no_geometry")


@dataclass(frozen=True, slots=True)
class GateParams:
    """Zhao et al. 2021, section IV-B: the kinematic bound, then a chi-square test."""

    max_speed: float = 3.0  # [m/s]
    max_acceleration: float = 8.0  # [m/s^2]
    noise_sigmas: float = 4.0  # range noise allowed on top of the kinematic bound
    chi2_sigmas: float = 4.0  # sqrt of the chi-square threshold of one range
    reopen_after: float = 1.0  # [s] of too many improbable ranges before the track is given up
    settled_yaw: float = 0.17  # [rad] standard deviation above which nothing is gated: see GateState


@njit(cache=True)
def kinematic_bound(dt, sigma, max_speed, max_acceleration, noise_sigmas):  # type: ignore[no-untyped-def]
    """[m] Largest innovation a body can cause in dt: v dt + a dt^2 / 2 (Zhao et al. 2021), plus noise."""
    return max_speed * dt + 0.5 * max_acceleration * dt * dt + noise_sigmas * sigma


class GateState:
    """Whether the gate is shut, and when to give the track up.

    A gate that shuts before the heading has converged rejects exactly the ranges that would correct it, so it
    stays open until the heading is settled; and once too many ranges of `reopen_after` disagreed, let through
    or not, it is the track that is wrong, not they.

    Attributes:
        doubted: whether they did, by the last PART that was judged.
    """

    def __init__(self, params: GateParams) -> None:
        self.params = params
        self.reset()

    def reset(self) -> None:
        """Forget the track: the gate is open."""
        self._begun = math.nan  # [s] of the present part
        self._agreeing = self._disagreeing = 0  # ranges of it
        self._rejecting_since = math.nan
        self.doubted = False

    def shut(self, yaw_std: float) -> bool:
        """Whether ranges are gated, given the standard deviation of the heading [rad]."""
        return yaw_std < self.params.settled_yaw

    def lost(self, stamp: float, agreeing: int, disagreeing: int) -> bool:
        """Take in the ranges of an epoch; True where too many have disagreed with the track for `reopen_after`.

        Fewer than half are enough: of few anchors, some agree with a wrong place too.
        """
        if not stamp - self._begun < PART:
            if self._disagreeing <= MOST_DISAGREEING * (self._agreeing + self._disagreeing):
                self._rejecting_since = math.nan
            elif math.isnan(self._rejecting_since):
                self._rejecting_since = self._begun
            self.doubted = stamp - self._rejecting_since > self.params.reopen_after
            self._begun, self._agreeing, self._disagreeing = stamp, 0, 0
        self._agreeing += agreeing
        self._disagreeing += disagreeing
        return self.doubted

"""The pose at a stamp, from poses that somebody else publishes."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

SPACING = 0.02  # [s] at least between the two poses: the noise of closer ones is a large velocity


class PoseSource:
    """Extrapolates the newest pose at the velocity and turn rate since one before it.

    Args:
        timeout: [s] after the newest pose from which on there is none.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.reset()

    def reset(self) -> None:
        """Forget all poses."""
        self._poses: list[tuple[float, np.ndarray, Rotation]] = []

    def update(self, stamp: float, position: np.ndarray, quaternion: np.ndarray) -> bool:
        """Take in a pose; False and ignored where it is not finite, no rotation, or not newer."""
        if not (np.isfinite(position).all() and 0.9 < float(np.linalg.norm(quaternion)) < 1.1):
            return False
        if self._poses and stamp <= self._poses[-1][0]:
            return False
        if len(self._poses) == 2 and stamp - self._poses[1][0] < SPACING:
            self._poses.pop()
        self._poses = [*self._poses[-1:], (stamp, np.array(position), Rotation.from_quat(quaternion))]
        return True

    def fresh(self, stamp: float) -> bool:
        """Whether there is a pose young enough for this stamp [s]."""
        return bool(self._poses) and abs(stamp - self._poses[-1][0]) <= self.timeout

    def at(self, stamp: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Position (3,) and rotation (3, 3) at a stamp; None where the newest pose is too old."""
        if not self.fresh(stamp):
            return None
        newest, position, rotation = self._poses[-1]
        if len(self._poses) == 1 or newest - self._poses[0][0] > self.timeout:
            return position, rotation.as_matrix()
        before, previous, turned = self._poses[0]
        share = (stamp - newest) / (newest - before)
        turn = (turned.inv() * rotation).as_rotvec()
        moved = position + share * (position - previous)
        return moved, (rotation * Rotation.from_rotvec(share * turn)).as_matrix()

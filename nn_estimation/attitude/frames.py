"""The world that an orientation is given in: east-north-up, north-east-down or north-west-up, of true north."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.estimator import Attitude

FROM_ENU = {
    "enu": np.eye(3),
    "ned": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]),
    "nwu": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
}


class World:
    """Turns estimates, which are in the east-north-up of magnetic north, into another world.

    Args:
        frame: one of `FROM_ENU`.
        declination: [rad] of magnetic north from true north, positive to the east.
    """

    def __init__(self, frame: str = "enu", declination: float = 0.0) -> None:
        R = FROM_ENU[frame] @ Rotation.from_euler("z", -declination).as_matrix()
        self._R = None if np.array_equal(R, np.eye(3)) else R
        self._quaternion = tuple(Rotation.from_matrix(R).as_quat().tolist())

    def turn(self, attitude: Attitude) -> Attitude:
        """The same attitude in this world, with its covariance about the axes of this world."""
        if self._R is None:
            return attitude
        turned = attitude._replace(values=attitude.values.copy())
        turned.quaternion[:] = _product(self._quaternion, attitude.quaternion)
        turned.covariance[:] = self._R @ attitude.covariance @ self._R.T
        return turned


def roll_pitch_yaw(quaternion: np.ndarray) -> tuple[float, float, float]:
    """[rad] about the fixed axes x, then y, then z, as tf2 has them; at a pitch of 90 deg the roll is of no meaning.

    Args:
        quaternion: (4,) x, y, z, w.
    """
    x, y, z, w = quaternion.tolist()
    return (
        math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x)))),
        math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
    )


def _product(a: tuple[float, ...], b: np.ndarray) -> tuple[float, ...]:
    """(4,) x, y, z, w of the rotation b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b.tolist()
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )

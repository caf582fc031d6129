"""SO(3) in numpy: what scipy's Rotation does not have, for any batch shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

UNIQUE = 1e-12  # of the largest singular value: below it rounding decides which rotation is nearest


class RotationError(ValueError):
    """Numbers that no single rotation is nearest to."""


def project_to_so3(m: ArrayLike) -> np.ndarray:
    """Nearest rotation in the Frobenius norm; Levinson et al. 2020, eq. 3.

    Args:
        m: (..., 3, 3) any matrices whose two smallest singular values do not cancel.

    Returns:
        (..., 3, 3) rotations U diag(1, 1, det(U V^T)) V^T.

    Raises:
        RotationError: where the answer is not unique, s2 + s3 < 1e-12 s1 with s3 negative for det < 0.
    """
    u, s, vt = np.linalg.svd(_finite(m))
    sign = np.linalg.det(u @ vt)
    unclear = s[..., 1] + sign * s[..., 2] <= UNIQUE * s[..., 0]
    if unclear.any():
        raise RotationError(
            f"{np.count_nonzero(unclear)} of {unclear.size} matrices have no nearest rotation, the first with "
            f"singular values {s[unclear][0]} and a determinant of sign {sign[unclear][0]:+.0f}: "
            "the two smallest must not cancel"
        )
    u[..., 2] *= sign[..., None]
    return u @ vt


def from_6d(columns: ArrayLike) -> np.ndarray:
    """Gram-Schmidt of two vectors; Zhou et al. 2019, eq. 15.

    Args:
        columns: (..., 6) the first column of a rotation and then the second, of any length and angle.

    Returns:
        (..., 3, 3) rotations, whose first column points along the first vector.

    Raises:
        RotationError: one of the vectors is zero, or they are parallel.
    """
    columns = _finite(columns)
    a, b = columns[..., :3], columns[..., 3:]
    length, other = np.linalg.norm(a, axis=-1, keepdims=True), np.linalg.norm(b, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = a / length
        y = b - (x * b).sum(axis=-1, keepdims=True) * x
        rest = np.linalg.norm(y, axis=-1, keepdims=True)
        y = y / rest
    unclear = ~((length > 0.0) & (rest > UNIQUE * other))
    if unclear.any():
        at = unclear[..., 0]
        raise RotationError(
            f"{np.count_nonzero(at)} of {at.size} pairs of columns span no plane, the first being "
            f"{a[at][0]} and {b[at][0]}: they must not be zero or parallel"
        )
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def geodesic_distance(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Angle between rotations, to full precision at 0 and pi too.

    Args:
        a: (..., 3, 3) rotations.
        b: (..., 3, 3) rotations; batch shapes broadcast.

    Returns:
        (...) [rad] from 0 to pi.
    """
    between = np.swapaxes(np.asarray(a), -1, -2) @ np.asarray(b)
    twice_sine = np.linalg.norm(
        np.stack([between[..., i, j] - between[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=-1),
        axis=-1,
    )
    return np.arctan2(twice_sine, np.trace(between, axis1=-2, axis2=-1) - 1.0)


def _finite(numbers: ArrayLike) -> np.ndarray:
    array = np.asarray(numbers, dtype=np.float64)
    if not np.isfinite(array).all():
        raise RotationError(f"{np.count_nonzero(~np.isfinite(array))} of {array.size} numbers are not finite")
    return array

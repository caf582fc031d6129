"""The magnetic field carried to the present: a field counts a fixed time after its stamp, turned along by the gyro.

So it does not matter which of two topics arrives first, nor how late a driver is within that time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nn_estimation.filters import orthonormalise, so3_exp_xyz

DELAY = 0.02  # [s] from the stamp of a field to the sample it counts at
LONGEST = 0.25  # [s] between two samples over which the gyro is integrated; in a longer gap nothing is known of turns
CAPACITY = 256  # samples that are remembered: 2 kHz for twice the delay and more


@njit(cache=True)
def turn(ring, stamps, head, stamp, gyro, dt, work):  # type: ignore[no-untyped-def]
    """Remember a sample; the rotation since the first one is integrated by the gyro alone.

    Through a gap it is not known: all samples before are forgotten, so that no field is carried across.

    Args:
        ring: (CAPACITY, 3, 3) rotations; changed.
        stamps: (CAPACITY,) [s], -inf where empty; changed.
        head: index of the sample before.
        stamp: [s].
        gyro: (3,) [rad/s] since the sample before.
        dt: [s] since the sample before.
        work: (3, 3) to work in.

    Returns:
        Index of this sample.
    """
    here = (head + 1) % CAPACITY
    so3_exp_xyz(gyro[0] * dt, gyro[1] * dt, gyro[2] * dt, work)
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += ring[head, i, k] * work[k, j]
            ring[here, i, j] = total
    orthonormalise(ring[here], work)
    if dt > LONGEST:
        stamps[:] = -np.inf
    stamps[here] = stamp
    return here


@njit(cache=True)
def carry(ring, stamps, head, stamp, gyro, field, out, work):  # type: ignore[no-untyped-def]
    """A field (3,) of `stamp` as the sensor would have measured it at the present sample, into out (3,).

    Args:
        ring: see `turn`.
        stamps: see `turn`.
        head: index of the present sample.
        stamp: [s] of the field.
        gyro: (3,) [rad/s] around it.
        field: (3,) any unit.
        out: (3,).
        work: (3, 3) to work in.

    Returns:
        False where the samples of that time are gone; out is left alone.
    """
    at = head
    for _ in range(CAPACITY - 1):
        if stamps[at] <= stamp + 1e-7:
            break
        at = (at - 1) % CAPACITY
    if not stamps[at] <= stamp + 1e-7 or np.isinf(stamps[at]):
        return False
    dt = max(stamp - stamps[at], 0.0)
    so3_exp_xyz(gyro[0] * dt, gyro[1] * dt, gyro[2] * dt, work)
    here, present = ring[at], ring[head]
    x, y, z = _times(work, field[0], field[1], field[2])
    x, y, z = _times(here, x, y, z)
    for i in range(3):
        out[i] = present[0, i] * x + present[1, i] * y + present[2, i] * z
    return True


@njit(cache=True)
def _times(A, x, y, z):  # type: ignore[no-untyped-def]
    return (
        A[0, 0] * x + A[0, 1] * y + A[0, 2] * z,
        A[1, 0] * x + A[1, 1] * y + A[1, 2] * z,
        A[2, 0] * x + A[2, 1] * y + A[2, 2] * z,
    )

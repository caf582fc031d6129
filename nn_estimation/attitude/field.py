"""The magnetic field carried to the present: a field counts a fixed time after its stamp, turned along by the gyro.

So it does not matter which of two topics arrives first, nor how late a driver is within that time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nn_estimation.filters import orthonormalise, so3_exp

DELAY = 0.02  # [s] from the stamp of a field to the sample it counts at
CAPACITY = 256  # samples that are remembered: 2 kHz for twice the delay and more


def empty_ring() -> tuple[np.ndarray, np.ndarray]:
    """Rotations and stamps of no samples, as `turn` takes them; the first stamp is to be set."""
    ring, stamps = np.zeros((CAPACITY, 3, 3)), np.full(CAPACITY, -np.inf)
    ring[0] = np.eye(3)
    return ring, stamps


@njit(cache=True)
def turn(ring, stamps, head, stamp, gyro, dt):  # type: ignore[no-untyped-def]
    """Remember a sample; the rotation since the first one is integrated by the gyro alone.

    Args:
        ring: (CAPACITY, 3, 3) rotations; changed.
        stamps: (CAPACITY,) [s], -inf where empty; changed.
        head: index of the sample before.
        stamp: [s].
        gyro: (3,) [rad/s] since the sample before.
        dt: [s] since the sample before.

    Returns:
        Index of this sample.
    """
    here = (head + 1) % CAPACITY
    step, work = np.empty((3, 3)), np.empty((3, 3))
    so3_exp(gyro * dt, step)
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += ring[head, i, k] * step[k, j]
            ring[here, i, j] = total
    orthonormalise(ring[here], work)
    stamps[here] = stamp
    return here


@njit(cache=True)
def carry(ring, stamps, head, stamp, gyro, field, out):  # type: ignore[no-untyped-def]
    """A field (3,) of `stamp` as the sensor would have measured it at the present sample, into out (3,).

    Args:
        ring: see `turn`.
        stamps: see `turn`.
        head: index of the present sample.
        stamp: [s] of the field.
        gyro: (3,) [rad/s] around it.
        field: (3,) any unit.
        out: (3,).

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
    step = np.empty((3, 3))
    so3_exp(gyro * max(stamp - stamps[at], 0.0), step)
    turned, world = np.zeros(3), np.zeros(3)
    for i in range(3):
        for k in range(3):
            turned[i] += step[i, k] * field[k]
    for i in range(3):
        for k in range(3):
            world[i] += ring[at, i, k] * turned[k]
    for i in range(3):
        out[i] = 0.0
        for k in range(3):
            out[i] += ring[head, k, i] * world[k]
    return True

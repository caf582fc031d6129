"""Whether gravity or the magnetic field turns in the sensor as the gyro says, and which axes would make it do so.

A vector v that stands still in the world moves in a sensor that turns at w by dv/dt = v x w. Over windows of a
quarter of a second that is compared with what v does, in its own axes and in all others that signs and swaps can
make: for axes P, P dv = int (P v) x w dt, so that dv is to be det(P) sum_ji P_ji B_ji, B_ji = (int w_j v dt) x e_i.
Sums of the products of these are all that is kept. P and -P say the same: a vector whose three axes are all flipped
turns as before.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

WINDOW = 0.25  # [s]
MEMORY = 10.0  # [s] time constant of the sums
ENOUGH = 8.0  # windows that are needed to say anything
MOVED = 0.05  # [rad] turned across the vector in a window, root mean square, below which nothing is said
COARSE, SLOW = 0.5, 0.04  # [rad] turned in more than so many [s] between two samples: the trapezoid is wrong
LONGEST = 0.5  # [s] between two samples

# In the memory: the window (int w_j v dt, v at its start, the last v, the angle since, its length), then the sums.
_V, _START, _LAST, _ANGLE, _LONG, _BEGUN = 0, 9, 12, 15, 18, 19
_ENERGY, _COUNT, _SQUARE, _CROSS, _PRODUCT, SUMS = 20, 21, 22, 23, 32, 113


def _signed_permutations() -> np.ndarray:
    """(24, 9) all P with one minus or none, the identity first."""
    found = []
    for order, flipped in itertools.product(itertools.permutations(range(3)), (None, 0, 1, 2)):
        P = np.zeros((3, 3))
        P[range(3), order] = 1.0
        if flipped is not None:
            P[flipped] *= -1.0
        found.append(P.ravel())
    return np.array(found)


AXES = _signed_permutations()
_SIGNS = np.round(np.linalg.det(AXES.reshape(-1, 3, 3)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well a vector turns as the gyro says; agreement is 1 where it does, 0 where it might as well not."""

    agreement: float  # of the axes as they are: 1 - |dv - predicted|^2 / |dv|^2
    scale: float  # of the gyro, by which the prediction would fit best
    correlation: float  # whatever the scale
    best: float  # agreement of the axes that fit best
    axes: str  # those axes: which of its own are x, y and z of the gyro


class Turning:
    """Keeps the sums of one vector.

    Args:
        memory: (SUMS,) zeros to be its memory, which `turn` and `update` change.
    """

    def __init__(self, memory: np.ndarray) -> None:
        self._memory = memory

    def reset(self) -> None:
        """Forget all."""
        self._memory[:] = 0.0

    def update(self, vector: np.ndarray, dt: float) -> None:
        """Take in the vector (3,), dt [s] after the one before."""
        update(self._memory, vector, dt)

    def verdict(self) -> Verdict | None:
        """What the last seconds say; None where it turned too little."""
        agreement, scale, correlation, best, which = _judge(self._memory, AXES, _SIGNS)
        if which < 0:
            return None
        return Verdict(agreement, scale, correlation, best, _named(AXES[which].reshape(3, 3)))


def _named(P: np.ndarray) -> str:
    """Such as y, x, -z."""
    columns = np.abs(P).argmax(axis=1)
    return ", ".join(f"{'-' if P[i, j] < 0.0 else ''}{'xyz'[j]}" for i, j in enumerate(columns))


@njit(cache=True)
def turn(memory, gyro, dt):  # type: ignore[no-untyped-def]
    """Take in a sample of the gyro (3,) [rad/s], dt [s] after the one before, into the memory of a `Turning`."""
    for i in range(3):
        memory[_ANGLE + i] += gyro[i] * dt


@njit(cache=True)
def update(memory, vector, dt):  # type: ignore[no-untyped-def]
    """See `Turning.update`."""
    turned = abs(memory[_ANGLE]) + abs(memory[_ANGLE + 1]) + abs(memory[_ANGLE + 2])
    if memory[_BEGUN] == 0.0 or dt > LONGEST or (dt > SLOW and turned > COARSE):
        memory[_BEGUN] = 1.0
        _begin(memory, vector)
        return
    for j in range(3):
        for i in range(3):
            memory[_V + 3 * j + i] += 0.5 * memory[_ANGLE + j] * (vector[i] + memory[_LAST + i])
    for i in range(3):
        memory[_LAST + i] = vector[i]
        memory[_ANGLE + i] = 0.0
    memory[_LONG] += dt
    if memory[_LONG] < WINDOW - 1e-9:
        return
    B = np.zeros((9, 3))
    for j in range(3):
        for i in range(3):  # V_j x e_i
            i1, i2 = (i + 1) % 3, (i + 2) % 3
            B[3 * j + i, i1] = memory[_V + 3 * j + i2]
            B[3 * j + i, i2] = -memory[_V + 3 * j + i1]
    keep = math.exp(-memory[_LONG] / MEMORY)
    for n in range(_ENERGY, memory.shape[0]):
        memory[n] *= keep
    memory[_COUNT] += 1.0
    for i in range(3):
        moved = vector[i] - memory[_START + i]
        memory[_ENERGY] += moved * moved
        memory[_SQUARE] += vector[i] * vector[i]
        for m in range(9):
            memory[_CROSS + m] += moved * B[m, i]
            for n in range(9):
                memory[_PRODUCT + 9 * m + n] += B[m, i] * B[n, i]
    _begin(memory, vector)


@njit(cache=True)
def _begin(memory, vector):  # type: ignore[no-untyped-def]
    memory[_V : _V + 9] = 0.0
    memory[_LONG] = 0.0
    for i in range(3):
        memory[_START + i] = memory[_LAST + i] = vector[i]
        memory[_ANGLE + i] = 0.0


@njit(cache=True)
def _judge(memory, axes, signs):  # type: ignore[no-untyped-def]
    """Agreement, scale, correlation of the identity, the best agreement, and whose; -1: it moved too little."""
    energy = memory[_ENERGY]
    agreement = scale = correlation = 0.0
    best, which = -np.inf, -1
    if memory[_COUNT] < ENOUGH or energy <= 0.0:
        return agreement, scale, correlation, best, which
    for k in range(axes.shape[0]):
        cross = 0.0
        product = 0.0
        for m in range(9):
            if axes[k, m] == 0.0:
                continue
            cross += axes[k, m] * memory[_CROSS + m]
            for n in range(9):
                product += axes[k, m] * axes[k, n] * memory[_PRODUCT + 9 * m + n]
        cross *= signs[k]
        found = (2.0 * cross - product) / energy
        if k == 0:
            if product <= MOVED * MOVED * memory[_SQUARE]:
                return agreement, scale, correlation, best, which
            agreement, scale = found, cross / product
            correlation = cross / math.sqrt(energy * product)
        if found > best + 1e-9:
            best, which = found, k
    return agreement, scale, correlation, best, which

"""The compiled part of the estimator: the state in one block, a sample into it, and what is published after it."""

from __future__ import annotations

from numba import njit

from nn_estimation.dead_reckoning.filter import SIZE
from nn_estimation.dead_reckoning.output import present
from nn_estimation.dead_reckoning.vehicle import MEMORY, step

_MEMORY = 33 + SIZE * SIZE
BLOCK = _MEMORY + MEMORY


@njit(cache=True)
def parts(block):  # type: ignore[no-untyped-def]
    """Views on the block (BLOCK,) of a state: R, v, p, gyro bias, accelerometer bias, C, lever, P, memory.

    To hand over one array takes a ninth of the time.
    """
    R, C = block[:9].reshape((3, 3)), block[21:30].reshape((3, 3))
    P = block[33:_MEMORY].reshape((SIZE, SIZE))
    return (
        *(R, block[9:12], block[12:15], block[15:18], block[18:21]),
        *(C, block[30:33], P, block[_MEMORY:]),
    )


@njit(cache=True)
def advance(block, gyro, accel, dt, earth, mean, variance, constants, out):  # type: ignore[no-untyped-def]
    """One sample, and what is published after it.

    Args:
        block: see `parts`; changed.
        gyro, accel, dt, earth, mean, variance: see `vehicle.step`.
        constants: see `constants.packed`.
        out: (VALUES,) receives what `output.present` says.

    Returns:
        What `vehicle.step` does.
    """
    R, v, p, gyro_bias, accel_bias, C, lever, P, memory = parts(block)
    c = constants[0]
    nis = step(R, v, p, gyro_bias, accel_bias, C, lever, P, memory, gyro, accel, dt, earth, mean, variance, c)
    present(R, v, p, gyro_bias, P, gyro, dt, c, out)
    return nis


@njit(cache=True)
def current(block, gyro, dt, constants, out):  # type: ignore[no-untyped-def]
    """What is published of a block now; arguments as of `advance`."""
    R, v, p, gyro_bias, _, _, _, P, _ = parts(block)
    present(R, v, p, gyro_bias, P, gyro, dt, constants[0], out)

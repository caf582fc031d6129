"""The low pass of VQF (Laidig & Seel 2023): Butterworth's of second order, which begins with the plain mean."""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True)
def butterworth(tau, interval, out):  # type: ignore[no-untyped-def]
    """Low pass of second order whose step response has the time constant tau; none where that is too short."""
    if tau < 0.5 * interval:
        out[:] = 0.0
        out[0] = 1.0
        return
    c = math.tan(math.sqrt(0.5) * interval / tau)
    d = c * c + math.sqrt(2.0) * c + 1.0
    out[0] = out[2] = c * c / d
    out[1] = 2.0 * out[0]
    out[3] = 2.0 * (c * c - 1.0) / d
    out[4] = (1.0 - math.sqrt(2.0) * c + c * c) / d


@njit(cache=True)
def low_pass(x, tau, interval, c, memory, out):  # type: ignore[no-untyped-def]
    """One value of a low pass c (5,), the mean of all for the first `tau` seconds; x and out (N,) may be one."""
    n = x.shape[0]
    if not math.isnan(memory[0, 0]):
        for i in range(n):
            value = c[0] * x[i] + memory[0, i]
            memory[0, i] = c[1] * x[i] - c[3] * value + memory[1, i]
            memory[1, i] = c[2] * x[i] - c[4] * value
            out[i] = value
        return
    if math.isnan(memory[0, 1]):
        memory[0, 1] = 0.0  # the count; sums are in the second row
        memory[1] = 0.0
    memory[0, 1] += 1.0
    count = memory[0, 1]
    for i in range(n):
        memory[1, i] += x[i]
        out[i] = memory[1, i] / count
    if count * interval >= tau:
        for i in range(n):
            memory[0, i] = out[i] * (1.0 - c[0])
            memory[1, i] = out[i] * (c[2] - c[4])

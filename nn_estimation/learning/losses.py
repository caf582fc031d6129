"""Losses of one sample each: Gaussian and heavy-tailed likelihoods, robust costs.

Every function maps errors (...,) to losses (...,) elementwise; the trainer takes the mean. The likelihoods
are negative logarithms, without the constants that no parameter changes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared(error: Tensor) -> Tensor:
    """Half the squared error, e^2 / 2."""
    return 0.5 * error.square()


def gaussian_nll(error: Tensor, log_variance: Tensor, beta: float = 0.0) -> Tensor:
    """Heteroscedastic Gaussian likelihood, (e^2 exp(-s) + s) / 2 with s = ln(variance).

    Args:
        error: (...,) predicted - true, any unit u.
        log_variance: (...,) natural logarithm of the predicted variance [u^2].
        beta: 0 is the plain likelihood; up to 1 weights a sample by its variance^beta, so that samples
            called noisy early on keep being learned from (Seitzer et al. 2022, eq. 5).

    Returns:
        (...,) loss.
    """
    loss = 0.5 * (error.square() * torch.exp(-log_variance) + log_variance)
    return loss * torch.exp(beta * log_variance.detach()) if beta else loss


def laplace_nll(error: Tensor, log_scale: Tensor) -> Tensor:
    """Laplace likelihood, |e| / b + ln b with log_scale = ln(b) and the unit of `error`; variance 2 b^2."""
    return error.abs() * torch.exp(-log_scale) + log_scale


def student_t_nll(error: Tensor, log_scale: Tensor, dof: float = 4.0) -> Tensor:
    """Student-t likelihood, (v + 1)/2 ln(1 + (e/scale)^2 / v) + ln scale.

    Args:
        error: (...,) predicted - true.
        log_scale: (...,) ln(scale), the unit of `error`; the variance is scale^2 v / (v - 2) for v > 2.
        dof: degrees of freedom v; small ones have heavier tails.
    """
    return 0.5 * (dof + 1.0) * torch.log1p(error.square() * torch.exp(-2.0 * log_scale) / dof) + log_scale


def huber(error: Tensor, scale: float = 1.0) -> Tensor:
    """Quadratic within +-scale [unit of error], linear beyond; Huber 1964."""
    size = error.abs()
    inside = size.clamp(max=scale)
    return inside * (size - 0.5 * inside)


def geman_mcclure(error: Tensor, scale: float = 1.0) -> Tensor:
    """(e^2 / 2) / (1 + (e/scale)^2), bounded by scale^2 / 2: an outlier far away has no pull at all."""
    square = error.square()
    return 0.5 * square / (1.0 + square / scale**2)

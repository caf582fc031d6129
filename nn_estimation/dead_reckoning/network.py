"""The network: how far a vehicle slips now, from how its IMU moves and shakes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

VARIANCE_REACH = 3.0  # e-folds the variance may leave the constant one by: a factor of 20
MEAN_REACH = 0.2  # [m/s]
INPUT_REACH = 4.0  # standard deviations, beyond which an input is cut

FEATURES = (
    *(f"gyro_{axis}_mean_0.5s" for axis in "xyz"),
    *(f"accel_{axis}_mean_0.5s" for axis in "xyz"),
    *(f"{sensor}_{axis}_log_variance_1s" for sensor in ("gyro", "accel") for axis in "xyz"),
    *(f"{sensor}_z_log_variance_5s" for sensor in ("gyro", "accel")),
)


class SlipNetwork(nn.Module):
    """Features in, mean and variance of the lateral and vertical pseudo-measurement out.

    Normalisation and limits are part of it; its last layer is zero at the start, which gives the constants.

    Args:
        centre: (F,) of the features.
        scale: (F,) their standard deviations.
        variance: (2,) [m^2/s^2] constant ones, lateral and vertical.
        hidden: width.
    """

    centre: Tensor
    scale: Tensor
    reach: Tensor

    def __init__(self, centre: ArrayLike, scale: ArrayLike, variance: ArrayLike, hidden: int = 16) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(np.asarray(centre), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(np.asarray(scale), dtype=torch.float32))
        self.register_buffer("reach", torch.tensor([MEAN_REACH] * 2 + [VARIANCE_REACH] * 2))
        self.log_variance = nn.Parameter(torch.tensor(np.asarray(variance), dtype=torch.float32).log())
        self.first = nn.Linear(len(self.centre), hidden)
        self.last = nn.Linear(hidden, 4)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., F) to means (..., 2) [m/s] and variances (..., 2) [m^2/s^2]."""
        x = ((features - self.centre) / self.scale).clamp(-INPUT_REACH, INPUT_REACH)
        out = self.reach * torch.tanh(self.last(torch.tanh(self.first(x))) / self.reach)
        return out[..., :2], (self.log_variance + out[..., 2:]).exp()

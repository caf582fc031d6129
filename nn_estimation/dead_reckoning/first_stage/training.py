"""A first stage of training, without a filter: how far the true slip spreads around what the constants say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nn_estimation.dead_reckoning.calibration import MIN_SPEED, CalibrationError
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.estimator import first_state
from nn_estimation.dead_reckoning.network import SlipNetwork
from nn_estimation.dead_reckoning.through_filter.training import Seen
from nn_estimation.dead_reckoning.vehicle import SMOOTHING, slip_residual
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.losses import gaussian_nll
from nn_estimation.learning.trainer import Trainer, reproducible

ROUNDS = 20  # of centring, which is done in one where no output is near its limit


class _Spread(nn.Module):
    """The network's log-variances, with a level of their own: that of the filter stands for errors that last."""

    def __init__(self, network: SlipNetwork, level: np.ndarray) -> None:
        super().__init__()
        self.network = network
        self.level = nn.Parameter(torch.tensor(level, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, 2)."""
        return self.level + _departure(self.network, features)


def _departure(network: SlipNetwork, features: Tensor) -> Tensor:
    """(..., 2) of the log-variances from the constant ones."""
    return network(features)[1].log() - network.log_variance


def _loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, dict)
    return gaussian_nll(batch["slip"], module(batch["features"])).sum(-1)


def learn_spread(
    network: SlipNetwork, stretches: Sequence[Sequence[Seen]], constants: Constants, config: TrainConfig
) -> None:
    """Train the variances of a network, in place, on the true slip; its means stay.

    Their average over the samples stays that of the constants, which were tuned: errors that last for seconds need a
    larger variance in the filter than they have themselves.

    Args:
        network: starts as the constants.
        stretches: of each recording.
        constants: of the filter.
        config: of the trainer; batch_size counts samples, ten a second.

    Raises:
        CalibrationError: the vehicle hardly moves.
        TrainingError: the loss is not finite.
    """
    found = [_samples(seen, constants) for part in stretches for seen in part]
    features, slip = (np.concatenate(columns) for columns in zip(*found, strict=True))
    if len(slip) < config.batch_size:
        raise CalibrationError(
            f"{len(slip)} samples above {MIN_SPEED} m/s: too few for {config.batch_size} a batch"
        )
    data = {"features": torch.tensor(features).float(), "slip": torch.tensor(slip).float()}
    with reproducible(config.seed):
        module = _Spread(network, np.log(np.mean(slip**2, axis=0) + 1e-9))
        Trainer(module, _loss, config).fit(data)
    with torch.no_grad():
        for _ in range(ROUNDS):
            network.last.bias[2:] -= _departure(network, data["features"]).exp().mean(0).log()


def _samples(seen: Seen, constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """Features (K, F) and lateral and vertical slip (K, 2) [m/s] beyond what the constants explain."""
    slip, speed = true_slip(seen.drive, constants)
    use = seen.usable & seen.drive.scored & (speed > MIN_SPEED)
    return seen.features[use], slip[use]


def true_slip(drive: Drive, constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the true lateral and vertical velocity when slip, squat, mount and lever arm are taken off.

    Returns:
        (N, 2) [m/s], and the speed (N,) [m/s].
    """
    state = first_state(constants, drive.stamp[0], drive.position[0], drive.R[0], drive.velocity[0])
    H, r, zero, forward = np.zeros((2, 21)), np.zeros(2), np.zeros(3), 0.0
    out = np.zeros((len(drive.stamp), 2))
    for n in range(1, len(out)):
        keep = np.exp(-(drive.stamp[n] - drive.stamp[n - 1]) / SMOOTHING)
        forward = keep * forward + (1.0 - keep) * drive.accel[n, 0]
        slip_residual(
            drive.R[n], drive.velocity[n], zero, state.C, state.lever, drive.gyro[n], forward, constants, H, r
        )
        out[n] = -r
    return out, np.linalg.norm(drive.velocity, axis=1)

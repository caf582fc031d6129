"""Clouds turned at random, and the training of one head on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nn_estimation.attitude.heads.clouds import Clouds
from nn_estimation.attitude.heads.network import PointNet
from nn_estimation.attitude.network import QuaternionHead, frobenius_loss
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import Trainer, reproducible
from nn_estimation.rotations import geodesic_distance


@dataclass(frozen=True)
class Effort:
    """What a head is given, all of them the same."""

    epochs: int  # passes over the clouds, each time turned anew
    seeds: tuple[int, ...]  # of the weights, of the order and of the turns
    per_point: tuple[int, ...] = (32, 64, 256)
    behind: tuple[int, ...] = (256, 128)
    points: int = 64  # of each cloud, drawn anew each time
    batch_size: int = 32
    lr: float = 2e-3  # peak of a one-cycle schedule
    turns: int = 10  # of each test cloud


class TurnedClouds:
    """Points drawn from each cloud, turned by a rotation that is uniform on SO(3)."""

    def __init__(self, clouds: Clouds, points: int) -> None:
        self.points = torch.from_numpy(clouds.points)
        offsets = torch.from_numpy(clouds.offsets)
        self.first, self.count = offsets[:-1], offsets.diff()
        self.drawn = points
        self.size = len(clouds)

    def batches(self, batch_size: int, generator: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: (B, N, 3) turned points and (B, 3, 3) rotations; without a generator in one fixed way."""
        generator = generator or torch.Generator().manual_seed(0)
        for chosen in torch.randperm(self.size, generator=generator).split(batch_size):
            share = torch.rand(len(chosen), self.drawn, generator=generator, dtype=torch.float64)
            at = self.first[chosen, None] + (share * self.count[chosen, None]).long()
            rotation = QuaternionHead()(torch.randn(len(chosen), 4, generator=generator))
            yield self.points[at] @ rotation.mT, rotation


def train_head(head: str, clouds: Clouds, effort: Effort, seed: int) -> PointNet:
    """A PointNet with that head, by the squared Frobenius loss."""
    with reproducible(seed):
        module = PointNet(head, effort.per_point, effort.behind)
    config = TrainConfig(
        effort.epochs,
        effort.batch_size,
        lr=effort.lr,
        schedule="one_cycle",
        grad_clip=1.0,
        seed=seed,
    )
    Trainer(module, _loss, config).fit(TurnedClouds(clouds, effort.points))
    return module


def angular_errors(module: nn.Module, clouds: Clouds, effort: Effort) -> np.ndarray:
    """(C * turns,) [rad] geodesic, over clouds in the same turns for every module."""
    source, errors = TurnedClouds(clouds, effort.points), []
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(effort.turns):
            for cloud, rotation in source.batches(256, generator):
                errors.append(geodesic_distance(module(cloud).double().numpy(), rotation.double().numpy()))
    return np.concatenate(errors)


def _loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, tuple)
    cloud, rotation = batch
    return frobenius_loss(module(cloud), rotation)

"""Small data, networks and a loss: what several tests train."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.learning.batches import Batch
from nn_estimation.learning.losses import squared
from nn_estimation.learning.trainer import reproducible


def squared_error(module: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    return squared(module(x)[:, 0] - y)


def linear_data(count: int = 512, noise: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.3 + noise * torch.randn(count, generator=generator)
    return x, y


def network(seed: int = 0) -> nn.Sequential:
    with reproducible(seed):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def linear() -> nn.Linear:
    with reproducible(0):
        return nn.Linear(4, 1)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


ALL_SCHEDULES = ["constant", "step", "cosine", "one_cycle", "plateau"]

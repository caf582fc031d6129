"""The network of the Wahba weights as a model file, without having learned anything: what several tests run."""

import math
from pathlib import Path

import numpy as np
import torch

from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.network import WahbaNetwork
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.learning.export import export

from .trials import MADE, NARROW, SHAPES, WAHBA_CORRELATION


def network(
    correlation: float = WAHBA_CORRELATION, std: float = 0.1, seed: int | None = None
) -> WahbaNetwork:
    """It says the same standard deviation [rad] of every field, or, with a seed, one that its features change."""
    made = WahbaNetwork(np.zeros(len(features.NAMES)), np.full(len(features.NAMES), 3.0), correlation)
    generator = torch.Generator().manual_seed(seed or 0)
    for layer in made.layers[::2]:
        torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.constant_(layer.bias, math.log(std / math.sqrt(2.0)))
    if seed is None:
        torch.nn.init.zeros_(layer.weight)
    return made.eval()


def inputs(count: int, seed: int = 0, near: float = math.pi) -> dict[str, np.ndarray]:
    """Priors anywhere and fields that point at most `near` [rad] from the north they know."""
    rng = np.random.default_rng(seed)
    prior = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    prior *= np.linalg.det(prior)[:, None, None]
    away = rng.uniform(-near, near, count)
    level = 20e-6 * np.column_stack([np.sin(away), np.cos(away)])
    world = np.column_stack([level, rng.uniform(-60e-6, 60e-6, count)])
    return {
        "features": rng.normal(-2.0, 2.0, (count, len(features.NAMES))).astype(np.float32),
        "prior": prior,
        "prior_variance": np.column_stack([rng.uniform(2e-5, 2e-3, count), rng.uniform(2e-4, 5e-2, count)]),
        "field": (prior.mT @ world[..., None])[..., 0],
    }


def write_network(path: Path, module: WahbaNetwork, constants: Constants | None = None) -> Path:
    """A model file whose network speaks whatever the features are."""
    contract = Contract(
        "attitude",
        tuple(TensorSpec(n, NARROW.get(n, "float64"), ("batch", *s)) for n, s in SHAPES.items()),
        tuple(TensorSpec(n, NARROW.get(n, "float64"), ("batch", *s)) for n, s in MADE.items()),
        features.NAMES,
        ((-100.0, 100.0),) * len(features.NAMES),
        {"constants": (constants or Constants())._asdict()},
        {},
        {},
        "CC0-1.0",
        "0",
    )
    example = {name: torch.tensor(value) for name, value in inputs(8).items()}
    return Path(export(module, example, path, contract))

"""How a network is trained: the settings of the trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nn_estimation.configuration import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained; what is trained on which data is said elsewhere.

    The objective of a step is: mean loss of the batch + l1 sum |w| + l2/2 sum w^2 over the penalised
    weights + what `module.regularisation()` returns, where the module has it.
    """

    epochs: int = 100  # passes over the training data
    batch_size: int = 256  # samples a step
    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    lr: float = 1e-3  # learning rate; with one_cycle its peak
    momentum: float = 0.9  # [0, 1); of the momentum optimizer, and Adam's beta1
    schedule: Literal["constant", "step", "cosine", "one_cycle", "plateau"] = "constant"
    step_epochs: int = 30  # step: epochs between two decays
    decay: float = 0.1  # (0, 1); step, plateau: factor on the learning rate
    plateau_epochs: int = 5  # plateau: epochs without improvement before a decay
    warmup: float = 0.3  # (0, 1); one_cycle: share of the run in which the rate rises
    l1: float = 0.0  # weight of sum |w|
    l2: float = 0.0  # weight of sum w^2 / 2
    penalised: tuple[str, ...] = ("*weight*",)  # parameter names (patterns with *) that l1 and l2 act on
    grad_clip: float | None = None  # largest Euclidean norm of the gradient of a step
    patience: int | None = None  # epochs without improvement on validation data before stopping early
    min_improvement: float = 0.0  # decrease of the loss that counts as improvement
    seed: int = 0  # of the batch order, of dropout and of `reproducible`
    device: str = "cpu"  # cpu or cuda[:n]
    threads: int = 1  # of torch, during fit; one is fastest for small networks
    checkpoint_seconds: float = 10.0  # time between two checkpoints, where a checkpoint folder is given

    def __post_init__(self) -> None:
        """Refuse values outside their range, all of them at once.

        Raises:
            ConfigError: with every value outside its range.
        """
        rules = {
            "epochs must be at least 1": self.epochs >= 1,
            "batch_size must be at least 1": self.batch_size >= 1,
            "lr must be positive": 0 < self.lr < math.inf,
            "momentum must be in [0, 1)": 0 <= self.momentum < 1,
            "step_epochs must be at least 1": self.step_epochs >= 1,
            "decay must be in (0, 1)": 0 < self.decay < 1,
            "plateau_epochs must not be negative": self.plateau_epochs >= 0,
            "warmup must be in (0, 1)": 0 < self.warmup < 1,
            "l1 must not be negative": 0 <= self.l1 < math.inf,
            "l2 must not be negative": 0 <= self.l2 < math.inf,
            "grad_clip must be positive or absent": self.grad_clip is None or self.grad_clip > 0,
            "patience must be at least 1 or absent": self.patience is None or self.patience >= 1,
            "min_improvement must not be negative": self.min_improvement >= 0,
            "seed must not be negative": self.seed >= 0,
            "threads must be at least 1": self.threads >= 1,
            "checkpoint_seconds must not be negative": self.checkpoint_seconds >= 0,
        }
        rules.update(
            {
                f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}": getattr(
                    self, name
                )
                in allowed
                for name, allowed in (
                    ("optimizer", ("sgd", "momentum", "adam")),
                    ("schedule", ("constant", "step", "cosine", "one_cycle", "plateau")),
                )
            }
        )
        broken = [rule for rule, kept in rules.items() if not kept]
        if broken:
            raise ConfigError("; ".join(broken))

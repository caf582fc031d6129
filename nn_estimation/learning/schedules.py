"""The optimizer and its learning rate over a run."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn, optim

from nn_estimation.configuration import ConfigError
from nn_estimation.learning.config import TrainConfig


def penalised(module: nn.Module, config: TrainConfig) -> list[nn.Parameter]:
    """The parameters that l1 and l2 act on.

    Raises:
        ConfigError: l1 or l2 is set and a pattern names no parameter.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    for pattern in config.penalised if config.l1 or config.l2 else ():
        if not any(fnmatchcase(name, pattern) for name, _ in named):
            raise ConfigError(
                f"penalised pattern {pattern!r} matches no parameter of {type(module).__name__}; it has "
                + ", ".join(name for name, _ in named)
            )
    return [p for name, p in named if any(fnmatchcase(name, pattern) for pattern in config.penalised)]


def make_optimizer(module: nn.Module, config: TrainConfig) -> optim.Optimizer:
    """SGD, SGD with momentum or Adam, with l2 on the penalised parameters.

    The fused kernels step every parameter in one call; for a network of a few hundred weights they take a
    third of the time of the default ones.
    """
    chosen = {id(p) for p in penalised(module, config)}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in module.parameters() if p.requires_grad and (id(p) in chosen) == inside],
            "weight_decay": decay,
        }
        for inside, decay in ((True, config.l2), (False, 0.0))
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ConfigError(
            f"{type(module).__name__} has no parameter that requires a gradient: nothing to train"
        )
    if config.optimizer == "adam":
        return optim.Adam(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)
    momentum = config.momentum if config.optimizer == "momentum" else 0.0
    return optim.SGD(groups, lr=config.lr, momentum=momentum, fused=True)


class Schedule:
    """The learning rate of every step: one of torch's schedulers, stepped when its kind wants it.

    Cosine and one_cycle move with every step where the steps of an epoch are known beforehand.
    """

    def __init__(self, optimizer: optim.Optimizer, config: TrainConfig, steps_per_epoch: int | None):
        """Without `steps_per_epoch` (a stream that does not know) the rate moves once an epoch."""
        total = config.epochs * (steps_per_epoch or 1)
        schedulers = optim.lr_scheduler
        self._optimizer = optimizer
        self._every_step = steps_per_epoch is not None and config.schedule in ("cosine", "one_cycle")
        self._scheduler: Any = None
        self._needs_loss = config.schedule == "plateau"
        self._left = total  # one_cycle refuses a step beyond its end
        if config.schedule == "step":
            self._scheduler = schedulers.StepLR(optimizer, config.step_epochs, config.decay)
        elif config.schedule == "cosine":
            self._scheduler = schedulers.CosineAnnealingLR(optimizer, total)
        elif config.schedule == "plateau":
            self._scheduler = schedulers.ReduceLROnPlateau(
                optimizer, factor=config.decay, patience=config.plateau_epochs
            )
        elif config.schedule == "one_cycle":
            self._scheduler = schedulers.OneCycleLR(
                optimizer,
                config.lr,
                total_steps=max(total, 2),
                pct_start=config.warmup,
                cycle_momentum=config.optimizer != "sgd",
            )

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Call after every optimizer step."""
        if self._every_step:
            self._advance()

    def after_epoch(self, loss: float) -> None:
        """Call after every epoch with its monitored loss."""
        if self._needs_loss:
            self._scheduler.step(loss)
        elif self._scheduler is not None and not self._every_step:
            self._advance()

    def _advance(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "left": self._left,
            "scheduler": None if self._scheduler is None else self._scheduler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._left = state["left"]
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])


def add_l1_gradient(parameters: Iterable[nn.Parameter], weight: float) -> None:
    """Add the subgradient weight * sign(w) of weight * sum |w| to the gradients in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.add_(parameter.detach().sign(), alpha=weight)

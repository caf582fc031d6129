"""The trainer of all wings: mini-batches, early stopping, checkpoints, equal weights from equal seeds."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nn_estimation.configuration import ConfigError
from nn_estimation.learning.batches import (
    Batch,
    Data,
    InMemory,
    Source,
    as_source,
    length,
    non_finite,
    to_device,
)
from nn_estimation.learning.checkpoint import check_same_run, read_checkpoint, write_checkpoint
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.schedules import Schedule, add_l1_gradient, make_optimizer, penalised

Loss: TypeAlias = Callable[[nn.Module, Batch], Tensor]
"""Loss of a batch: one value a sample, or their mean."""

CHECKPOINT = "checkpoint.pt"


class TrainingError(RuntimeError):
    """A training that cannot go on; the message says where and why."""


@dataclass
class History:
    """What happened, one entry an epoch; losses are those of the data, without penalties."""

    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)  # empty without validation data
    lr: list[float] = field(default_factory=list)  # of the first step of the epoch
    grad_norm: list[float] = field(
        default_factory=list
    )  # mean over steps before clipping; NaN without grad_clip
    best_epoch: int = -1  # of the weights that the module ends with
    stopped_early: bool = False

    @property
    def monitored(self) -> list[float]:
        """Validation loss where there is validation data, training loss otherwise."""
        return self.valid_loss or self.train_loss


@contextmanager
def reproducible(seed: int, threads: int = 1, device: str = "cpu") -> Iterator[None]:
    """Torch with this seed and thread count inside, and as it was found outside.

    The same seed gives the same bits on the same machine and torch version. On CUDA, operations without a
    deterministic implementation warn.
    """
    found_threads = torch.get_num_threads()
    found_deterministic = torch.are_deterministic_algorithms_enabled()
    found_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    on_cuda = device.startswith("cuda")
    devices = [torch.device(device).index or 0] if on_cuda else []
    with torch.random.fork_rng(devices=devices):
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            if on_cuda:
                torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.set_num_threads(found_threads)
            torch.use_deterministic_algorithms(found_deterministic, warn_only=found_warn_only)


class Trainer:
    """Trains one module on one loss.

    Batch order and dropout of an epoch follow from the seed and the number of the epoch alone, which is why
    a training resumed between two epochs ends with the same bits as one never interrupted.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        config: TrainConfig | None = None,
        *,
        checkpoint_dir: str | Path | None = None,
        log_dir: str | Path | None = None,
        progress: bool = False,
    ):
        """A trainer that changes `module` in place.

        Args:
            module: the network; its optional method `regularisation()` is a scalar added to the objective.
            loss: loss(module, batch), one value a sample or their mean; batch is a tuple or dict of tensors.
            config: how to train; default TrainConfig().
            checkpoint_dir: where checkpoint.pt is kept; None keeps none.
            log_dir: where TensorBoard logs go; None writes none.
            progress: whether a progress bar is shown on stderr.
        """
        self.module = module
        self.loss = loss
        self.config = config or TrainConfig()
        self.checkpoint = None if checkpoint_dir is None else Path(checkpoint_dir) / CHECKPOINT
        self.log_dir = log_dir
        self.progress = progress
        self._regularisation: Callable[[], Tensor] | None = getattr(module, "regularisation", None)

    def fit(self, train: Data, valid: Data | None = None, *, resume: bool = False) -> History:
        """Train; the module ends in eval mode with the weights of the best epoch.

        The best epoch is the one with the lowest validation loss; without validation data it is the last.
        Interrupting with Ctrl-C leaves a checkpoint of the last whole epoch.

        Args:
            train: tensors of equal length in a tuple or dict, or a `Source`.
            valid: the same, or None.
            resume: go on from the checkpoint, where there is one.

        Raises:
            TrainingError: a loss or weights that are not finite, no batch, an unusable device.
            CheckpointError: the checkpoint is damaged or of another training.
            ConfigError: settings that do not fit the module or the data.
            DataError: tensors that cannot be cut into batches.
        """
        if valid is None and self.config.patience is not None:
            raise ConfigError("patience needs validation data: give fit(train, valid), or leave patience out")
        device = _device(self.config.device)
        self.module.to(device)
        train_source = _on_device(as_source(train), device)
        valid_source = None if valid is None else _on_device(as_source(valid), device)
        with reproducible(self.config.seed, self.config.threads, self.config.device):
            run = _Run(self, train_source, valid_source, device)
            if resume and self.checkpoint is not None and self.checkpoint.exists():
                run.restore(read_checkpoint(self.checkpoint), self.checkpoint)
            return run.complete()


class _Run:
    """One call of fit: what changes from epoch to epoch."""

    def __init__(self, trainer: Trainer, train: Source, valid: Source | None, device: torch.device):
        config = trainer.config
        self.trainer, self.config, self.module, self.device = trainer, config, trainer.module, device
        self.train, self.valid = train, valid
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.penalised = penalised(self.module, config)
        self.optimizer = make_optimizer(self.module, config)
        steps = None if train.size is None else -(-train.size // config.batch_size)
        self.schedule = Schedule(self.optimizer, config, steps)
        self.history = History()
        self.epoch = 0
        self.best: dict[str, Tensor] | None = None

    def complete(self) -> History:
        path = self.trainer.checkpoint
        last_whole = self.state() if path else None
        written = time.monotonic()
        bar = tqdm(
            total=self.config.epochs, initial=self.epoch, disable=not self.trainer.progress, unit="epoch"
        )
        with bar, _Logger(self.trainer.log_dir, self.epoch) as logger:
            try:
                while self.epoch < self.config.epochs and not self.history.stopped_early:
                    self.run_epoch()
                    last_whole = self.state() if path else None
                    if path and last_whole and time.monotonic() - written >= self.config.checkpoint_seconds:
                        write_checkpoint(path, last_whole)
                        written = time.monotonic()
                    logger.write(self.epoch, self.history)
                    bar.update()
                    bar.set_postfix(_latest(self.history), refresh=False)
            finally:
                if path and last_whole:
                    write_checkpoint(path, last_whole)
        if self.best is not None:
            self.module.load_state_dict(self.best)
        self.module.eval()
        return self.history

    def run_epoch(self) -> None:
        number = self.epoch
        generator = _seed_epoch(self.config.seed, number)
        lr = self.schedule.lr
        train_loss, grad_norm = self.train_epoch(generator)
        history = self.history
        history.train_loss.append(train_loss)
        history.lr.append(lr)
        history.grad_norm.append(grad_norm)
        if self.valid is not None:
            history.valid_loss.append(self.validate())
        monitored = history.monitored
        if not all(bool(torch.isfinite(p).all()) for p in self.parameters):
            raise TrainingError(f"weights are not finite after epoch {number}: {self.way_out()}")
        self.schedule.after_epoch(monitored[-1])
        if self.valid is None:
            history.best_epoch = number
        else:
            best = monitored[history.best_epoch] if history.best_epoch >= 0 else math.inf
            if monitored[-1] < best - self.config.min_improvement:
                history.best_epoch = number
                self.best = _copy(self.module.state_dict())
            patience = self.config.patience
            history.stopped_early = patience is not None and number - history.best_epoch >= patience
        self.epoch = number + 1

    def train_epoch(self, generator: torch.Generator) -> tuple[float, float]:
        """Mean loss of the epoch's samples and mean gradient norm of its steps (NaN where not clipped)."""
        config, optimizer, module = self.config, self.optimizer, self.module
        regularisation = self.trainer._regularisation
        total, norms, samples, steps = 0.0, 0.0, 0, 0
        module.train()
        for batch in self.train.batches(config.batch_size, generator):
            batch = to_device(batch, self.device)
            optimizer.zero_grad()
            loss = self.trainer.loss(module, batch).mean()
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(self.not_finite("training", value, steps, batch))
            objective = loss if regularisation is None else loss + regularisation()
            objective.backward()
            if config.grad_clip is not None:
                norms += float(nn.utils.clip_grad_norm_(self.parameters, config.grad_clip))
            if config.l1:
                add_l1_gradient(self.penalised, config.l1)
            optimizer.step()
            self.schedule.after_step()
            count = length(batch)
            total, samples, steps = total + value * count, samples + count, steps + 1
        if steps == 0:
            raise TrainingError(f"the training data gave no batch in epoch {self.epoch}")
        return total / samples, norms / steps if config.grad_clip is not None else math.nan

    @torch.no_grad()
    def validate(self) -> float:
        assert self.valid is not None
        total, samples = 0.0, 0
        self.module.eval()
        for number, batch in enumerate(self.valid.batches(max(self.config.batch_size, 4096), None)):
            batch = to_device(batch, self.device)
            value = self.trainer.loss(self.module, batch).mean().item()
            if not math.isfinite(value):
                raise TrainingError(self.not_finite("validation", value, number, batch))
            count = length(batch)
            total, samples = total + value * count, samples + count
        if samples == 0:
            raise TrainingError(f"the validation data gave no batch in epoch {self.epoch}")
        return total / samples

    def not_finite(self, kind: str, value: float, number: int, batch: Batch) -> str:
        where = f"{kind} loss is {value} at epoch {self.epoch}, batch {number}"
        bad = non_finite(batch)
        if bad:
            held = ", ".join(f"{name} holds {count}" for name, count in bad.items())
            return f"{where}: the batch has NaN or infinite values ({held}); remove those samples first"
        return f"{where}, with finite inputs: {self.way_out()}"

    def way_out(self) -> str:
        clip = "" if self.config.grad_clip else ", set grad_clip"
        return f"lower lr (now {self.config.lr:g}){clip}, or bound what the loss takes a logarithm or exp of"

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be the same training."""
        open_ended = self.config.schedule in ("constant", "step", "plateau")
        ignored = {"device", "threads", "checkpoint_seconds"} | ({"epochs"} if open_ended else set())
        shapes = {name: list(tensor.shape) for name, tensor in self.module.state_dict().items()}
        return {
            **{name: value for name, value in asdict(self.config).items() if name not in ignored},
            "training samples": self.train.size,
            "validation samples": None if self.valid is None else self.valid.size,
            "weights": shapes,
        }

    def state(self) -> dict[str, Any]:
        """A copy of everything the next epoch depends on, as tensors and plain values."""
        return copy.deepcopy(
            {
                "identity": self.identity(),
                "epoch": self.epoch,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "best": self.best,
                "history": asdict(self.history),
            }
        )

    def restore(self, state: dict[str, Any], path: Path) -> None:
        check_same_run(path, state["identity"], self.identity())
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = state["best"]
        self.history = History(**state["history"])
        self.epoch = state["epoch"]


class _Logger:
    """TensorBoard scalars; nothing, and no import, without a folder."""

    def __init__(self, log_dir: str | Path | None, epoch: int):
        self._writer: Any = None
        if log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(log_dir), purge_step=epoch or None)

    def __enter__(self) -> _Logger:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, epoch: int, history: History) -> None:
        if self._writer is None:
            return
        for tag, series in (
            ("loss/train", history.train_loss),
            ("loss/valid", history.valid_loss),
            ("lr", history.lr),
            ("grad_norm", history.grad_norm),
        ):
            if series and math.isfinite(series[-1]):
                self._writer.add_scalar(tag, series[-1], epoch)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"device {name!r} cannot be used ({str(error).splitlines()[0]}): use device cpu"
        ) from error
    return device


def _on_device(source: Source, device: torch.device) -> Source:
    return source.to(device) if isinstance(source, InMemory) else source


def _seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed what the module draws (dropout), and a generator for the order of the batches."""
    for_module, for_order = np.random.SeedSequence((seed, epoch)).generate_state(2, np.uint64).tolist()
    torch.manual_seed(for_module)
    return torch.Generator().manual_seed(for_order)


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _latest(history: History) -> dict[str, str]:
    values = {
        "train": history.train_loss[-1],
        "valid": history.valid_loss[-1] if history.valid_loss else None,
    }
    return {name: f"{value:.5g}" for name, value in values.items() if value is not None}

"""Training: bags with truth in, one ONNX file with latency, constants and the weights of the fields out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nn_estimation import __version__
from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.model import TASK
from nn_estimation.attitude.network import WahbaNetwork
from nn_estimation.attitude.selection import Chosen, Looks, choose, looks
from nn_estimation.attitude.trial import TrialError, read_trial
from nn_estimation.attitude.tuning import (
    Seen,
    find_latency,
    incline,
    rms,
    scale_tilt,
    see,
    tune,
    tune_trust,
)
from nn_estimation.configuration import ConfigError
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.export import export
from nn_estimation.learning.losses import laplace_nll
from nn_estimation.learning.trainer import Trainer, reproducible

QUANTILES = 0.0005, 0.9995  # of a feature in training, between which it is in range
MARGIN = 0.1  # of that range, beyond which a feature counts as outside
EXAMPLES = 64


def _training() -> TrainConfig:
    return TrainConfig(epochs=60, batch_size=128, lr=1e-2, schedule="one_cycle", l2=1e-4)


@dataclass(frozen=True)
class AttitudeTrainConfig:
    """How a model is made from trials with truth."""

    evaluations: int = (
        0  # of the search for the constants of the inclination filter; 0 keeps those of the package
    )
    groups: tuple[tuple[str, ...], ...] = ()  # patterns of recordings left out together; without, each alone
    licence: str = ""  # of the model
    training: TrainConfig = field(default_factory=_training)

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of its range."""
        if self.evaluations < 0:
            raise ConfigError("evaluations must not be negative")


@dataclass(frozen=True)
class Trained:
    """What a training made."""

    path: Path
    contract: Contract


def train(
    bags: Sequence[str | Path],
    out: str | Path,
    config: AttitudeTrainConfig | None = None,
    *,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: bool = False,
    command: str = "",
) -> Trained:
    """Find latency and constants, train the network, choose how much of it is used, and write the model file.

    What is chosen, is chosen on recordings that the network was not trained on, by the mean and the worst of them.

    Args:
        bags: paths, with IMU, magnetometer and truth.
        out: of the .onnx file.
        config: default AttitudeTrainConfig().
        remap: topic in a bag -> name it is read as.
        truth: topic of the true Odometry.
        say: is told each step, one line.
        progress: whether bars are shown on stderr.
        command: how it was called, for the contract.

    Raises:
        TrialError, BagError: of the bags.
        ConfigError, TrainingError, ExportError: of the training.
    """
    config = config or AttitudeTrainConfig()
    say(f"reading {len(bags)} bags")
    trials = [see(read_trial(bag, remap, truth)) for bag in bags]
    unusable = [s.trial.name for s in trials if not len(s.trial.mag) or s.trial.relative_heading]
    if unusable:
        raise TrialError(
            f"{', '.join(unusable)}: without a magnetometer, or a truth that knows north, there is no heading to "
            "learn; leave them out"
        )
    constants = _inclination(trials, config, say)
    seen = [looks(s, constants) for s in trials]
    groups = _groups([s.trial.name for s in trials], config.groups)
    if len(groups) < 2:
        raise TrialError(f"{len(trials)} recordings in one group: at least two are needed, to leave one out")
    held_out = _left_out(seen, groups, config.training, say)
    chosen = choose(trials, seen, held_out, constants)
    c = chosen.constants
    say(
        f"heading: blend {c.blend:g}, error {chosen.heading_ratio:.2f} of VQF's on recordings left out, worst total "
        f"{chosen.worst_ratio:.2f}"
    )
    module = _fit(seen, config.training, progress)
    module.correlation.fill_(c.correlation)
    contract = Contract(
        task=TASK,
        inputs=(
            TensorSpec("features", "float32", ("batch", len(features.NAMES)), features.UNITS),
            TensorSpec("prior", "float64", ("batch", 3, 3), "", "sensor to world, east north up"),
            TensorSpec("prior_variance", "float64", ("batch", 2), "rad^2"),
            TensorSpec("field", "float64", ("batch", 3), "any", "sensor"),
        ),
        outputs=(
            TensorSpec("rotation", "float64", ("batch", 3, 3), "", "sensor to world, east north up"),
            TensorSpec("covariance", "float64", ("batch", 3, 3), "rad^2", "world"),
            TensorSpec("heading_std", "float32", ("batch",), "rad"),
        ),
        features=features.NAMES,
        valid_range=_valid_range(seen),
        parameters={"constants": c._asdict()},
        training={
            "recordings": [s.trial.name for s in trials],
            "digest": _digest(trials),
            "groups": [[trials[n].trial.name for n in group] for group in groups],
            "config": asdict(config),
            "command": command,
        },
        metrics=_metrics(trials, seen, chosen),
        licence=config.licence,
        package_version=__version__,
    )
    say(f"checking that torch and ONNX Runtime agree, writing {out}")
    return Trained(export(module.eval(), _example(seen), out, contract), contract)


def _inclination(
    trials: Sequence[Seen], config: AttitudeTrainConfig, say: Callable[[str], None]
) -> Constants:
    latency = find_latency(trials)
    say(f"latency of the sensor: {1e3 * latency:.2f} ms")
    constants = tune(trials, Constants(latency=latency), config.evaluations, 1 + config.training.seed, say)
    constants = scale_tilt(trials, tune_trust(trials, constants))
    found = np.degrees(np.mean([rms(incline(s, constants).tilt) for s in trials]))
    peers = np.degrees(np.mean([rms(incline(s, constants, trust=0.0).tilt) for s in trials]))
    say(f"inclination: {found:.3f} deg, VQF carried forward {peers:.3f} deg")
    return constants


def _groups(names: Sequence[str], patterns: Sequence[Sequence[str]]) -> list[list[int]]:
    """Indices of the recordings of each group; a recording that no pattern fits is a group of its own."""
    rest = list(range(len(names)))
    groups = []
    for group in patterns:
        found = [n for n in rest if any(fnmatch(names[n], pattern) for pattern in group)]
        rest = [n for n in rest if n not in found]
        groups += [found] if found else []
    return groups + [[n] for n in rest]


def _left_out(
    seen: Sequence[Looks], groups: Sequence[Sequence[int]], config: TrainConfig, say: Callable[[str], None]
) -> list[np.ndarray]:
    """Laplace scales (L,) [rad] of each trial, by a network that saw no recording of its group."""
    scales: list[np.ndarray] = [np.empty(0)] * len(seen)
    for number, group in enumerate(groups):
        module = _fit([k for n, k in enumerate(seen) if n not in group], config)
        for n in group:
            with torch.no_grad():
                found = module.log_scale(torch.tensor(seen[n].features, dtype=torch.float32))
            scales[n] = np.exp(found.numpy().astype(np.float64))
        say(f"group {number + 1} of {len(groups)} left out")
    return scales


def _fit(seen: Sequence[Looks], config: TrainConfig, progress: bool = False) -> WahbaNetwork:
    """Trained on how far fields were off, every recording with the same weight."""
    x, y, weight = [], [], []
    for k in seen:
        known = np.isfinite(k.error) & k.settled
        x.append(k.features[known])
        y.append(np.abs(k.error[known]))
        weight.append(np.full(int(known.sum()), 1.0 / max(int(known.sum()), 1)))
    features_, weights = np.concatenate(x), np.concatenate(weight)
    data = tuple(
        torch.tensor(column, dtype=torch.float32)
        for column in (features_, np.concatenate(y), weights / weights.mean())
    )
    with reproducible(config.seed, config.threads):
        module = WahbaNetwork(features_.mean(axis=0), np.maximum(features_.std(axis=0), 1e-3))
    Trainer(module, _loss, config, progress=progress).fit(data)
    return module


def _loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(module, WahbaNetwork) and isinstance(batch, tuple)
    found, error, weight = batch
    return weight * laplace_nll(error, module.log_scale(found))


def _valid_range(seen: Sequence[Looks]) -> tuple[tuple[float, float], ...]:
    found = np.concatenate([k.features[k.settled] for k in seen])
    low, high = np.quantile(found, QUANTILES, axis=0)
    room = MARGIN * (high - low) + 1e-6
    return tuple(zip((low - room).tolist(), (high + room).tolist(), strict=True))


def _example(seen: Sequence[Looks]) -> dict[str, Tensor]:
    """Inputs as they come, with priors near the truth and far from it."""
    rng = np.random.default_rng(0)
    found = np.concatenate([k.features[k.settled] for k in seen])
    rows = rng.choice(len(found), EXAMPLES)
    prior = np.linalg.qr(rng.normal(size=(EXAMPLES, 3, 3)))[0]
    prior *= np.linalg.det(prior)[:, None, None]
    variance = np.column_stack([rng.uniform(2e-5, 2e-3, EXAMPLES), rng.uniform(2e-4, 5e-2, EXAMPLES)])
    return {
        "features": torch.tensor(found[rows], dtype=torch.float32),
        "prior": torch.tensor(prior),
        "prior_variance": torch.tensor(variance),
        "field": torch.tensor(rng.normal(scale=4e-5, size=(EXAMPLES, 3))),
    }


def _metrics(trials: Sequence[Seen], seen: Sequence[Looks], chosen: Chosen) -> dict[str, Any]:
    """Mean RMSE [deg] over the training recordings; the heading of the network by recordings left out."""
    c = chosen.constants
    found = {}
    for method, trust, constants in (
        ("vqf", 0.0, c._replace(latency=0.0)),
        ("vqf_latency", 0.0, c),
        ("filter", None, c),
    ):
        inclination = [rms(incline(s, constants, trust).tilt) for s in trials]
        heading = [_heading(s, k) for s, k in zip(trials, seen, strict=True)]
        found[method] = _summary(inclination, heading)
    found["network"] = _summary(inclination, list(chosen.heading_errors))
    return found


def _heading(seen: Seen, k: Looks) -> float:
    error = k.peer_error[seen.trial.scored[k.row]]
    return float(np.sqrt(np.mean(error**2)))


def _summary(inclination: Sequence[float], heading: Sequence[float]) -> dict[str, float]:
    total = [math.hypot(a, b) for a, b in zip(inclination, heading, strict=True)]
    values = {"total_deg": total, "heading_deg": heading, "inclination_deg": inclination}
    return {name: float(np.degrees(np.mean(value))) for name, value in values.items()}


def _digest(trials: Sequence[Seen]) -> str:
    """SHA-256 of the samples."""
    found = hashlib.sha256()
    for seen in trials:
        for column in (seen.trial.stamp, seen.trial.gyro, seen.trial.accel, seen.trial.mag, seen.trial.truth):
            found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()

"""Training a bias model: bags in, one ONNX file with its calibrations, ridge model and network out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nn_estimation import __version__
from nn_estimation.configuration import ConfigError
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.export import export
from nn_estimation.learning.losses import gaussian_nll
from nn_estimation.learning.trainer import Trainer, reproducible
from nn_estimation.uwb.calibration import (
    apply_table,
    fit_table,
    scale_variance,
    summary,
    time_blocks,
    variance_factor,
)
from nn_estimation.uwb.choice import candidates, choose
from nn_estimation.uwb.features import UNITS, FeatureReader
from nn_estimation.uwb.network import BiasNetwork, Links, PlainBias, Scaling, StructuredBias
from nn_estimation.uwb.ridge import RidgeFit
from nn_estimation.uwb.samples import SampleError, Samples, read_samples

TASK, TDOA_TASK = "uwb_bias", "uwb_tdoa_bias"
TABLES = ("raw", "constant", "affine")
MIN_STEPS = 60  # an epoch; small data sets get small batches
MIN_SAMPLES = 200
CORRELATION_TIME = {"raw": 1.0, "constant": 0.14, "affine": 0.08, "ridge": 0.04, "network": 0.038}
MARGIN = 0.02  # of the trained range, beyond which a feature counts as outside
FULL_CIRCLE_BINS = 36
MAX_DISTANCE = 1e3  # [m]


def _training() -> TrainConfig:
    return TrainConfig(epochs=20, batch_size=1024, lr=1e-2, schedule="one_cycle")


@dataclass(frozen=True)
class UwbTrainConfig:
    """How a bias model is made from labelled ranges."""

    # auto chooses by blocked cross-validation among: affine (no features), power, geometry, both; or names.
    features: Literal["auto", "affine", "power", "geometry", "both"] | tuple[str, ...] = "auto"
    network: Literal["structured", "plain"] = "structured"
    hidden: int = 16  # width of the antenna network, or of the plain one
    power_hidden: int = 12  # width of the network of each received power and of the distance
    harmonics: int = 5  # of the azimuth the antenna network sees
    own_harmonics: int = 2  # of the deviation of each tag and anchor
    deviation_l2: float = 1.0  # keeps those deviations small: the less they take, the better a new tag does
    folds: int = 5  # of the cross-validation: recordings where there are as many, else stretches of time
    max_samples: int = 60_000  # evenly drawn in time; neighbouring ranges say the same thing twice
    max_error: float | None = None  # [m] larger raw errors are no measurements of this link
    # [s] by method, for which residuals stay alike: inflates the variance in the filter. What gives position its
    # nominal coverage on lias runs not trained on: the better a model, the whiter its residuals.
    correlation_time: dict[str, float] = field(default_factory=lambda: dict(CORRELATION_TIME))
    licence: str = ""  # of the model; default: that of the data
    training: TrainConfig = field(default_factory=_training)

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of its range."""
        for name in ("hidden", "power_hidden", "harmonics", "own_harmonics", "max_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1")
        if self.own_harmonics > self.harmonics:
            raise ConfigError("own_harmonics must not exceed harmonics")
        if unknown := set(self.correlation_time) - set(CORRELATION_TIME):
            raise ConfigError(f"correlation_time has no {', '.join(unknown)}: {', '.join(CORRELATION_TIME)}")
        if self.folds < 2:
            raise ConfigError("folds must be at least 2")
        if not isinstance(self.features, str) and "distance" not in self.features:
            raise ConfigError("features must hold distance")


@dataclass(frozen=True)
class Trained:
    """What a training made."""

    path: Path
    contract: Contract
    choice: str  # the table by which the features were chosen, empty where they were given


def train(
    bags: Sequence[str | Path],
    out: str | Path,
    config: UwbTrainConfig | None = None,
    *,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    anchors: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: bool = False,
    checkpoint_dir: str | Path | None = None,
    log_dir: str | Path | None = None,
    resume: bool = False,
    command: str = "",
) -> Trained:
    """Train on the scored ranges of bags with truth and write the model file.

    Args:
        bags: paths.
        out: of the .onnx file.
        config: default UwbTrainConfig().
        remap: topic in a bag -> name it is read as.
        truth: topic of the true Odometry.
        anchors: YAML file with the layout; default: that in each bag.
        say: is told each step, one line.
        progress: whether bars are shown on stderr.
        checkpoint_dir: where the last training, on all samples, keeps its checkpoint.
        log_dir: for TensorBoard.
        resume: go on from the checkpoint.
        command: how it was called, for the contract.

    Raises:
        SampleError, BagError, LayoutError: of the bags.
        ConfigError, TrainingError, ExportError: of the training.
    """
    say(f"reading {len(bags)} bags")
    samples = read_samples(bags, remap, truth, anchors)
    return train_on(
        samples,
        out,
        config,
        say=say,
        progress=progress,
        checkpoint_dir=checkpoint_dir,
        log_dir=log_dir,
        resume=resume,
        command=command,
    )


def train_on(
    samples: Samples,
    out: str | Path,
    config: UwbTrainConfig | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    progress: bool = False,
    checkpoint_dir: str | Path | None = None,
    log_dir: str | Path | None = None,
    resume: bool = False,
    command: str = "",
) -> Trained:
    """Train on labelled ranges; see `train`."""
    config = config or UwbTrainConfig()
    digest = _digest(samples)
    if config.max_error is not None:
        samples = samples[np.abs(samples.error) < config.max_error]
    samples = _thinned(samples, config.max_samples)
    names, choice = _features(samples, config, say)
    fit = _Fit(samples, names, config)
    say(f"{len(fit)} ranges of {len(samples.links)} links, features {', '.join(names)}")
    parameters, metrics = fit.calibrate()
    module = fit.network(np.arange(len(fit)))
    say(f"training {sum(p.numel() for p in module.parameters())} parameters, {config.folds} folds and all")
    residual, variance = fit.cross_validate(say)
    factor = variance_factor(residual, variance)
    metrics["network"] = summary(residual, factor * variance)
    trainer = fit.trainer(module, len(fit), checkpoint_dir=checkpoint_dir, log_dir=log_dir, progress=progress)
    trainer.fit(fit.batch(np.arange(len(fit))), resume=resume)
    with torch.no_grad():
        module.log_variance.add_(float(np.log(factor)))
    contract = Contract(
        task=TDOA_TASK if samples.is_tdoa else TASK,
        inputs=(
            TensorSpec("features", "float32", ("batch", len(names)), ", ".join(UNITS[n] for n in names)),
            TensorSpec("link", "int64", ("batch",)),
        ),
        outputs=(
            TensorSpec("bias", "float32", ("batch",), "m"),
            TensorSpec("variance", "float32", ("batch",), "m^2"),
            TensorSpec("gradient", "float32", ("batch", 3), "1, m/rad, m/rad"),
        ),
        features=names,
        valid_range=tuple(
            _valid_range(name, column, module) for name, column in zip(names, fit.features.T, strict=True)
        ),
        parameters=parameters,
        training={
            "recordings": list(samples.recordings),
            "digest": digest,
            "licence": sorted(set(samples.licences)),
            "ranges": len(fit),
            "config": asdict(config),
            "command": command,
        },
        metrics=metrics,
        licence=config.licence or ", ".join(sorted(set(samples.licences))),
        package_version=__version__,
    )
    say(f"checking that torch and ONNX Runtime agree, writing {out}")
    return Trained(export(module, fit.example(), out, contract), contract, choice)


def _features(
    samples: Samples, config: UwbTrainConfig, say: Callable[[str], None]
) -> tuple[tuple[str, ...], str]:
    if not isinstance(config.features, str):
        FeatureReader(config.features)
        return config.features, ""
    sets = candidates(samples)
    if config.features == "auto":
        choice = choose(samples, sets, config.folds)
        say(f"features chosen by blocked cross-validation of the ridge model:\n{choice.table}")
        return sets[choice.name], choice.table
    if config.features not in sets:
        raise ConfigError(
            f"features: {config.features} is not possible with these bags: they allow {', '.join(sets)}"
        )
    return sets[config.features], ""


class _Fit:
    """The samples of a training, and the models fitted to all or part of them."""

    def __init__(self, samples: Samples, names: tuple[str, ...], config: UwbTrainConfig) -> None:
        features = FeatureReader(names).read(samples.geometry, samples.power)
        usable = np.isfinite(features).all(axis=1)
        if usable.sum() < MIN_SAMPLES:
            raise SampleError(
                f"only {int(usable.sum())} ranges have all of {', '.join(names)}, {MIN_SAMPLES} are needed"
            )
        self.samples, self.features, self.names, self.config = (
            samples[usable],
            features[usable],
            names,
            config,
        )
        self.fold = time_blocks(self.samples.stamp, self.samples.recording, config.folds)
        self.links = links_of(samples.links)
        self._tensors = (
            torch.tensor(self.features, dtype=torch.float32),
            torch.tensor(self.samples.link),
            torch.tensor(self.samples.error, dtype=torch.float32),
        )

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        index = torch.tensor(rows)
        return tuple(tensor[index] for tensor in self._tensors)

    def example(self) -> dict[str, Tensor]:
        """Some inputs, links never seen and the last one among them."""
        rows = torch.linspace(0, len(self) - 1, 64).long()
        link = torch.arange(64) % (len(self.links.tag) + 1) - 1
        link[-1] = len(self.links.tag) - 1
        return {"features": self._tensors[0][rows], "link": link}

    def table(self, method: str, rows: np.ndarray) -> dict[str, list[float]]:
        s = self.samples
        return fit_table(method, s.error[rows], s.distance[rows], s.link[rows], len(s.links))

    def calibrate(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of the contract and cross-validated metrics, of all models but the network."""
        s, everything = self.samples, np.arange(len(self))
        parameters: dict[str, Any] = {"links": list(s.links)}
        metrics: dict[str, Any] = {}
        for method in TABLES:
            residual, variance = np.empty(len(self)), np.empty(len(self))
            for number in np.unique(self.fold):
                held = self.fold == number
                table = self.table(method, np.flatnonzero(~held))
                bias, variance[held] = apply_table(table, s.distance[held], s.link[held])
                residual[held] = s.error[held] - bias
            factor = variance_factor(residual, variance)
            parameters[method] = scale_variance(self.table(method, everything), factor)
            metrics[method] = summary(residual, factor * variance)
        fit = RidgeFit(
            self.names, self.links.tag, self.links.anchor, self.features, s.link, s.error, self.fold
        )
        residual, variance = fit.held_out()
        factor = variance_factor(residual, variance)
        ridge = fit.fit()
        ridge.variance *= factor
        parameters["ridge"] = ridge.to_dict()
        metrics["ridge"] = summary(residual, factor * variance)
        parameters["correlation_time"] = {**CORRELATION_TIME, **self.config.correlation_time}
        return parameters, metrics

    def network(self, rows: np.ndarray) -> BiasNetwork:
        """A network at its start: the affine calibration of `rows`."""
        config = self.config
        table = self.table("affine", rows)
        mean = self.features[rows].mean(axis=0)
        std = np.maximum(self.features[rows].std(axis=0), 1e-6)
        arguments = (
            self.names,
            self.links,
            Scaling(tuple(mean.tolist()), tuple(std.tolist())),
            table["offset"][:-1],
            table["slope"][:-1],
            float(np.mean(table["variance"])),
        )
        with reproducible(config.training.seed):
            if config.network == "plain":
                return PlainBias(*arguments, hidden=config.hidden)
            return StructuredBias(
                *arguments,
                hidden=config.hidden,
                power_hidden=config.power_hidden,
                harmonics=config.harmonics,
                own_harmonics=config.own_harmonics,
                deviation_l2=config.deviation_l2,
            )

    def trainer(self, module: nn.Module, count: int, **options: Any) -> Trainer:
        training = self.config.training
        size = min(training.batch_size, max(32, count // MIN_STEPS))
        return Trainer(module, negative_log_likelihood, replace(training, batch_size=size), **options)

    def cross_validate(self, say: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [m] and variances [m^2] (N,) of the network, each fold by a training on the others."""
        residual, variance = np.empty(len(self)), np.empty(len(self))
        for number in np.unique(self.fold):
            kept, held = np.flatnonzero(self.fold != number), np.flatnonzero(self.fold == number)
            module = self.network(kept)
            self.trainer(module, len(kept)).fit(self.batch(kept))
            features, link, error = self.batch(held)
            with torch.no_grad():
                bias, predicted, _ = module(features, link)
            residual[held], variance[held] = (error - bias).numpy(), predicted.numpy()
            rmse = float(np.sqrt(np.mean(residual[held] ** 2)))
            say(f"fold {number + 1}: held-out rmse {rmse:.4f} m")
        return residual, variance


def negative_log_likelihood(module: nn.Module, batch: Batch) -> Tensor:
    """Of a batch (features, link, error)."""
    assert isinstance(batch, tuple)
    features, link, error = batch
    bias, variance, _ = module(features, link)
    return gaussian_nll(bias - error, torch.log(variance))


def links_of(names: Sequence[str]) -> Links:
    """Tag and first anchor of links named tag|anchor or tag|anchorA-anchorB, numbered in the order of names."""
    ends = [(name.split("|")[0], name.split("|")[1].split("-")[0]) for name in names]
    tags, anchors = (
        {end: i for i, end in enumerate(sorted(set(column)))} for column in zip(*ends, strict=True)
    )
    return Links(tuple(tags[t] for t, _ in ends), tuple(anchors[a] for _, a in ends))


def _thinned(samples: Samples, most: int) -> Samples:
    """At most about `most` samples: every k-th stamp of each recording, with all of its links."""
    stride = -(-len(samples) // most)
    if stride == 1:
        return samples
    rank = np.empty(len(samples), dtype=np.int64)
    for number in np.unique(samples.recording):
        mine = samples.recording == number
        rank[mine] = np.unique(samples.stamp[mine], return_inverse=True)[1]
    return samples[rank % stride == 0]


def _valid_range(name: str, column: np.ndarray, module: BiasNetwork) -> tuple[float, float]:
    """The trained range, a little wider; the whole circle where an azimuth went all around.

    What only the affine part reads has no range to leave: the fallback would draw the same line.
    """
    if name in module.affine_only:
        return 0.0, MAX_DISTANCE
    if name.startswith("azimuth"):
        filled = np.histogram(column, FULL_CIRCLE_BINS, (-np.pi, np.pi))[0] > 0
        if filled.all():
            return -3.15, 3.15
    low, high = np.quantile(column, (0.0005, 0.9995))
    margin = MARGIN * (high - low) + 1e-6
    return float(low - margin), float(high + margin)


def _digest(samples: Samples) -> str:
    """SHA-256 of the labelled ranges."""
    digest = hashlib.sha256("\n".join(samples.links).encode())
    for column in (samples.recording, samples.stamp, samples.link, samples.error):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()

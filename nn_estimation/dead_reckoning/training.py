"""Training: bags with truth in, one ONNX file with calibrated, tuned and learned constants out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_estimation import __version__
from nn_estimation.configuration import ConfigError
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.dead_reckoning.calibration import CalibrationError, calibrate, standstill, wheel_speed
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.features import FeatureBank, unit
from nn_estimation.dead_reckoning.first_stage.training import learn_spread
from nn_estimation.dead_reckoning.model import TASK
from nn_estimation.dead_reckoning.network import FEATURES, SlipNetwork
from nn_estimation.dead_reckoning.preintegration import preintegrated
from nn_estimation.dead_reckoning.through_filter.training import Seen, held_out_errors, learn, see
from nn_estimation.dead_reckoning.tuning import LENGTHS, Objective, drift, pooled, tune
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.export import export
from nn_estimation.learning.trainer import reproducible

MIN_SAMPLES = 50  # of a stretch, pre-integrated
QUANTILES = 0.0005, 0.9995  # of a feature in training, between which it is in range
FIRST_STAGE = TrainConfig(epochs=20, batch_size=256, lr=1e-2, schedule="one_cycle", grad_clip=1.0)
MARGIN = 0.1  # of that range, beyond which a feature counts as outside


def _training() -> TrainConfig:
    return TrainConfig(epochs=8, batch_size=16, lr=5e-3, schedule="one_cycle", grad_clip=1.0)


@dataclass(frozen=True)
class DeadReckoningTrainConfig:
    """How a model is made from drives with truth."""

    calibrate: bool = True  # gyro delay, slip and mount by least squares first
    evaluations: int = 600  # of the search for the tuned constants
    caution: float = 1e-3  # [%] weight of the squared distance of tuned from calibrated constants
    folds: int = 4  # of the cross-validation, over recordings; 0 for none
    features: tuple[str, ...] = FEATURES
    hidden: int = 16  # width of the network
    first_stage: int = 0  # epochs in which the network learns the spread of the true slip, before the filter
    chunk: float = 60.0  # [s] over which gradients flow through the filter
    must_gain: float = 0.05  # [%] in cross-validation below which the network's corrections are left out
    licence: str = ""  # of the model
    training: TrainConfig = field(default_factory=_training)

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of its range."""
        if self.folds == 1 or self.folds < 0:
            raise ConfigError("folds must be 0 or at least 2")
        if self.evaluations < 1 or self.hidden < 1 or not self.chunk >= 10.0:
            raise ConfigError("evaluations and hidden must be at least 1, chunk at least 10 s")
        if self.first_stage < 0:
            raise ConfigError("first_stage must not be negative")
        FeatureBank(self.features)


@dataclass(frozen=True)
class Trained:
    """What a training made."""

    path: Path
    contract: Contract


def train(
    bags: Sequence[str | Path],
    out: str | Path,
    config: DeadReckoningTrainConfig | None = None,
    *,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: bool = False,
    command: str = "",
) -> Trained:
    """Calibrate, tune, train through the filter, and write the model file.

    The network's corrections are kept only where cross-validation over recordings says that they reduce t_rel by
    `must_gain`; else the file's network says the tuned constants, and the contract says so.

    Args:
        bags: paths.
        out: of the .onnx file.
        config: default DeadReckoningTrainConfig().
        remap: topic in a bag -> name it is read as.
        truth: topic of the true Odometry.
        say: is told each step, one line.
        progress: whether bars are shown on stderr.
        command: how it was called, for the contract.

    Raises:
        DriveError, BagError: of the bags.
        CalibrationError: too little driving in them.
        ConfigError, TrainingError, ExportError: of the training.
    """
    config = config or DeadReckoningTrainConfig()
    say(f"reading {len(bags)} bags")
    recordings = Recordings([read_drive(bag, remap, truth) for bag in bags], config)
    say(f"{len(recordings)} recordings, {recordings.kilometres:.1f} km")
    metrics: dict[str, Any] = {}
    gain = 0.0
    folds = recordings.folds(config.folds)
    if len(folds) > 1:
        metrics = _cross_validated(folds, config, say)
        gain = metrics["tuned"]["t_rel_percent"] - metrics["network"]["t_rel_percent"]
    everything = recordings.all
    calibrated, tuned = fit_constants(everything, config, say)
    module = first_network(everything, tuned, config)
    constants = tuned
    if gain >= config.must_gain:
        seen = everything.seen(everything.valid_range(tuned, config.features), tuned, config.features)
        constants = learned(module, seen, tuned, config, progress)
    elif len(folds) > 1:
        say(f"cross-validated gain of the network {gain:.3f} %: left out, it says the tuned constants")
    # Stops show in the samples themselves, not in their pre-integrated means that all else was found with.
    stretches = [drive for drives in everything.full for drive in drives]
    extras = {**standstill(stretches, tuned), **wheel_speed(stretches)}
    contract = Contract(
        task=TASK,
        inputs=(
            TensorSpec(
                "features", "float32", ("batch", len(config.features)), _units(config.features), "imu"
            ),
        ),
        outputs=(
            TensorSpec("mean", "float32", ("batch", 2), "m/s", "vehicle"),
            TensorSpec("variance", "float32", ("batch", 2), "m^2/s^2", "vehicle"),
        ),
        features=config.features,
        valid_range=everything.valid_range(tuned, config.features),
        parameters={
            "calibrated": {**calibrated._asdict(), **extras},
            "tuned": {**tuned._asdict(), **extras},
            "network": {**constants._asdict(), **extras},
            "corrections": bool(gain >= config.must_gain),
        },
        training={
            "recordings": [drive.name for drive in recordings.drives],
            "digest": recordings.digest,
            "kilometres": recordings.kilometres,
            "config": asdict(config),
            "command": command,
        },
        metrics=metrics,
        licence=config.licence,
        package_version=__version__,
        rate=recordings.rate,
    )
    say(f"checking that torch and ONNX Runtime agree, writing {out}")
    found = torch.tensor(everything.features(tuned, config.features)[:64], dtype=torch.float32)
    return Trained(export(module.eval(), {"features": found}, out, contract), contract)


@dataclass(frozen=True)
class Part:
    """Some recordings: the stretches without gaps of each, at their own rate and pre-integrated."""

    full: list[list[Drive]]
    reduced: list[list[Drive]]

    def features(self, constants: Constants, names: Sequence[str]) -> np.ndarray:
        """(K, F) settled features of all stretches, ten a second."""
        bank, found = FeatureBank(names), []
        for drives in self.full:
            for d in drives:
                _, features, age = bank.batch(d.stamp, d.gyro, d.accel, constants.longest_step)
                found.append(features[age >= bank.settles])
        return np.concatenate(found)

    def valid_range(self, constants: Constants, names: Sequence[str]) -> tuple[tuple[float, float], ...]:
        """[low, high] of each feature."""
        low, high = np.quantile(self.features(constants, names), QUANTILES, axis=0)
        room = MARGIN * (high - low) + 1e-6
        return tuple(zip((low - room).tolist(), (high + room).tolist(), strict=True))

    def seen(
        self, valid: tuple[tuple[float, float], ...], constants: Constants, names: Sequence[str]
    ) -> list[list[Seen]]:
        """Stretches with what the network sees."""
        bank, bounds = FeatureBank(names), np.array(valid)
        return [
            [see(f, r, bank, constants.longest_step, bounds) for f, r in zip(full, reduced, strict=True)]
            for full, reduced in zip(self.full, self.reduced, strict=True)
        ]


class Recordings:
    """Drives of several recordings, to be cut into parts.

    Raises:
        CalibrationError: no stretch is long enough.
    """

    def __init__(self, drives: Sequence[Drive], config: DeadReckoningTrainConfig) -> None:
        self.drives = list(drives)
        full = [[d for d in drive.without_gaps() if len(d.stamp) > 10 * MIN_SAMPLES] for drive in drives]
        use = [bool(stretches) for stretches in full]
        self.drives = [drive for drive, used in zip(drives, use, strict=True) if used]
        full = [stretches for stretches in full if stretches]
        if not full:
            raise CalibrationError("no bag has a stretch of driving with truth that is long enough")
        self.all = Part(full, [[preintegrated(d) for d in stretches] for stretches in full])
        self._segments = [
            sum(len(drift(d, Constants(), LENGTHS).length) for d in stretches)
            for stretches in self.all.reduced
        ]

    def __len__(self) -> int:
        return len(self.drives)

    @property
    def kilometres(self) -> float:
        """Driven in all."""
        steps = (np.linalg.norm(np.diff(d.position, axis=0), axis=1) for part in self.all.full for d in part)
        return float(sum(np.nansum(step) for step in steps)) * 1e-3

    @property
    def rate(self) -> float:
        """[Hz] median of the IMU."""
        return float(1.0 / np.median([np.median(np.diff(d.stamp)) for part in self.all.full for d in part]))

    @property
    def digest(self) -> str:
        """SHA-256 of the samples."""
        found = hashlib.sha256()
        for drive in self.drives:
            for column in (drive.stamp, drive.gyro, drive.accel, drive.position):
                found.update(np.ascontiguousarray(column).tobytes())
        return found.hexdigest()

    def folds(self, count: int) -> list[tuple[Part, Part]]:
        """(training, held out) of each fold, with as much driving each; fewer where recordings are few."""
        driven = [n for n, segments in enumerate(self._segments) if segments]
        if min(count, len(driven)) < 2:
            return []
        order = np.argsort(self._segments)[::-1]
        fold = np.empty(len(order), dtype=int)
        fold[order] = np.arange(len(order)) % min(count, len(driven))
        return [(self._part(fold != n), self._part(fold == n)) for n in np.unique(fold)]

    def _part(self, use: np.ndarray) -> Part:
        rows = np.flatnonzero(use)
        return Part([self.all.full[n] for n in rows], [self.all.reduced[n] for n in rows])


def fit_constants(
    part: Part, config: DeadReckoningTrainConfig, say: Callable[[str], None]
) -> tuple[Constants, Constants]:
    """Calibrated and tuned constants of some recordings."""
    start = Constants()
    if config.calibrate:
        start = calibrate([d for drives in part.full for d in drives], start)
    tuned = tune(
        Objective(part.reduced),
        start,
        evaluations=config.evaluations,
        seed=1 + config.training.seed,
        caution=config.caution,
    )
    say(f"tuned: {tuned.before:.3f} -> {tuned.objective:.3f} % on what it was tuned on")
    return start, tuned.constants


def first_network(part: Part, constants: Constants, config: DeadReckoningTrainConfig) -> SlipNetwork:
    """A network that says the constants."""
    features = part.features(constants, config.features)
    centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    with reproducible(config.training.seed):
        return SlipNetwork(centre, scale, (constants.lateral, constants.vertical), config.hidden)


def learned(
    module: SlipNetwork,
    seen: Sequence[Sequence[Seen]],
    constants: Constants,
    config: DeadReckoningTrainConfig,
    progress: bool = False,
) -> Constants:
    """Train a network in place, in one stage or two, and the constants along with it."""
    if config.first_stage:
        supervised = replace(FIRST_STAGE, epochs=config.first_stage, seed=config.training.seed)
        learn_spread(module, seen, constants, supervised)
    return learn(module, seen, constants, config.training, config.chunk, progress)


def _cross_validated(
    folds: Sequence[tuple[Part, Part]], config: DeadReckoningTrainConfig, say: Callable[[str], None]
) -> dict[str, Any]:
    """t_rel [%] and r_rel [deg/km] of each method on recordings it has not seen, pooled."""
    errors: dict[str, list[Any]] = {"constant": [], "calibrated": [], "tuned": [], "network": []}
    for number, (kept, held) in enumerate(folds):
        calibrated, tuned = fit_constants(kept, config, lambda _: None)
        module = first_network(kept, tuned, config)
        valid = kept.valid_range(tuned, config.features)
        seen = kept.seen(valid, tuned, config.features)
        constants = learned(module, seen, tuned, config)
        unseen = held.seen(valid, tuned, config.features)
        found = {
            "constant": [drift(d, Constants(), LENGTHS) for part in held.reduced for d in part],
            "calibrated": [drift(d, calibrated, LENGTHS) for part in held.reduced for d in part],
            "tuned": [drift(d, tuned, LENGTHS) for part in held.reduced for d in part],
            "network": held_out_errors(module, unseen, constants),
        }
        for method, of_fold in found.items():
            errors[method] += of_fold
        rows = ", ".join(f"{m} {pooled(e).t_rel_percent:.3f}" for m, e in found.items())
        say(f"fold {number + 1} of {len(folds)}, t_rel [%] on recordings left out: {rows}")
    return {
        method: {
            "t_rel_percent": pooled(found).t_rel_percent,
            "r_rel_deg_per_km": pooled(found).r_rel_deg_per_km,
        }
        for method, found in errors.items()
    }


def _units(names: Sequence[str]) -> str:
    return ", ".join(unit(name) for name in names)

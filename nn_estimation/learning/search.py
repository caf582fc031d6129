"""Grid search with k-fold cross-validation, for samples that know each other: blocks in time, groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import GroupKFold, KFold, ParameterGrid
from torch import nn
from tqdm import tqdm

from nn_estimation.configuration import ConfigError
from nn_estimation.learning.batches import Batch, length, take
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import Loss, Trainer, TrainingError, reproducible

Fold: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Indices of the training samples and of the validation samples."""

Score: TypeAlias = Callable[[dict[str, Any], np.ndarray, np.ndarray], float]
"""score(parameters, training indices, validation indices): lower is better."""

Rule: TypeAlias = Literal["minimum", "one_standard_error"]


@dataclass(frozen=True)
class Trial:
    """One point of the grid."""

    parameters: dict[str, Any]
    scores: tuple[float, ...]  # one a fold; inf where the training failed

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation over the folds (n - 1); NaN where a fold failed."""
        return float(np.std(self.scores, ddof=1)) if math.isfinite(self.mean) else math.nan

    @property
    def standard_error(self) -> float:
        """Of the mean over the folds."""
        return self.std / math.sqrt(len(self.scores))


@dataclass(frozen=True)
class SearchResult:
    """All trials in the order of the grid, and the one chosen."""

    trials: tuple[Trial, ...]
    chosen: Trial

    def table(self) -> str:
        """Trials from best to worst, one a line: parameters, mean, std over folds, every fold."""
        names = list(self.chosen.parameters)
        header = ["", *names, "mean", "std", "folds"]
        rows = [
            [
                "*" if trial is self.chosen else "",
                *(str(trial.parameters[name]) for name in names),
                f"{trial.mean:.5g}",
                f"{trial.std:.2g}",
                " ".join(f"{score:.5g}" for score in trial.scores),
            ]
            for trial in sorted(self.trials, key=lambda t: t.mean)
        ]
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in (header, *rows)
        )
        return "\n".join(line.rstrip() for line in lines)


def block_folds(count: int, folds: int, *, gap: int = 0) -> list[Fold]:
    """Contiguous blocks of samples in time order, each once the validation data.

    Neighbours in time share their noise: shuffled folds would score how well it is memorised.

    Args:
        count: number of samples.
        folds: number of blocks.
        gap: samples next to the validation block that are left out of training, on both sides; about the
            correlation time of the noise times the rate.

    Raises:
        ValueError: fewer samples than folds, or a gap that leaves a fold without training data.
    """
    result = []
    for train, valid in KFold(folds).split(np.empty(count)):
        train = train[(train < valid[0] - gap) | (train > valid[-1] + gap)]
        if len(train) == 0:
            raise ValueError(
                f"a gap of {gap} leaves nothing to train on among {count} samples in {folds} folds"
            )
        result.append((train, valid))
    return result


def group_folds(groups: Sequence[Any] | np.ndarray, folds: int | None = None) -> list[Fold]:
    """Whole groups (recordings, tags, heights) are held out; no group is on both sides.

    Args:
        groups: (N,) label of every sample.
        folds: number of folds; default leaves one group out at a time.

    Raises:
        ValueError: fewer groups than folds, or a single group.
    """
    labels = np.asarray(groups)
    count = len(np.unique(labels)) if folds is None else folds
    return list(GroupKFold(count).split(np.empty(len(labels)), groups=labels))


def grid_search(
    score: Score,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    folds: Sequence[Fold],
    *,
    rule: Rule = "minimum",
    complexity: Callable[[dict[str, Any]], float] | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> SearchResult:
    """Score every point of the grid on every fold and choose one.

    Args:
        score: lower is better. A TrainingError or a value that is not finite counts as inf.
        grid: values by parameter name, or a list of such grids (scikit-learn's ParameterGrid).
        folds: of `block_folds`, `group_folds`, or any pairs of index arrays.
        rule: minimum takes the lowest mean; one_standard_error the least complex point whose mean is within
            one standard error of the lowest (Breiman et al. 1984), which differences between folds do
            not tell from it.
        complexity: of a point, for one_standard_error; lower is simpler.
        jobs: processes; `score` must be picklable by cloudpickle for more than one.
        progress: whether a progress bar is shown on stderr.

    Raises:
        ValueError: an empty grid, no folds, or one_standard_error with fewer than two folds or no complexity.
        TrainingError: every point failed.
    """
    points = list(ParameterGrid(grid))
    if not points or not folds:
        raise ValueError(
            f"nothing to search: the grid has {len(points)} points and there are {len(folds)} folds"
        )
    if rule == "one_standard_error" and (complexity is None or len(folds) < 2):
        raise ValueError(
            "one_standard_error needs complexity=, which ranks the points, and at least two folds"
        )
    tasks = [(point, train, valid) for point in points for train, valid in folds]
    results = Parallel(n_jobs=jobs, return_as="generator")(delayed(_score)(score, *task) for task in tasks)
    scores = list(tqdm(results, total=len(tasks), disable=not progress, unit="fit"))
    size = len(folds)
    trials = tuple(Trial(p, tuple(scores[i * size : (i + 1) * size])) for i, p in enumerate(points))
    best = min(trials, key=lambda trial: trial.mean)
    if not math.isfinite(best.mean):
        raise TrainingError(f"none of the {len(points)} points of the grid could be trained on every fold")
    if rule == "one_standard_error" and complexity is not None:
        within = [trial for trial in trials if trial.mean <= best.mean + best.standard_error]
        best = min(within, key=lambda trial: (complexity(trial.parameters), trial.mean))
    return SearchResult(trials, best)


def training_score(
    build: Callable[..., nn.Module],
    loss: Loss,
    data: Batch,
    config: TrainConfig,
    *,
    score: Loss | None = None,
) -> Score:
    """A score that trains: parameters named as fields of TrainConfig replace those, others go to `build`.

    Args:
        build: build(**parameters) makes the module; it is seeded with config.seed.
        loss: what is minimised on the training samples of a fold.
        data: all samples, in memory. The validation samples of a fold only score: patience is not used.
        config: the settings that are not searched.
        score: what is reported on the validation samples; default the loss.
    """
    count = length(data)
    settings = {field.name for field in dataclasses.fields(TrainConfig)}

    def train_and_score(parameters: dict[str, Any], train: np.ndarray, valid: np.ndarray) -> float:
        if max(train.max(), valid.max()) >= count:
            raise ConfigError(f"the folds index samples beyond the {count} of the data")
        replaced = {name: value for name, value in parameters.items() if name in settings}
        rest = {name: value for name, value in parameters.items() if name not in settings}
        run = dataclasses.replace(config, patience=None, **replaced)
        with reproducible(run.seed, run.threads, run.device):
            module = build(**rest)
        Trainer(module, loss, run).fit(take(data, torch.as_tensor(train)))
        held_out = take(data, torch.as_tensor(valid))
        with torch.no_grad():
            return (score or loss)(module.cpu(), held_out).mean().item()

    return train_and_score


def _score(score: Score, parameters: dict[str, Any], train: np.ndarray, valid: np.ndarray) -> float:
    try:
        value = float(score(parameters, train, valid))
    except TrainingError:
        return math.inf
    return value if math.isfinite(value) else math.inf

# ruff: noqa: E402
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.search import (
    SearchResult,
    block_folds,
    grid_search,
    group_folds,
    training_score,
)
from nn_estimation.learning.trainer import TrainingError

FOLDS = block_folds(30, 5)


@given(st.integers(20, 200), st.integers(2, 6), st.integers(0, 5))
def test_blocks_are_contiguous_cover_everything_and_keep_their_distance(
    count: int, folds: int, gap: int
) -> None:
    blocks = block_folds(count, folds, gap=gap)
    assert np.concatenate([valid for _, valid in blocks]).tolist() == list(range(count))
    for train, valid in blocks:
        assert (np.diff(valid) == 1).all()
        distance = np.abs(train[:, None] - valid[None, :]).min(axis=1)
        assert distance.min() == gap + 1
        assert len(train) >= count - len(valid) - 2 * gap


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=60), st.integers(2, 4))
def test_no_group_is_on_both_sides_of_a_fold(groups: list[str], folds: int) -> None:
    groups += "abcd"[:folds]
    labels = np.array(groups)
    held_out: set[str] = set()
    for train, valid in group_folds(groups, folds):
        assert not set(labels[train]) & set(labels[valid])
        held_out |= set(labels[valid])
    assert held_out == set(groups)
    assert len(group_folds(groups)) == len(set(groups))


def test_a_gap_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="a gap of 9 leaves nothing to train on among 10 samples in 2 folds"):
        block_folds(10, 2, gap=9)


def test_the_lowest_mean_is_chosen_among_all_points() -> None:
    result = grid_search(
        lambda p, *_: (p["a"] - 2) ** 2 + (p["b"] - 1) ** 2, {"a": [1, 2, 3], "b": [0, 1]}, FOLDS
    )
    assert result.chosen.parameters == {"a": 2, "b": 1}
    assert len(result.trials) == 6
    assert result.chosen.scores == (0.0,) * 5


def noisy(parameters: dict, train: np.ndarray, valid: np.ndarray) -> float:
    fold = valid[0] // 6
    offset = {1: 0.02, 2: 0.0, 3: -0.01, 0: 1.0}[parameters["size"]]
    return 1.0 + 0.1 * fold + offset


def test_one_standard_error_prefers_the_simpler_of_equals() -> None:
    grid = {"size": [0, 1, 2, 3]}
    assert grid_search(noisy, grid, FOLDS).chosen.parameters == {"size": 3}
    result = grid_search(noisy, grid, FOLDS, rule="one_standard_error", complexity=lambda p: p["size"])
    assert result.chosen.parameters == {"size": 1}
    assert result.chosen.standard_error == pytest.approx(
        np.std([0, 0.1, 0.2, 0.3, 0.4], ddof=1) / math.sqrt(5)
    )


def test_a_point_whose_training_fails_loses_and_is_shown() -> None:
    def score(parameters: dict, *_: np.ndarray) -> float:
        if parameters["lr"] > 1:
            raise TrainingError("loss is nan")
        return math.nan if parameters["lr"] == 1 else 0.5

    result = grid_search(score, {"lr": [0.1, 1, 10]}, FOLDS)
    assert [trial.mean for trial in result.trials] == [0.5, math.inf, math.inf]
    assert result.chosen.parameters == {"lr": 0.1}
    assert "inf" in result.table()
    with pytest.raises(TrainingError, match="none of the 2 points"):
        grid_search(score, {"lr": [1, 10]}, FOLDS)


def test_the_table_is_sorted_and_marks_the_chosen() -> None:
    result = grid_search(
        noisy, {"size": [0, 1, 3]}, FOLDS, rule="one_standard_error", complexity=lambda p: p["size"]
    )
    lines = result.table().splitlines()
    assert lines[0].split() == ["size", "mean", "std", "folds"]
    assert [line.lstrip("* ").split()[0] for line in lines[1:]] == ["3", "1", "0"]
    assert [line.startswith("*") for line in lines[1:]] == [False, True, False]


def test_several_processes_give_the_same_result() -> None:
    one, two = (grid_search(noisy, {"size": [0, 1, 2, 3]}, FOLDS, jobs=jobs) for jobs in (1, 2))
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": {"a": []}}, "0 points|non-empty|empty"),
        ({"folds": []}, "there are 0 folds"),
        ({"rule": "one_standard_error"}, "needs complexity="),
    ],
)
def test_a_search_without_points_folds_or_order_is_refused(arguments: dict, message: str) -> None:
    defaults = {"grid": {"a": [1]}, "folds": FOLDS}
    with pytest.raises(ValueError, match=message):
        grid_search(lambda *_: 0.0, **{**defaults, **arguments})


def loss(module: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    return (module(x)[:, 0] - y).square()


def search_for_features(by_group: bool) -> SearchResult:
    """Twelve recordings, each with an offset and columns (a room, a day) that only tell which one it is."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(600) // 50
    x = torch.randn(600, 1, generator=generator)
    y = x[:, 0] ** 2 + torch.randn(12, generator=generator)[group]
    data = (torch.cat([x, x**2, torch.randn(12, 6, generator=generator)[group]], dim=1), y)

    class Columns(nn.Module):
        def __init__(self, columns: int):
            super().__init__()
            self.columns = columns
            self.linear = nn.Linear(columns, 1)

        def forward(self, features: Tensor) -> Tensor:
            return self.linear(features[:, : self.columns])

    config = TrainConfig(60, 500, lr=0.1, schedule="one_cycle")
    folds = group_folds(group.numpy() if by_group else np.arange(600) % 6, 6)
    score = training_score(Columns, loss, data, config)
    return grid_search(score, {"columns": [1, 2, 8], "l2": [0.0, 1.0]}, folds)


def test_the_search_finds_the_right_features_when_groups_are_held_out() -> None:
    assert search_for_features(by_group=True).chosen.parameters == {"columns": 2, "l2": 0.0}


def test_folds_that_mix_groups_would_have_chosen_to_memorise_them() -> None:
    assert search_for_features(by_group=False).chosen.parameters == {"columns": 8, "l2": 0.0}

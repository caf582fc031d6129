"""Claims about the yardstick."""

import numpy as np
import pytest

from nn_estimation.yardstick import HEADER, Yardstick, clock, fixed_work


def test_quantiles_are_those_of_what_was_added() -> None:
    yardstick, seconds = Yardstick(), np.linspace(1e-5, 2e-4, 101)
    for each in seconds:
        yardstick.add(each)
    assert len(yardstick) == 101
    assert yardstick.quantiles()[:2] == pytest.approx(np.quantile(seconds, (0.5, 0.99)))


def test_the_fixed_work_is_timed_after_each_and_nothing_else_is() -> None:
    yardstick = Yardstick()
    begin = clock()
    for _ in range(500):
        yardstick.add(0.0)
    passed = clock() - begin
    p50, p99 = yardstick.quantiles()[2:]
    assert 1e-6 < p50 <= p99 < passed
    assert 250 * p50 < passed  # half of them took p50 or longer


def test_the_fixed_work_is_always_the_same() -> None:
    assert fixed_work() == fixed_work() != 0.0


def test_columns_stand_below_their_names() -> None:
    yardstick = Yardstick()
    yardstick.add(123.4e-6)
    row = yardstick.row()
    assert row.split()[:2] == ["123", "123"]
    assert len(row) == len(HEADER.removesuffix(" [us]"))

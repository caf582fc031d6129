"""Claims about the yardstick."""

import numpy as np
import pytest

from nn_estimation.yardstick import HEADER, Yardstick


def test_quantiles_are_those_of_what_was_added() -> None:
    yardstick = Yardstick(5e-6)
    seconds = np.linspace(1e-5, 2e-4, 101)
    for each in seconds:
        yardstick.add(each)
    assert len(yardstick) == 101
    assert yardstick.quantiles()[:2] == pytest.approx(np.quantile(seconds, (0.5, 0.99)))


def test_the_loop_is_as_long_as_it_is_asked_to_be() -> None:
    """At its fastest, and twice as much or half as much where the clock of the core changes."""
    for length in (2e-5, 2e-4):
        yardstick = Yardstick(length)
        for _ in range(300):
            yardstick.add(0.0)
        fastest = min(yardstick._fixed)
        assert length / 3.0 < fastest < 3.0 * length
        assert fastest <= yardstick.quantiles()[2] <= yardstick.quantiles()[3]


def test_columns_stand_below_their_names() -> None:
    yardstick = Yardstick(5e-6)
    yardstick.add(123.4e-6)
    row = yardstick.row()
    assert row.split()[:2] == ["123", "123"]
    assert len(row) == len(HEADER.removesuffix(" [us]"))

"""Claims about the pace: at most the rate that is asked for, as evenly as the stamps allow."""

import numpy as np
import pytest

from nn_estimation.pace import Pace


@pytest.mark.parametrize("rate", [1.0, 20.0, 60.0, 99.0])
def test_the_rate_is_kept_to_a_sample(rate: float) -> None:
    pace = Pace(rate)
    due = [n for n in range(1000) if pace.due(100.0 + 0.01 * n, 0.01)]
    assert len(due) == pytest.approx(10.0 * rate, abs=1.5)
    assert np.ptp(np.diff(due)) <= 1


def test_without_a_rate_everything_is_due() -> None:
    assert all(Pace(0.0).due(t, 0.01) for t in (1.0, 1.01, 1.01, 0.5))


def test_after_a_gap_nothing_is_made_up_for() -> None:
    pace = Pace(10.0)
    assert pace.due(1.0, 0.0) and pace.due(9.0, 8.0)
    assert not pace.due(9.05, 0.05)


def test_after_a_reset_the_next_one_is_due_though_time_ran_back() -> None:
    pace = Pace(1.0)
    assert pace.due(100.0, 0.0) and not pace.due(100.1, 0.1)
    pace.reset()
    assert pace.due(5.0, 0.0)

"""Claims about aiding: in time or late it counts the same, behind a gate that reopens."""

import numpy as np
import pytest

from nn_estimation.dead_reckoning.aiding import (
    ACCEPTED,
    AHEAD,
    HISTORY,
    REFUSED,
    REJOINED,
    TOO_LATE,
    Aided,
)
from nn_estimation.dead_reckoning.measurements import Aid, Known, Speed

from .scene import ACCEL, DT, GYRO, SPEED, WIDE, stamp, started, true_pose

NOISE = 0.04 * np.eye(3)


def position_at(t: float, offset: float = 0.0) -> Aid:
    return Aid(t, position=Known(true_pose(t)[0] + np.array([offset, 0.0, 0.0]), NOISE))


def driven(aided: Aided, first: int, last: int) -> None:
    for n in range(first, last):
        assert aided.update(stamp(n), GYRO, ACCEL) is not None


def listening() -> Aided:
    aided = Aided(started())
    for name in ("fix", "wheels"):
        aided.source(name)
    return aided


def test_a_late_measurement_counts_as_one_in_time() -> None:
    measured = {
        10: ("fix", position_at(stamp(10) + 0.004, 0.3)),
        37: ("wheels", Speed(stamp(37), 10.2, 0.01)),
    }
    measured[52] = ("fix", position_at(stamp(52), 0.3))
    in_time, late, shuffled = listening(), listening(), listening()
    for n in range(1, 100):
        in_time.update(stamp(n), GYRO, ACCEL)
        late.update(stamp(n), GYRO, ACCEL)
        shuffled.update(stamp(n), GYRO, ACCEL)
        if n in measured:
            in_time.measure(*measured[n])
    for n in (10, 37, 52):
        late.measure(*measured[n])
    for n in (52, 10, 37):
        shuffled.measure(*measured[n])
    present = in_time.estimator.state
    assert present is not None
    assert in_time.source("fix").counts[ACCEPTED] == 2
    for other in (late.estimator.state, shuffled.estimator.state):
        assert other is not None
        for a, b in zip(present.arrays(), other.arrays(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)


def test_a_measurement_ahead_of_the_samples_waits_for_them() -> None:
    ahead, behind = listening(), listening()
    driven(ahead, 1, 50)
    ahead.measure("fix", position_at(stamp(55), 0.3))
    assert ahead.source("fix").counts[ACCEPTED] == 0
    driven(ahead, 50, 60)
    assert ahead.source("fix").counts[ACCEPTED] == 1
    driven(behind, 1, 60)
    behind.measure("fix", position_at(stamp(55), 0.3))
    assert ahead.estimator.state is not None and behind.estimator.state is not None
    np.testing.assert_allclose(ahead.estimator.state.p, behind.estimator.state.p, atol=1e-9)


def test_too_late_and_far_ahead_are_counted_and_change_nothing() -> None:
    aided = listening()
    driven(aided, 1, 300)
    assert aided.estimator.state is not None
    before = aided.estimator.state.p.copy()
    aided.measure("fix", position_at(stamp(299) - HISTORY - 0.1))
    aided.measure("fix", position_at(stamp(299) + HISTORY + 0.1))
    counts = aided.source("fix").counts
    assert (counts[TOO_LATE], counts[AHEAD]) == (1, 1)
    np.testing.assert_array_equal(aided.estimator.state.p, before)


def test_a_jump_of_100_m_is_refused_and_believed_once_it_insists() -> None:
    aided = listening()
    reached = []
    for n in range(1, 2000):
        estimate = aided.update(stamp(n), GYRO, ACCEL)
        if n % 10 == 0:
            aided.measure("fix", position_at(stamp(n), 100.0 if n > 500 else 0.0))
        assert estimate is not None
        reached.append(np.linalg.norm(estimate.position - true_pose(stamp(n))[0]))
        assert np.linalg.eigvalsh(estimate.covariance).min() > 0.0
    source = aided.source("fix")
    # Refused for five seconds, believed then and ever after.
    assert 45 <= source.counts[REFUSED] <= 55
    assert source.counts[REJOINED] == 1
    assert max(reached[:990]) < 1.0
    assert reached[-1] == pytest.approx(100.0, abs=1.0)


def test_a_source_that_jumps_about_is_never_believed() -> None:
    aided = listening()
    rng = np.random.default_rng(0)
    for n in range(1, 2000):
        aided.update(stamp(n), GYRO, ACCEL)
        if n % 10 == 0:
            aided.measure("fix", position_at(stamp(n), rng.uniform(50.0, 500.0)))
    assert aided.source("fix").counts[REJOINED] == aided.source("fix").counts[ACCEPTED] == 0


def test_a_source_that_comes_back_after_an_outage_is_believed_at_once() -> None:
    aided = listening()
    slightly_wrong = GYRO + np.array([0.0, 0.0, 5e-4])
    for n in range(1, 6000):
        aided.update(stamp(n), slightly_wrong, ACCEL)
        if n % 10 == 0 and not 1000 < n < 4000:
            aided.measure("fix", position_at(stamp(n)))
    counts = aided.source("fix").counts
    assert counts[ACCEPTED] > 290 and counts[REFUSED] == 0
    assert aided.estimator.state is not None
    assert np.linalg.norm(aided.estimator.state.p - true_pose(stamp(5999))[0]) < 0.5


def test_wheel_speed_holds_the_speed_that_an_accelerometer_bias_would_change() -> None:
    biased = np.array([0.2, 0.0, 0.0])
    errors = {}
    for wheels in (False, True):
        aided = listening()
        for n in range(1, 1000):
            aided.update(stamp(n), GYRO, ACCEL + biased)
            if wheels and n % 5 == 0:
                aided.measure("wheels", Speed(stamp(n), SPEED, 0.01))
        assert aided.estimator.state is not None
        errors[wheels] = abs(np.linalg.norm(aided.estimator.state.v) - SPEED)
    assert errors[True] < 0.05 < errors[False]


def test_the_speed_of_the_wheels_is_scaled() -> None:
    aided = Aided(started(WIDE._replace(speed_scale=0.5)))
    aided.source("wheels")
    for n in range(1, 300):
        aided.update(stamp(n), GYRO, ACCEL)
        aided.measure("wheels", Speed(stamp(n), 2.0 * SPEED, 0.01))
    assert aided.source("wheels").counts[REFUSED] == 0


def test_history_is_bounded() -> None:
    aided = listening()
    fast = DT / 10
    for n in range(1, 12000):
        aided.update(stamp(0) + n * fast, GYRO, ACCEL)
        if n % 100 == 0:
            aided.measure("fix", position_at(stamp(0) + n * fast - 0.3))
    history = aided._history
    assert aided.source("fix").counts[ACCEPTED] > 110
    assert len(history._states) < 200 and len(history._taken) < 20

"""The gate: bounds of the motion, and when it gives a track up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn_estimation.uwb.gate import GateParams, GateState, kinematic_bound

positive = st.floats(0.0, 10.0)


@given(positive, positive, positive, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_no_body_within_the_limits_moves_further_than_the_bound(
    dt: float, speed: float, acceleration: float, share_v: float, share_a: float
) -> None:
    moved = share_v * speed * dt + 0.5 * share_a * acceleration * dt**2
    assert moved <= kinematic_bound(dt, 0.0, speed, acceleration, 4.0) + 1e-9


@given(positive, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_bound_grows_with_time_and_noise(dt: float, sigma: float, more: float) -> None:
    assert kinematic_bound(dt + more, sigma + more, 3.0, 8.0, 4.0) >= kinematic_bound(
        dt, sigma, 3.0, 8.0, 4.0
    )


def test_the_gate_stays_open_until_the_heading_is_settled() -> None:
    gate = GateState(GateParams(settled_yaw=0.2))
    assert not gate.shut(0.3)
    assert gate.shut(0.1)


def test_a_second_of_mostly_rejected_ranges_is_a_lost_track() -> None:
    gate = GateState(GateParams(reopen_after=1.0))
    lost = [gate.lost(stamp, 2, 14) for stamp in np.arange(0.0, 1.5, 0.1)]
    assert lost.index(True) == pytest.approx(11, abs=1)


def test_a_moment_of_good_ranges_saves_the_track() -> None:
    gate = GateState(GateParams(reopen_after=1.0))
    assert not any(
        gate.lost(stamp, *(16, 0) if i in (8, 9, 10) else (2, 14))
        for i, stamp in enumerate(np.arange(0, 1.8, 0.1))
    )


def test_ranges_with_a_stamp_each_are_judged_together() -> None:
    """One of eight fits by chance: that is no moment of good ranges."""
    gate = GateState(GateParams(reopen_after=1.0))
    stamps = np.arange(0.0, 1.5, 0.01)
    lost = [gate.lost(stamp, *(1, 0) if i % 8 == 0 else (0, 1)) for i, stamp in enumerate(stamps)]
    assert stamps[lost.index(True)] == pytest.approx(1.1, abs=0.15)


def test_a_reset_forgets_the_rejections() -> None:
    gate = GateState(GateParams(reopen_after=1.0))
    gate.lost(0.0, 0, 8)
    gate.reset()
    assert not gate.lost(5.0, 0, 8)

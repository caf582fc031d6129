"""Diagnostics speak of now: of what lasts, and of the last seconds."""

import pytest

pytest.importorskip("diagnostic_msgs")

from nn_estimation.ros.diagnostics import OK, WARN, Diagnostics, Latency, Status

P50, P99 = "p50 [us/range]", "p99 [us/range]"


class Clock:
    """A steady clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(latency: Latency, clock: Clock, seconds: float, call: float, rate: int = 50) -> Status:
    """Calls of one range at a rate, then the status."""
    for _ in range(int(seconds * rate)):
        clock.now += 1.0 / rate
        latency.add(call, 1)
    return latency.status()


def test_a_slow_start_is_a_warning_until_it_is_ten_seconds_ago() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    assert run(latency, clock, 2.0, 5e-3).level == WARN
    assert run(latency, clock, 5.0, 50e-6).level == WARN
    status = run(latency, clock, 5.5, 50e-6)
    assert status.level == OK
    assert (status.values[P50], status.values[P99]) == pytest.approx((50.0, 50.0))


def test_slowness_that_comes_later_is_a_warning() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    assert run(latency, clock, 60.0, 50e-6).level == OK
    status = run(latency, clock, 1.0, 5e-3)
    assert status.level == WARN
    assert status.values[P99] == pytest.approx(5000.0)


def test_more_calls_than_are_kept_leave_the_newest() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    run(latency, clock, 1.0, 5e-3, rate=1000)
    assert run(latency, clock, 3.0, 50e-6, rate=1000).level == OK


def test_a_time_is_a_range_s_share_of_its_call() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    clock.now += 1.0
    latency.add(800e-6, 8)
    assert latency.status().values[P50] == pytest.approx(100.0)


def test_calls_that_finish_nothing_count_in_the_next_that_does() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    clock.now += 1.0
    for items in (0, 0, 0, 8):
        latency.add(200e-6, items)
    assert latency.status().values[P50] == pytest.approx(100.0)


def test_a_problem_of_one_report_is_not_said_and_one_of_two_is() -> None:
    """Reports come every second or a little earlier."""
    clock, said = Clock(), []
    diagnostics = Diagnostics("node", "", lambda level, text: said.append(text), clock)
    levels = []
    for level in (OK, WARN, OK, OK, WARN, WARN, OK, OK):
        clock.now += 0.98
        levels.append(diagnostics.array([Status("input", level, "bad")]).status[0].level)
    assert levels == [OK, OK, OK, OK, OK, WARN, WARN, OK]
    assert said == ["input: bad"]


def test_nothing_measured_is_no_latency() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    run(latency, clock, 1.0, 5e-3)
    clock.now += 11.0
    status = latency.status()
    assert (status.level, status.values[P99]) == (OK, 0.0)


def test_a_reset_forgets_all_measurements() -> None:
    clock = Clock()
    latency = Latency(100e-6, clock=clock)
    run(latency, clock, 1.0, 5e-3)
    latency.reset()
    clock.now += 1.0
    assert latency.status().level == OK

"""Claims about the stream: bad input of all kinds."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nn_estimation.bags import BagReader
from nn_estimation.datasets.registry import import_set
from nn_estimation.dead_reckoning.aiding import Aided
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.measurements import Aid, Known
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import FIX_TOPIC, IMU_TOPIC, ODOMETRY_TOPIC, WHEEL_TOPIC
from nn_estimation.imu_stream import INVALID_SAMPLE, INVALID_STAMP, JUMP, LATE, MALFORMED

from .scene import ACCEL, BEGIN, DT, GYRO, SPEED, imu, imu_at, odometry, stamp, true_pose
from .streams import SIDEWAYS, aspect, fix_at, run, running, stream, twist


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_counted_and_bridged(value: float) -> None:
    found = running()
    for n in (100, 101):
        assert found.feed(IMU_TOPIC, imu(n, np.array([0.0, value, 0.0]))) is None
        assert found.feed(IMU_TOPIC, imu(n, GYRO, np.array([value, 0.0, GRAVITY]))) is None
    estimate = found.feed(IMU_TOPIC, imu(102))
    assert found.counts[INVALID_SAMPLE] == 4
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(102))[0], atol=0.05)
    for _ in range(2):  # reports; what is in one alone is never said
        assert "4 with invalid sample" in aspect(found, "input")[0]
    assert "invalid" not in aspect(found, "input")[0]


@pytest.mark.parametrize("value", [5e3, 1e30, 1e200])
def test_one_sample_that_no_imu_measures_is_counted_and_bridged(value: float) -> None:
    """A bit that tipped over: no gap and no start comes of it, and no fault is seen in the means."""
    found = running()
    assert found.feed(IMU_TOPIC, imu(100, GYRO, ACCEL + np.array([value, 0.0, 0.0]))) is None
    assert found.feed(IMU_TOPIC, imu(101, GYRO - np.array([0.0, 0.0, value]))) is None
    estimates = run(found, 102, 700)
    assert all(estimate is not None for estimate in estimates)
    assert found.counts[INVALID_SAMPLE] == 2
    assert aspect(found, "signals")[0] == ""
    assert estimates[0] is not None
    np.testing.assert_allclose(estimates[0].position, true_pose(stamp(102))[0], atol=0.05)


def test_a_gyro_in_degrees_is_named_though_its_fastest_turns_are_no_samples() -> None:
    found = stream(aiding="odometry")
    for n in range(900):
        found.feed(IMU_TOPIC, imu(n, np.array([0.0, 0.0, 120.0 if n % 300 < 100 else 60.0])))
    assert "in deg/s" in aspect(found, "signals")[0]
    assert found.counts[INVALID_SAMPLE] == 300


def test_repeated_and_backward_stamps_are_left_out() -> None:
    found = running()
    before = found.estimator.estimate()
    assert found.feed(IMU_TOPIC, imu(99)) is None
    assert found.feed(IMU_TOPIC, imu(60)) is None
    after = found.estimator.estimate()
    assert found.counts[LATE] == 2
    assert before is not None and after is not None
    np.testing.assert_array_equal(before.position, after.position)


def test_a_bag_that_loops_starts_over() -> None:
    found = running()
    run(found, 100, 300)
    assert found.feed(IMU_TOPIC, imu(0)) is None
    assert found.counts[JUMP] == 1
    found.feed(ODOMETRY_TOPIC, odometry(stamp(1)))
    estimate = found.feed(IMU_TOPIC, imu(1))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(1))[0], atol=0.05)


def test_a_gap_of_a_second_is_bridged_with_a_covariance_that_says_so() -> None:
    found = running()
    before = found.estimator.estimate()
    estimate = found.feed(IMU_TOPIC, imu(200))
    assert before is not None and estimate is not None
    assert np.trace(estimate.covariance[:3, :3]) > 10 * np.trace(before.covariance[:3, :3])
    error = np.linalg.norm(estimate.position - true_pose(stamp(200))[0])
    assert error < 3.0 * np.sqrt(np.trace(estimate.covariance[:3, :3]))


def test_a_gap_costs_the_same_however_far_from_the_origin() -> None:
    """A vehicle that turned in the gap turned where it was; a fix then says little of the heading."""
    noise = np.eye(3)
    found = []
    for away in (0.0, 5000.0):
        estimator = DeadReckoning(Constants())
        aided = Aided(estimator)
        aided.source(FIX_TOPIC)
        estimator.start(0.0, np.array([away, away, 0.0]), noise, np.array([SPEED, 0.0, 0.0]))
        level = np.array([0.0, 0.0, GRAVITY])
        for n in range(1, 101):
            aided.update(n * DT, np.zeros(3), level)
        after = aided.update(2.0, np.zeros(3), level)
        assert after is not None
        aided.measure(FIX_TOPIC, Aid(2.0, Known(after.position + np.array([0.0, 1.5, 0.0]), noise)))
        corrected = estimator.estimate()
        assert corrected is not None
        found.append((after.covariance, corrected.covariance, corrected.velocity))
    for near, far in zip(*found, strict=True):
        np.testing.assert_allclose(near, far, rtol=1e-5, atol=1e-5)
    gap, fixed, _ = found[0]
    assert np.sqrt(np.diag(gap)[:3]).max() < 3.5
    assert np.sqrt(fixed[5, 5]) > 0.2


def test_a_gap_of_an_hour_ends_the_estimate_until_there_is_a_start() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.0)) is None
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.01)) is None
    assert "waits for" in aspect(found, "estimate")[0]
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN + 3600.02))
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.02)) is not None


def test_a_start_by_parameters_does_not_come_back_after_a_gap_but_after_a_reset() -> None:
    found = stream(start=Start())
    assert any(e is not None for e in run(found, 0, 100))
    assert all(found.feed(IMU_TOPIC, imu_at(BEGIN + 100.0 + n * DT)) is None for n in range(100))
    found.reset()
    assert any(found.feed(IMU_TOPIC, imu_at(BEGIN + 102.0 + n * DT)) is not None for n in range(100))


def test_malformed_messages_and_zero_stamps_are_counted() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, b"\x00\x01\x00\x00") is None
    assert found.feed(ODOMETRY_TOPIC, b"") is None
    assert found.feed(IMU_TOPIC, imu_at(0.0)) is None
    assert (found.counts[MALFORMED], found.counts[INVALID_STAMP]) == (2, 1)


@pytest.mark.parametrize("wrong", ["g", "deg/s", "axes"])
def test_wrong_units_and_axes_are_named_and_nothing_is_published(wrong: str) -> None:
    change: dict[str, Callable[[int], bytes]] = {
        "g": lambda n: imu(n, GYRO, ACCEL / 9.80665),
        "deg/s": lambda n: imu(n, np.degrees(GYRO), ACCEL),
        "axes": lambda n: imu(n, GYRO, ACCEL[[2, 0, 1]]),
    }
    found = stream(aiding="odometry")
    for n in range(600):
        if n % 10 == 0:
            found.feed(ODOMETRY_TOPIC, odometry(stamp(n)))
        estimate = found.feed(IMU_TOPIC, change[wrong](n))
    assert estimate is None
    problem, _ = aspect(found, "signals")
    assert {"g": "in g", "deg/s": "deg/s", "axes": "axes are swapped"}[wrong] in problem
    assert "nothing is published" in problem


def test_an_imu_in_g_never_starts() -> None:
    found = stream(start=Start())
    assert all(found.feed(IMU_TOPIC, imu(n, GYRO, ACCEL / 9.80665)) is None for n in range(300))


def test_a_fault_that_is_gone_is_not_what_it_waits_for() -> None:
    found = stream()
    assert "waits for a start" in aspect(found, "estimate")[0]
    for n in range(700):
        found.feed(IMU_TOPIC, imu(n, GYRO, ACCEL / 9.80665))
    assert "is in g" in aspect(found, "estimate")[0]
    run(found, 700, 3000)
    assert aspect(found, "signals")[0] == ""
    assert "waits for a start" in aspect(found, "estimate")[0]


def test_a_saturated_axis_is_left_out_and_counted() -> None:
    found = running()
    clipped = np.array([0.0, 0.0, 4.36])
    out = [found.feed(IMU_TOPIC, imu(n, clipped)) for n in range(100, 110)]
    assert [e is None for e in out] == [False, False] + 8 * [True]
    assert found.checks.saturated == 8
    assert found.feed(IMU_TOPIC, imu(110)) is not None


def test_a_body_that_slides_sideways_is_noticed() -> None:
    found = running()
    for n in range(100, 1500):
        sideways = 15.0 * math.sin(0.02 * n)
        found.feed(IMU_TOPIC, imu(n, GYRO, ACCEL + np.array([0.0, sideways, 0.0])))
    problem, _ = aspect(found, "signals")
    assert "moves as no vehicle does" in problem


def test_odometry_that_is_flagged_unknown_or_no_number_is_not_used() -> None:
    found = running()
    bad = odometry(stamp(100), np.array([math.nan, 0.0, 0.0]))
    found.feed(ODOMETRY_TOPIC, bad)
    assert found.counts["odometry: invalid number"] == 1
    before = found.aided.source(ODOMETRY_TOPIC).counts.copy()
    found.feed(ODOMETRY_TOPIC, odometry(stamp(100), variance=1e6))
    assert found.aided.source(ODOMETRY_TOPIC).counts == before


def test_a_fix_without_a_fix_is_counted() -> None:
    found = stream(aiding="fix")
    found.feed(FIX_TOPIC, fix_at(BEGIN, status=-1))
    assert found.counts["fix: no fix"] == 1


def test_dead_reckoning_after_an_outage_is_said() -> None:
    found = running()
    run(found, 100, 500)
    assert "dead reckoning for 5 s: odometry is not heard" in aspect(found, "aiding")[0]


def test_wheel_speed_is_used_where_it_is_asked_for() -> None:
    found = stream(aiding="odometry", wheel_speed=True)
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    for n in range(100):
        found.feed(WHEEL_TOPIC, twist(stamp(n), np.array([SPEED, 0.0, 0.0])))
        found.feed(IMU_TOPIC, imu(n))
    assert found.aided.source(WHEEL_TOPIC).counts["accepted"] > 90
    assert WHEEL_TOPIC not in stream().topics


def test_a_drone_is_noticed_by_its_axes_or_by_its_innovations(data_root: Path, tmp_path: Path) -> None:
    ((_, bag),) = import_set("euroc", data_root / "euroc_imu", tmp_path, "V102")
    for mounting, words in (
        ((0.0, 0.0, 0.0), "gravity is measured along +x"),
        (SIDEWAYS, "moves as no vehicle"),
    ):
        found = stream(start=Start(), mounting=mounting)
        problems = ""
        with BagReader(bag) as reader:
            for topic, ns, data in reader.raw([IMU_TOPIC]):
                found.feed(topic, data)
                if ns * 1e-9 > reader.start + 30.0:
                    break
                problems += aspect(found, "signals")[0]
        assert words in problems

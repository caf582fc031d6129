"""Claims about the estimator: that it holds still, starts soon, does not mind how it sits, and owns up to gaps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.batch import Track, track
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.estimator import Attitude, AttitudeEstimator
from nn_estimation.attitude.kernel import UNKNOWN_HEADING
from nn_estimation.attitude.model import Setup, classical_setup
from nn_estimation.attitude.trial import Trial
from nn_estimation.metrics import attitude_errors

from .handled import handled
from .scene import BEGIN, FIELD, GRAVITY, Motion, at_rest, turned_by_hand
from .trials import trial

FILTER, VQF = classical_setup("filter"), classical_setup("vqf")
UP = np.array([0.0, 0.0, GRAVITY])


def tracked(t: Trial, setup: Setup = FILTER) -> Track:
    return track(setup, t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag)


def without_field(t: Trial) -> Trial:
    return replace(t, mag_stamp=np.empty(0), mag=np.empty((0, 3)))


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) [deg] between attitudes (N, 4)."""
    return np.degrees((Rotation.from_quat(a) * Rotation.from_quat(b).inv()).magnitude())


def lying(seconds: float, rate: float = 100.0, bias: float = 0.0087, seed: int = 0) -> Trial:
    """A sensor that lies still, with half a degree a second of bias on every axis, and no magnetometer."""
    rng, rest = np.random.default_rng(seed), at_rest(seconds, rate)
    shape = rest.gyro.shape
    gyro = bias * np.array([1.0, -1.0, 1.0]) + 0.002 * rng.standard_normal(shape)
    accel = rest.accel + 0.02 * rng.standard_normal(shape)
    truth = rest.truth.as_quat()
    return Trial(
        "rest", rest.stamp, gyro, accel, np.empty(0), np.empty((0, 3)), truth, np.ones(len(truth), bool)
    )


def running(rate: float = 100.0) -> AttitudeEstimator:
    """One that lies still for four seconds, and knows north."""
    estimator = AttitudeEstimator(FILTER)
    assert fed(estimator, at_rest(4.0, rate))[-1] is not None
    return estimator


def fed(
    estimator: AttitudeEstimator, motion: Motion, after: float = 0.0, field: bool = True
) -> list[Attitude | None]:
    """Samples of a motion whose stamps are `after` [s] later."""
    out = []
    for n, stamp in enumerate(motion.stamp + after):
        if field:
            estimator.magnetic(stamp, motion.field[n])
        out.append(estimator.update(stamp, motion.gyro[n], motion.accel[n]))
    return out


# What it holds


@pytest.mark.parametrize("setup", [FILTER, VQF], ids=["filter", "vqf"])
def test_it_holds_still_for_ten_minutes_without_a_magnetometer(setup: Setup) -> None:
    """Once it knows that it is at rest, and so what the bias of the gyro is: within ten seconds."""
    t = lying(600.0)
    found = tracked(t, setup)
    settled = found.stamp > found.stamp[0] + 10.0
    assert found.rest[settled].all()
    errors = attitude_errors(found.quaternion[settled], t.truth[settled])
    heading = np.degrees(np.unwrap(errors.heading))
    assert np.ptp(heading) < 0.5
    assert np.degrees(np.abs(errors.tilt)).max() < 0.3
    np.testing.assert_allclose(found.gyro_bias[-1], [0.0087, -0.0087, 0.0087], atol=5e-4)


def test_the_filter_leans_less_than_vqf_where_the_sensor_is_not_quite_calibrated() -> None:
    errors = {}
    for setup in (FILTER, VQF):
        found = []
        for seed in range(3):
            t = handled(seed, duration=60.0, scale=0.006, misalignment=0.006, accel_bias=0.01)
            tilt = attitude_errors(tracked(t, setup).quaternion[t.scored], t.truth[t.scored]).tilt
            found.append(math.sqrt(np.mean(np.sum(tilt**2, axis=1))))
        errors[setup.method] = float(np.degrees(np.mean(found)))
    assert errors["filter"] < 0.9 * errors["vqf"] and errors["vqf"] < 2.0


def test_the_filter_is_trusted_more_the_worse_the_gyro_is_calibrated() -> None:
    perfect, bad = (handled(1, duration=40.0, scale=e, misalignment=e) for e in (0.0, 0.02))
    assert tracked(bad).trust[2000:].mean() > tracked(perfect).trust[2000:].mean() + 0.1


def test_the_filter_is_trusted_less_where_the_body_does_not_stay_in_its_place() -> None:
    """A car that gains 2 m/s^2 for 15 s leans it no more than VQF, which averages over three seconds."""
    rest = lying(60.0, bias=0.0)
    accel = rest.accel.copy()
    accel[3000:4500, 0] += 2.0
    driven = replace(rest, accel=accel)
    found = tracked(driven)
    assert found.trust[3100:3500].mean() < 0.3 * found.trust[2000:3000].mean()
    tilt, peers = (
        np.abs(attitude_errors(tracked(driven, setup).quaternion, driven.truth).tilt).max()
        for setup in (FILTER, VQF)
    )
    assert tilt < 1.1 * peers


def test_a_second_of_free_fall_does_not_lean_it() -> None:
    """A throw: nothing is felt, and it tumbles by 3 rad/s."""
    rate, n = 200.0, 1200
    turn = np.zeros((n, 3))
    turn[800:1000] = [2.0, 1.5, -1.5]
    truth = [Rotation.from_euler("x", 20.0, degrees=True)]
    for step in Rotation.from_rotvec(turn[1:] / rate):
        truth.append(truth[-1] * step)
    rotation, rng = Rotation.concatenate(truth), np.random.default_rng(0)
    accel = rotation.inv().apply(UP)
    accel[800:1000] = 0.0
    accel += 0.02 * rng.standard_normal((n, 3))
    stamp = BEGIN + np.arange(n) / rate
    t = Trial(
        "throw",
        stamp,
        turn + 0.002 * rng.standard_normal((n, 3)),
        accel,
        stamp,
        rotation.inv().apply(FIELD),
        rotation.as_quat(),
        np.ones(n, bool),
    )
    off = between(tracked(t).quaternion, t.truth)
    assert off[800:].max() < off[700:800].max() + 0.5


# How it sits and what it is fed


@pytest.mark.parametrize("seed", range(3))
def test_how_the_sensor_sits_does_not_count(seed: int) -> None:
    t, mounting = trial(seconds=15.0), Rotation.random(random_state=seed)
    back = mounting.inv()
    turned = replace(t, gyro=back.apply(t.gyro), accel=back.apply(t.accel), mag=back.apply(t.mag))
    plain, other = tracked(t), tracked(turned)
    same = (Rotation.from_quat(other.quaternion) * back).as_quat()
    # From the first field on; VQF clips its biases along the axes of a world whose heading is free.
    assert between(same, plain.quaternion)[5:].max() < 0.02
    np.testing.assert_allclose(other.covariance, plain.covariance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mounting.apply(other.gyro_bias), plain.gyro_bias, atol=1e-7)


@pytest.mark.parametrize("unit", [1e4, 1e6, 1e9])
def test_the_unit_of_the_field_does_not_count(unit: float) -> None:
    t = trial(seconds=10.0, magnet=2e-5)
    plain, other = tracked(t), tracked(replace(t, mag=unit * t.mag))
    np.testing.assert_allclose(other.quaternion, plain.quaternion, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(other.covariance, plain.covariance, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("rate", [5.0, 50.0, 2000.0])
def test_it_starts_within_a_second_at_any_rate(rate: float) -> None:
    motion = at_rest(1.5, rate)
    out = fed(AttitudeEstimator(FILTER), motion)
    first = next(n for n, found in enumerate(out) if found is not None)
    assert motion.stamp[first] - motion.stamp[0] < 1.0
    assert all(found is not None for found in out[first:])


def test_with_a_rate_that_is_told_it_starts_at_once() -> None:
    motion = at_rest(0.5)
    assert all(found is not None for found in fed(AttitudeEstimator(FILTER, rate=100.0), motion))


def test_samples_of_no_use_are_counted_and_leave_nothing_behind() -> None:
    estimator, motion = running(), at_rest(0.1)
    before = estimator.state.R.copy(), estimator.state.P.copy()
    stamp = BEGIN + 4.0
    nothing, bad = np.zeros(3), np.array([0.0, math.nan, 0.0])
    tiny, huge = np.full(3, 1e-200), np.full(3, 1e200)  # whose squares are zero and infinite
    useless = (
        (bad, UP),
        (nothing, bad),
        (nothing, nothing),
        (np.full(3, math.inf), UP),
        (nothing, tiny),
        (nothing, huge),
    )
    for gyro, accel in useless:
        assert estimator.update(stamp, gyro, accel) is None
    for late in (BEGIN + 3.99, BEGIN + 3.0, BEGIN - 100.0):
        assert estimator.update(late, nothing, UP) is None
    assert estimator.counts["invalid"] == len(useless) and estimator.counts["repeated or backward"] == 3
    for one, other in zip(before, (estimator.state.R, estimator.state.P), strict=True):
        np.testing.assert_array_equal(one, other)
    assert fed(estimator, motion, after=4.0)[-1] is not None


def test_fields_of_no_use_are_left_out() -> None:
    estimator = running()
    heard = estimator.counts["field"]
    for n, field in enumerate(np.full(3, size) for size in (0.0, math.nan, math.inf, 1e-200, 1e200)):
        estimator.magnetic(BEGIN + 4.0 + 0.01 * n, field)
    estimator.magnetic(BEGIN + 3.0, FIELD)  # that counts no more
    out = fed(estimator, at_rest(1.0), after=4.0, field=False)
    assert estimator.counts["field"] <= heard + 2  # that were on their way
    assert out[-1] is not None and between(out[-1].quaternion, np.array([0.0, 0.0, 0.0, 1.0])) < 0.5


def test_a_reset_forgets_all_but_the_counts() -> None:
    estimator, motion = running(), turned_by_hand(3.0)
    samples = estimator.counts["sample"]
    estimator.reset()
    again, fresh = fed(estimator, motion), fed(AttitudeEstimator(FILTER), motion)
    assert again[-1] is not None and fresh[-1] is not None
    np.testing.assert_array_equal(again[-1].quaternion, fresh[-1].quaternion)
    np.testing.assert_array_equal(again[-1].covariance, fresh[-1].covariance)
    assert estimator.counts["sample"] == samples + len(motion.stamp)


# What it says of itself


def test_without_a_field_the_heading_is_unknown_and_once_there_was_one_its_bound_grows() -> None:
    t = trial(seconds=30.0)
    assert (tracked(without_field(t)).covariance[:, 2, 2] == UNKNOWN_HEADING).all()
    silent = tracked(replace(t, mag_stamp=t.mag_stamp[:1000], mag=t.mag[:1000]))
    bound = silent.covariance[:, 2, 2]
    assert bound[990] == pytest.approx(FILTER.constants.heading**2)
    assert (np.diff(bound[1100:]) >= 0.0).all() and bound[-1] > bound[1100] + (15.0 * 1e-3) ** 2
    tilt = tracked(t).covariance[1100:, 0, 0]
    np.testing.assert_allclose(silent.covariance[1100:, 0, 0], tilt, rtol=0.2)  # the tilt does not mind


@pytest.mark.parametrize("gap", [0.5, 8.0])
def test_in_a_gap_the_bounds_grow_and_recover(gap: float) -> None:
    estimator = running(rate=50.0)
    before = fed(estimator, at_rest(1.0, 50.0), after=4.0)[-1]
    out = fed(estimator, at_rest(90.0, 50.0), after=5.0 + gap)
    first, last = out[0], out[-1]
    assert before is not None and first is not None and last is not None
    unknown = min((FILTER.constants.gap_rate * gap) ** 2, 1.0)
    for axis in (0, 2):
        assert first.covariance[axis, axis] > 0.9 * unknown
        assert last.covariance[axis, axis] == pytest.approx(before.covariance[axis, axis], rel=0.3)
    assert estimator.counts["gap"] == 1


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("angle", [20.0, 60.0])
def test_a_turn_in_a_gap_is_within_the_bounds_until_it_is_found(axis: str, angle: float) -> None:
    """In two seconds that nobody saw. The inclination is back at once, VQF takes its time for the heading."""
    estimator, rest = running(rate=50.0), at_rest(60.0, 50.0)
    turn = Rotation.from_euler(axis, angle, degrees=True)
    turned = replace(rest, accel=turn.inv().apply(rest.accel), field=turn.inv().apply(rest.field))
    out = [found for found in fed(estimator, turned, after=6.0) if found is not None]
    truth = np.tile(turn.as_quat(), (len(out), 1))
    errors = attitude_errors(np.array([found.quaternion for found in out]), truth)
    variance = np.array([np.diag(found.covariance) for found in out])
    assert (np.abs(errors.tilt) < 2.0 * np.sqrt(variance[:, :2])).all()
    assert (np.abs(errors.heading) < 2.0 * np.sqrt(variance[:, 2])).all()
    assert np.degrees(np.abs(errors.tilt[150:])).max() < 0.5 and np.degrees(np.abs(errors.heading[-1])) < 4.0


@pytest.mark.parametrize("latency", [0.0075, -0.004])
def test_a_latency_carries_the_output_forward_by_the_turn_rate(latency: float) -> None:
    t = trial(seconds=10.0)
    plain = tracked(t)
    ahead = tracked(t, Setup("filter", Constants(latency=latency)))
    forward = Rotation.from_rotvec(plain.angular_velocity * latency)
    expected = (Rotation.from_quat(plain.quaternion) * forward).as_quat()
    assert between(ahead.quaternion, expected).max() < 1e-9
    np.testing.assert_array_equal(ahead.angular_velocity, plain.angular_velocity)
    assert between(ahead.quaternion, plain.quaternion).max() > 0.3


def test_a_change_of_method_under_way_keeps_what_is_known() -> None:
    estimator, motion = AttitudeEstimator(VQF), turned_by_hand(8.0)
    other = AttitudeEstimator(FILTER)
    for n, stamp in enumerate(motion.stamp):
        if n == 600:
            estimator.use(FILTER)
        for one in (estimator, other):
            one.magnetic(stamp, motion.field[n])
        found, expected = (one.update(stamp, motion.gyro[n], motion.accel[n]) for one in (estimator, other))
        if n == 599:
            assert found is not None and found.method == "vqf"
    assert found is not None and expected is not None and found.method == "filter"
    np.testing.assert_array_equal(found.quaternion, expected.quaternion)

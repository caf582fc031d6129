"""The metrics: known numbers, and intervals and coverages that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.metrics import (
    BLOCK,
    attitude_errors,
    attitude_metrics,
    auc,
    coverage,
    mean_reduction,
    nees,
    pose_metrics,
    range_metrics,
    recording_reduction,
    reduction,
    segment_errors,
)
from nn_estimation.traces import PoseTrace

seeds = st.integers(0, 10_000)


def trace(error: np.ndarray, variance: np.ndarray, yaw_error: np.ndarray, dimensions: int = 3) -> PoseTrace:
    """Estimates that are off by (K, 3) [m] and (K,) [rad], with variances (3,) [m^2]."""
    count = len(error)
    truth = np.random.default_rng(0).normal(size=(count, 3))
    yaw = np.linspace(-3.0, 3.0, count)
    covariance = np.tile(np.diag(variance), (count, 1, 1))
    stamp = np.arange(count) / 10
    return PoseTrace(stamp, truth + error, truth, covariance, yaw + yaw_error, yaw, dimensions)


def test_range_errors_give_the_numbers_one_works_out_by_hand() -> None:
    metrics = range_metrics(np.array([3.0, -4.0, 0.0, 1.0]), np.array([3.0, 3.0, 1.0, 0.4]))
    assert metrics == {
        "rmse_m": pytest.approx(np.sqrt(26 / 4)),
        "mae_m": 2.0,
        "p95_m": pytest.approx(3.85),
        "bias_m": 0.0,
        "std_m": pytest.approx(np.sqrt(26 / 4)),
        "coverage_1sigma": 0.5,
        "coverage_2sigma": 0.75,
    }


@given(seeds, st.floats(-1.0, 1.0), st.floats(0.01, 10.0))
def test_a_constant_bias_is_told_from_the_spread(seed: int, bias: float, sigma: float) -> None:
    noise = sigma * np.random.default_rng(seed).standard_normal(200)
    metrics = range_metrics(noise - noise.mean() + bias, np.full(200, sigma))
    assert metrics["bias_m"] == pytest.approx(bias, abs=1e-9)
    assert metrics["rmse_m"] ** 2 == pytest.approx(bias**2 + metrics["std_m"] ** 2)


@pytest.mark.parametrize(
    ("claimed", "one", "two"),
    [(1.0, 0.6827, 0.9545), (0.5, 0.3829, 0.6827), (2.0, 0.9545, 0.99994)],
    ids=["honest", "overconfident", "timid"],
)
def test_coverage_is_that_of_a_gaussian_of_the_claimed_size(claimed: float, one: float, two: float) -> None:
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.01, 1.0, 40_000)
    metrics = range_metrics(sigma * rng.standard_normal(40_000), claimed * sigma)
    assert metrics["coverage_1sigma"] == pytest.approx(one, abs=0.01)  # four deviations of a share of 40 000
    assert metrics["coverage_2sigma"] == pytest.approx(two, abs=0.005)


def test_pose_errors_are_euclidean_and_in_degrees() -> None:
    metrics = pose_metrics(
        trace(np.tile([1.0, -2.0, 2.0], (5, 1)), np.array([1.0, 2.0, 0.5]), np.full(5, 0.1))
    )
    assert metrics["position_rmse_m"] == pytest.approx(3.0)
    assert metrics["position_p95_m"] == pytest.approx(3.0)
    assert metrics["yaw_rmse_deg"] == pytest.approx(np.degrees(0.1))
    assert metrics["position_coverage_1sigma"] == pytest.approx(1 / 3)
    assert metrics["position_coverage_2sigma"] == pytest.approx(2 / 3)


def test_the_height_of_a_planar_body_is_not_scored() -> None:
    metrics = pose_metrics(
        trace(np.tile([3.0, 4.0, 100.0], (5, 1)), np.array([9.0, 16.0, 0.0]), np.zeros(5), 2)
    )
    assert metrics["position_rmse_m"] == pytest.approx(5.0)
    assert metrics["position_coverage_1sigma"] == 1.0


@given(st.floats(-3.0, 3.0), st.integers(-3, 3))
def test_whole_turns_are_no_yaw_error(off: float, turns: int) -> None:
    yaw_error = np.full(7, off + 2 * np.pi * turns)
    metrics = pose_metrics(trace(np.zeros((7, 3)), np.ones(3), yaw_error))
    assert metrics["yaw_rmse_deg"] == pytest.approx(np.degrees(abs(off)), abs=1e-9)


def test_position_coverage_of_a_gaussian_is_nominal_on_every_axis() -> None:
    rng = np.random.default_rng(2)
    root = Rotation.random(random_state=3).as_matrix() @ np.diag([0.05, 0.1, 0.4])
    found = trace(rng.standard_normal((20_000, 3)) @ root.T, np.ones(3), np.zeros(20_000))
    found.covariance = np.tile(root @ root.T, (20_000, 1, 1))
    metrics = pose_metrics(found)
    assert metrics["position_coverage_1sigma"] == pytest.approx(0.6827, abs=0.01)
    assert metrics["position_coverage_2sigma"] == pytest.approx(0.9545, abs=0.01)


def test_errors_a_fifth_smaller_are_20_percent_below() -> None:
    baseline = np.random.default_rng(0).standard_normal(5000)
    gain = reduction(baseline, 0.8 * baseline, np.arange(5000) / 50)
    assert (gain.percent, gain.low, gain.high) == pytest.approx((20.0, 20.0, 20.0))
    loss = reduction(0.8 * baseline, baseline, np.arange(5000) / 50)
    assert loss.percent == pytest.approx(-25.0)


def correlated(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Errors at 10 Hz that stay alike for a whole block, as those of a body that stands still do."""
    per_block = int(10 * BLOCK)
    return np.repeat(rng.standard_normal(blocks), per_block) + 0.1 * rng.standard_normal(blocks * per_block)


def test_the_interval_covers_the_truth_though_errors_are_correlated() -> None:
    blocks, trials = 60, 100
    stamp = 100.0 + np.arange(blocks * int(10 * BLOCK)) / 10
    covered = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        gain = reduction(correlated(rng, blocks), 0.8 * correlated(rng, blocks), stamp, seed)
        assert gain.low < gain.percent < gain.high
        covered += gain.low <= 20.0 <= gain.high
    assert covered >= 88  # 95 of 100 expected; fewer than 88 once in a hundred tries


def test_the_interval_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    errors = rng.standard_normal(2000), rng.standard_normal(2000), np.arange(2000) / 20
    assert reduction(*errors) == reduction(*errors)
    assert reduction(*errors, seed=1) != reduction(*errors)


def test_one_block_gives_no_interval() -> None:
    errors = np.random.default_rng(0).standard_normal((2, 40))
    gain = reduction(errors[0], errors[1], 7.0 + np.arange(40) / 10)
    assert np.isfinite(gain.percent)
    assert np.isnan(gain.low) and np.isnan(gain.high)


def test_a_mean_a_fifth_smaller_is_20_percent_below() -> None:
    baseline = np.random.default_rng(0).exponential(size=5000)
    gain = mean_reduction(baseline, 0.8 * baseline, np.arange(5000) // 100)
    assert (gain.percent, gain.low, gain.high) == pytest.approx((20.0, 20.0, 20.0))
    one = mean_reduction(baseline, 0.8 * baseline, np.zeros(5000))
    assert one.percent == pytest.approx(20.0) and np.isnan(one.low)


def test_errors_that_last_a_block_count_as_one_observation() -> None:
    ten = np.random.default_rng(0).exponential(size=(2, 10))
    baseline, error = np.repeat(ten, 500, axis=1)
    honest = mean_reduction(baseline, error, np.repeat(np.arange(10), 500))
    each = mean_reduction(ten[0], ten[1], np.arange(10))
    naive = mean_reduction(baseline, error, np.arange(5000))
    assert (honest.low, honest.high) == pytest.approx((each.low, each.high))
    assert honest.high - honest.low > 5.0 * (naive.high - naive.low)


def recordings(seed: int, gains: list[float], seconds: float = 200.0) -> tuple[list[np.ndarray], ...]:
    """Errors of a baseline and of a method whose errors are (1 - gain) times as large, at 10 Hz."""
    rng = np.random.default_rng(seed)
    stamp = [np.arange(round(10 * seconds)) / 10.0 for _ in gains]
    baseline = [rng.standard_normal(len(t)) for t in stamp]
    error = [(1.0 - gain) * rng.standard_normal(len(t)) for t, gain in zip(stamp, gains, strict=True)]
    return baseline, error, stamp


def test_the_mean_over_recordings_is_that_of_their_rmse_whatever_their_lengths() -> None:
    baseline = [np.full(400, 3.0), np.full(50, -1.0)]
    error = [np.full(400, 2.0), np.full(50, 1.0)]
    stamp = [np.arange(400) / 10.0, np.arange(50) / 10.0]
    assert recording_reduction(baseline, error, stamp).percent == pytest.approx(25.0)


def test_a_gain_on_every_recording_is_told_from_chance_and_one_on_a_single_one_is_not() -> None:
    sure = recording_reduction(*recordings(0, [0.2] * 7))
    assert 15.0 < sure.low < 20.0 < sure.high < 25.0
    # The same mean, but all of it from one recording: the next one may well gain nothing.
    unsure = recording_reduction(*recordings(0, [0.9, *[0.083] * 6]))
    assert unsure.percent == pytest.approx(sure.percent, abs=2.0)
    assert unsure.low < 11.0 and unsure.high - unsure.low > 3 * (sure.high - sure.low)


def test_one_recording_has_the_interval_of_its_blocks() -> None:
    baseline, error, stamp = recordings(1, [0.2])
    found = recording_reduction(baseline, error, stamp)
    pooled = reduction(baseline[0], error[0], stamp[0])
    assert found.percent == pytest.approx(pooled.percent)
    assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high), abs=0.4)
    short = recording_reduction(*recordings(1, [0.2], seconds=4.0))
    assert np.isnan([short.low, short.high]).all() and np.isfinite(short.percent)


@given(seeds, st.floats(0.1, 10.0))
@settings(max_examples=20)
def test_nees_and_coverage_say_how_many_times_too_large_a_covariance_is(seed: int, times: float) -> None:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((3, 3)) + 3.0 * np.eye(3)
    error = rng.standard_normal((4000, 3)) @ root.T
    claimed = np.tile(times**2 * root @ root.T, (4000, 1, 1))
    assert nees(error, claimed) * times**2 == pytest.approx(
        1.0, abs=0.06
    )  # 12 000 squares, .013 at one sigma
    assert coverage(error, claimed, 3.0 / times) == pytest.approx(0.9973, abs=0.006)


def test_auc_of_perfect_reversed_and_constant_scores() -> None:
    positive = np.array([False, True, False, True])
    assert auc(np.array([0.1, 0.8, 0.2, 0.9]), positive) == 1.0
    assert auc(np.array([0.8, 0.1, 0.9, 0.2]), positive) == 0.0
    assert auc(np.full(4, 0.3), positive) == 0.5


@given(seeds, st.integers(2, 60), st.integers(1, 8))
@settings(max_examples=50)
def test_auc_is_the_share_of_pairs_in_the_right_order(seed: int, size: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, size).astype(np.float64)
    positive = rng.random(size) < 0.4
    positive[:2] = True, False
    over = score[positive][:, None] - score[~positive]
    assert auc(score, positive) == pytest.approx(np.mean((over > 0) + 0.5 * (over == 0)))


def test_auc_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    positive = rng.random(3000) < 0.1
    score = np.round(rng.standard_normal(3000) + positive, 1)
    assert auc(score, positive) == pytest.approx(sklearn.roc_auc_score(positive, score))


def wandering(seed: int, count: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and positions at 10 Hz of a body that drives at about 10 m/s."""
    rng = np.random.default_rng(seed)
    turns = np.cumsum(rng.normal(0, [0.001, 0.001, 0.02], (count, 3)), axis=0)
    rotation = Rotation.from_rotvec(turns)
    steps = rotation.apply(np.tile([0.999, 0.0, 0.0], (count, 1)))
    return rotation.as_matrix(), np.cumsum(steps, axis=0)


def test_segment_errors_are_those_of_evo() -> None:
    metrics = pytest.importorskip("evo.core.metrics")
    from evo.core.trajectory import PosePath3D

    (true_R, true_p), (R, p) = wandering(0), wandering(1)
    p = true_p + 0.01 * p

    def path(rotation: np.ndarray, position: np.ndarray) -> PosePath3D:
        poses = np.tile(np.eye(4), (len(position), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = rotation, position
        return PosePath3D(poses_se3=list(poses))

    # Every step is 0.999 m: the first frame beyond 100 m is the 101st after the start.
    ours = segment_errors(true_R, true_p, R, p, lengths=(100,))
    true, found = path(true_R, true_p), path(R, p)
    for relation, values in (
        (metrics.PoseRelation.translation_part, ours.translation * 100),
        (metrics.PoseRelation.rotation_angle_rad, ours.rotation * 100),
    ):
        rpe = metrics.RPE(relation, delta=101, delta_unit=metrics.Unit.frames, all_pairs=True)
        rpe.process_data((true, found))
        np.testing.assert_allclose(values, rpe.error[::10][: len(values)], atol=1e-9)


def test_segment_errors_follow_the_kitti_development_kit() -> None:
    """A speed that is 1 % too high and a straight line: 1 % of translation, no rotation, eight lengths."""
    count = 1200
    true_p = np.arange(count)[:, None] * [1.05, 0.0, 0.0]
    R = np.tile(np.eye(3), (count, 1, 1))
    errors = segment_errors(R, true_p, R, 1.01 * true_p)
    # The last frame lies up to a step beyond the length that the error is divided by.
    assert errors.t_rel_percent == pytest.approx(1.0, abs=0.01)
    assert errors.r_rel_deg_per_km == pytest.approx(0.0, abs=1e-9)
    assert sorted(set(errors.length)) == list(range(100, 801, 100))
    ends = np.ceil(800 / 1.05)
    assert np.sum(errors.length == 800) == len(range(0, int(count - ends), 10))


def test_a_path_too_short_for_a_segment_has_no_relative_error() -> None:
    R, p = wandering(0, 50)
    assert np.isnan(segment_errors(R, p, R, p).t_rel_percent)


def of_rotations(*rotations: Rotation) -> tuple[np.ndarray, ...]:
    return tuple(rotation.as_quat() for rotation in rotations)


@given(seeds)
def test_an_attitude_error_is_a_turn_of_the_world_and_then_a_lean(seed: int) -> None:
    estimate, truth = Rotation.random(50, random_state=seed), Rotation.random(50, random_state=seed + 1)
    errors = attitude_errors(*of_rotations(estimate, truth))
    off = estimate * truth.inv()
    lean = Rotation.from_rotvec(np.column_stack([errors.tilt, np.zeros(50)]))
    turn = Rotation.from_euler("z", errors.heading[:, None])
    np.testing.assert_allclose((lean * turn * off.inv()).magnitude(), 0.0, atol=1e-7)
    np.testing.assert_allclose(errors.total, off.magnitude(), atol=1e-7)
    up_seen, up = estimate.inv().apply([0.0, 0.0, 1.0]), truth.inv().apply([0.0, 0.0, 1.0])
    angle = np.arccos(np.clip(np.sum(up_seen * up, axis=1), -1.0, 1.0))
    np.testing.assert_allclose(errors.inclination, angle, atol=1e-6)
    # As the authors of BROAD write them.
    z, w = off.as_quat()[:, 2:].T
    np.testing.assert_allclose(errors.total, 2.0 * np.arccos(np.abs(w)), atol=1e-6)
    np.testing.assert_allclose(np.abs(errors.heading), 2.0 * np.abs(np.arctan(z / w)), atol=1e-6)
    np.testing.assert_allclose(errors.inclination, 2.0 * np.arccos(np.sqrt(w**2 + z**2)), atol=1e-6)


def test_attitude_errors_of_hand_made_turns() -> None:
    truth = Rotation.random(4, random_state=3)
    off = Rotation.from_rotvec(np.radians([[0, 0, 0], [0, 0, -170], [20, 0, 0], [0, 180, 0]]))
    errors = attitude_errors(*of_rotations(off * truth, truth))
    np.testing.assert_allclose(np.degrees(errors.total), [0, 170, 20, 180], atol=1e-6)
    np.testing.assert_allclose(np.degrees(errors.heading), [0, -170, 0, 0], atol=1e-6)
    np.testing.assert_allclose(np.degrees(errors.tilt[:3]), [[0, 0], [0, 0], [20, 0]], atol=1e-6)
    assert np.degrees(errors.inclination[3]) == pytest.approx(180.0)
    metrics = attitude_metrics(*of_rotations(off * truth, truth))
    assert metrics["total_deg"] == pytest.approx(np.sqrt((170**2 + 20**2 + 180**2) / 4))
    assert metrics["heading_deg"] == pytest.approx(85.0)
    assert metrics["inclination_deg"] == pytest.approx(np.sqrt((20**2 + 180**2) / 4))
    assert metrics["total_max_deg"] == pytest.approx(180.0)
    assert metrics["total_p95_deg"] == pytest.approx(178.5)
    assert not [name for name in metrics if "coverage" in name]


@given(seeds)
def test_the_sign_of_a_quaternion_changes_no_attitude_error(seed: int) -> None:
    estimate, truth = of_rotations(*(Rotation.random(20, random_state=seed + i) for i in range(2)))
    assert attitude_metrics(estimate, truth) == pytest.approx(attitude_metrics(-estimate, truth))


def test_attitude_coverage_is_honest_about_each_world_axis_on_its_own() -> None:
    sigma = np.radians([0.5, 1.0, 6.0])
    noise = sigma * np.random.default_rng(0).standard_normal((20_000, 3))
    truth = Rotation.random(len(noise), random_state=1)
    estimate = Rotation.from_rotvec(noise) * truth
    covariance = np.tile(np.diag((sigma * [1.0, 1.0, 2.0]) ** 2), (len(noise), 1, 1))
    metrics = attitude_metrics(*of_rotations(estimate, truth), covariance)
    assert metrics["tilt_coverage_1sigma"] == pytest.approx(0.6827, abs=0.01)
    assert metrics["tilt_coverage_2sigma"] == pytest.approx(0.9545, abs=0.01)
    assert metrics["heading_coverage_1sigma"] == pytest.approx(0.9545, abs=0.01)  # said twice as large
    assert metrics["heading_coverage_2sigma"] == pytest.approx(0.99994, abs=0.001)

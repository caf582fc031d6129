import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn_estimation.uwb.calibration import (
    apply_table,
    fit_table,
    scale_variance,
    summary,
    time_blocks,
    variance_factor,
)

pytestmark = pytest.mark.once


def made_up(count: int = 6000, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    link, distance = rng.integers(0, 3, count), rng.uniform(1, 9, count)
    error = np.array([0.1, 0.2, -0.1])[link] + np.array([0.02, 0.0, 0.04])[link] * (distance - 4) / 2
    return error + noise * rng.standard_normal(count), distance, link


def test_affine_finds_offset_slope_and_variance_of_each_link() -> None:
    table = fit_table("affine", *made_up(), 3)
    np.testing.assert_allclose(table["offset"][:3], [0.1, 0.2, -0.1], atol=5e-3)
    np.testing.assert_allclose(table["slope"][:3], [0.02, 0.0, 0.04], atol=5e-3)
    np.testing.assert_allclose(np.sqrt(table["variance"][:3]), 0.05, rtol=0.05)


def test_constant_has_no_slope_and_raw_has_no_bias() -> None:
    assert not any(fit_table("constant", *made_up(), 3)["slope"])
    raw = fit_table("raw", *made_up(), 3)
    assert not any(raw["offset"]) and not any(raw["slope"])
    error, _, link = made_up()
    assert raw["variance"][1] == pytest.approx(np.mean(error[link == 1] ** 2), rel=0.05)


def test_each_step_explains_more() -> None:
    error, distance, link = made_up(noise=0.01)
    rmse = []
    for method in ("raw", "constant", "affine"):
        bias, _ = apply_table(fit_table(method, error, distance, link, 3), distance, link)
        rmse.append(np.sqrt(np.mean((error - bias) ** 2)))
    assert rmse[0] > 2 * rmse[1] > 4 * rmse[2]


def test_a_link_never_seen_gets_the_mean_and_a_larger_variance() -> None:
    error, distance, link = made_up()
    table = fit_table("affine", error, distance, link, 5)
    bias, variance = apply_table(table, np.array([4.0, 4.0]), np.array([-1, 4]))
    assert bias[0] == pytest.approx(np.mean(table["offset"][:5]))
    assert bias[1] == pytest.approx(np.mean(table["offset"][:3]))
    assert variance[0] > 2 * max(table["variance"][:3])


def test_a_link_that_stood_still_takes_the_common_slope() -> None:
    error, distance, link = made_up()
    still = np.flatnonzero(link == 1)
    distance[still] = 3.0
    table = fit_table("affine", error, distance, link, 3)
    assert table["slope"][1] == pytest.approx(np.mean([table["slope"][0], table["slope"][2]]), abs=5e-3)


@given(st.floats(0.1, 10.0))
def test_the_variance_factor_makes_gaussian_coverage_nominal(truth: float) -> None:
    rng = np.random.default_rng(0)
    residual, variance = truth * rng.standard_normal(20000), np.ones(20000)
    factor = variance_factor(residual, variance)
    assert factor == pytest.approx(truth**2, rel=0.05)
    found = summary(residual, factor * variance)
    assert found["coverage_1sigma"] == pytest.approx(0.683, abs=0.01)
    assert found["coverage_2sigma"] == pytest.approx(0.954, abs=0.01)
    table = {"offset": [0.0], "slope": [0.0], "variance": [2.0]}
    assert scale_variance(table, 3.0)["variance"] == [6.0]


def test_folds_are_stretches_of_time_within_few_recordings() -> None:
    stamp = np.repeat(np.arange(100.0), 3)
    fold = time_blocks(np.concatenate([stamp, stamp]), np.repeat([0, 1], 300), 4)
    assert (np.diff(fold[:300]) >= 0).all() and np.array_equal(fold[:300], fold[300:])
    assert np.bincount(fold).tolist() == [150] * 4
    assert all(len(set(fold[:300][stamp == t])) == 1 for t in range(100))


def test_folds_are_whole_recordings_where_there_are_enough() -> None:
    recording = np.repeat(np.arange(7), 10)
    fold = time_blocks(np.arange(70.0), recording, 5)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[recording == number])) == 1 for number in range(7))

import numpy as np
import pytest

from nn_estimation.uwb.ridge import Ridge, RidgeFit, fourier, polygon

NAMES = ("distance", "azimuth_tag", "elevation_tag", "azimuth_anchor", "rx_power")
LINK_TAG, LINK_ANCHOR = [0, 0, 1, 1], [0, 1, 0, 1]


def made_up(
    count: int = 4000, seed: int = 0, noise: float = 0.02
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, links, errors: an antenna pattern, a kink in the power, offsets and slopes."""
    rng = np.random.default_rng(seed)
    features = rng.uniform((1, -3.1, -1, -3.1, -100), (12, 3.1, 1, 3.1, -70), (count, 5))
    link = rng.integers(0, 4, count)
    error = 0.1 * link + 0.03 * (features[:, 0] - 4) / 2 + 0.1 * np.sin(2 * features[:, 1])
    error += 0.02 * np.maximum(-85 - features[:, 4], 0) / 5
    return features, link, error + noise * rng.standard_normal(count)


def fitted(block_count: int = 5, names: tuple[str, ...] = NAMES) -> RidgeFit:
    features, link, error = made_up()
    features = features[:, [NAMES.index(name) for name in names]]
    block = np.arange(len(link)) * block_count // len(link)
    return RidgeFit(names, LINK_TAG, LINK_ANCHOR, features, link, error, block)


def test_it_learns_what_is_additive_down_to_the_noise() -> None:
    model = fitted().fit()
    features, link, error = made_up(seed=1)
    bias, _ = model.predict(features, link)
    assert np.sqrt(np.mean((error - bias) ** 2)) == pytest.approx(0.02, rel=0.1)
    assert np.sqrt(model.variance[:4]) == pytest.approx(0.02, rel=0.15)


def test_the_derivatives_are_those_of_finite_differences() -> None:
    model = fitted().fit()
    features, link, _ = made_up(count=300, seed=2)
    # A polygon has no derivative at its knots.
    for name, knots in model.knots.items():
        column = features[:, NAMES.index(name)]
        assert np.abs(column[:, None] - knots).min() > 1e-5
    _, gradient = model.predict(features, link)
    for i, name in enumerate(("distance", "azimuth_tag", "elevation_tag")):
        ahead, behind = features.copy(), features.copy()
        ahead[:, NAMES.index(name)] += 1e-6
        behind[:, NAMES.index(name)] -= 1e-6
        slope = (model.predict(ahead, link)[0] - model.predict(behind, link)[0]) / 2e-6
        np.testing.assert_allclose(gradient[:, i], slope, atol=1e-8)


def test_what_a_block_says_does_not_reach_the_model_without_it() -> None:
    features, link, error = made_up()
    block = np.arange(len(link)) * 5 // len(link)
    mine = block == 2
    lies = np.where(mine, 7.0, error)
    honest, lying = (
        RidgeFit(NAMES, LINK_TAG, LINK_ANCHOR, features, link, values, block) for values in (error, lies)
    )
    without = honest.fit(without=2)
    assert without.to_dict() == lying.fit(without=2).to_dict()
    assert without.to_dict() != honest.fit().to_dict()
    residual, variance = honest.held_out()
    np.testing.assert_array_equal(
        residual[mine], error[mine] - without.predict(features[mine], link[mine])[0]
    )
    np.testing.assert_array_equal(variance[mine], without.variance[link[mine]])


def test_it_survives_the_contract() -> None:
    model = fitted().fit()
    again = Ridge.from_dict(model.to_dict())
    features, link, _ = made_up(count=50)
    for ours, theirs in zip(model.predict(features, link), again.predict(features, link), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(model.variance, again.variance)


def test_a_link_never_seen_gets_the_mean_calibration_and_no_deviation() -> None:
    model = fitted().fit()
    features, _, _ = made_up(count=20)
    unseen, _ = model.predict(features, np.full(20, -1))
    assert model.offset[-1] == pytest.approx(model.offset[:-1].mean())
    assert not model.tag_pattern[-1].any() and not model.anchor_pattern[-1].any()
    assert np.isfinite(unseen).all() and model.variance[-1] > model.variance[:-1].max()


def test_a_time_difference_has_the_opposite_slope_in_the_first_distance() -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(1, 10, (1000, 2))
    link = rng.integers(0, 2, 1000)
    error = 0.1 + 0.05 * (features[:, 1] - features[:, 0] - 4) / 2
    block = np.arange(1000) // 200
    model = RidgeFit(("distance", "distance_b"), [0, 0], [0, 1], features, link, error, block).fit()
    bias, gradient = model.predict(features, link)
    # The prior draws the slope to zero, by a few per cent with so few samples.
    np.testing.assert_allclose(bias, error, atol=0.01)
    np.testing.assert_allclose(gradient[:, 0], -0.025, atol=1e-3)


def test_bases_are_periodic_and_sum_to_one() -> None:
    x = np.linspace(-10, 10, 101)
    np.testing.assert_allclose(fourier(x, 4)[0], fourier(x + 2 * np.pi, 4)[0], atol=1e-12)
    weights, derivative = polygon(x, np.array([-5.0, 0.0, 1.0, 7.0]))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(derivative.sum(axis=1), 0.0, atol=1e-12)
    assert not derivative[x < -5].any() and not derivative[x > 7].any()

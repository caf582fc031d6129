"""The estimator: the network sees the geometry alone, and the filter stays in charge."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from nn_estimation.bags import BagReader
from nn_estimation.inference import Model
from nn_estimation.shipped import default_model
from nn_estimation.uwb.bias import (
    BY_MODEL,
    FALLBACK_INFLATION,
    FALLBACK_NAMES,
    LEARNED,
    METHODS,
    NETWORK_FAILED,
    NO_POSE,
    NO_POWER,
    OUT_OF_RANGE,
    UNKNOWN_LINK,
    AsMeasured,
    BiasModel,
)
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import NO_POSE_INFLATION, Corrected, EstimatorParams, UwbEstimator
from nn_estimation.uwb.features import POWER_FIELDS
from nn_estimation.uwb.gate import (
    ACCEPTED,
    INVALID,
    NO_GEOMETRY,
    REJECTED_CHI2,
    REJECTED_KINEMATIC,
    STATUS_NAMES,
)
from nn_estimation.uwb.geometry import GEOMETRY_FIELDS, NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import layout_of, replay
from nn_estimation.uwb.stream import UwbStream

DEMO, LIAS = (Model.load(default_model(name), provider="cpu") for name in ("uwb_demo.onnx", "uwb_bias.onnx"))


@pytest.fixture(scope="module")
def layout(flight: Path) -> Layout:
    with BagReader(flight) as bag:
        return layout_of(bag)


@pytest.fixture(scope="module")
def models(layout: Layout) -> dict[str, BiasModel]:
    return load_bias_models(DEMO, layout)


@pytest.fixture(scope="module")
def recorded(flight: Path, layout: Layout, models: dict[str, BiasModel]) -> list[Epoch]:
    """The epochs of the flight, power attached."""
    with BagReader(flight) as bag:
        stream = UwbStream(UwbEstimator(layout, models["raw"]))
        return [result.epoch for result in replay(bag, stream)]


@pytest.fixture
def epochs(recorded: list[Epoch]) -> list[Epoch]:
    return deepcopy(recorded[:250])


def run(layout: Layout, model: BiasModel, epochs: list[Epoch]) -> list[Corrected]:
    estimator = UwbEstimator(layout, model)
    return [estimator.update(epoch) for epoch in epochs]


def inside(layout: Layout, model: Model, seed: int = 0) -> tuple[Epoch, np.ndarray]:
    """All links of a layout at a geometry in the middle of what a model was trained on."""
    rng = np.random.default_rng(seed)
    tags, anchors = len(layout.tags), len(layout.anchors)
    tag, anchor = np.repeat(np.arange(tags), anchors), np.tile(np.arange(anchors), tags)
    size = len(tag)
    geometry, power = np.full((size, 10), np.nan), np.full((size, 12), np.nan)
    geometry[:, :5] = 0.0
    for name, (low, high) in zip(model.contract.features, model.contract.valid_range, strict=True):
        value = low + (high - low) * rng.uniform(0.3, 0.7, size)
        if name in GEOMETRY_FIELDS:
            geometry[:, GEOMETRY_FIELDS.index(name)] = value
        elif name in POWER_FIELDS:
            power[:, POWER_FIELDS.index(name)] = value
        else:
            power[:, 1] = power[:, 0] - value
    one_way = np.full(size, NO_ANCHOR)
    return Epoch(7.0, tag, anchor, one_way, geometry[:, 0] + 0.1, np.zeros(size), power), geometry


@pytest.mark.parametrize("model", [DEMO, LIAS], ids=lambda m: m.path.stem)
def test_the_features_of_the_shipped_models_are_geometry_and_power(model: Model) -> None:
    assert set(model.contract.features) <= {*GEOMETRY_FIELDS, *POWER_FIELDS, "power_difference"}
    assert {spec.name for spec in model.contract.inputs} == {"features", "link"}


@pytest.mark.parametrize("method", METHODS)
def test_a_measured_range_does_not_move_its_own_predicted_bias(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch], method: str
) -> None:
    plain = run(layout, models[method], epochs)[-1]
    for n in (0, 5, 11):
        perturbed = deepcopy(epochs)
        perturbed[-1].measured[n] += 0.3
        result = run(layout, models[method], perturbed)[-1]
        np.testing.assert_array_equal(result.bias, plain.bias)
        np.testing.assert_array_equal(result.variance, plain.variance)
        assert result.corrected[n] == pytest.approx(plain.corrected[n] + 0.3)


@pytest.mark.parametrize("method", METHODS)
def test_a_prediction_depends_on_nothing_but_link_geometry_and_power(layout: Layout, method: str) -> None:
    model = load_bias_models(DEMO, layout)[method]
    epoch, geometry = inside(layout, DEMO)
    first = model.predict(epoch, geometry)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        model.predict(*inside(layout, DEMO, seed + 1))
        other = replace(epoch, stamp=rng.uniform(0, 1e9), measured=rng.uniform(0, 50, len(epoch.tag)))
        other.variance = rng.uniform(0, 1, len(epoch.tag))
        again = model.predict(other, geometry)
        for column in ("bias", "variance", "gradient", "fallback"):
            np.testing.assert_array_equal(getattr(again, column), getattr(first, column))


@pytest.mark.parametrize("method", LEARNED)
def test_the_gradient_is_the_derivative_of_the_bias(layout: Layout, method: str) -> None:
    model, step = load_bias_models(DEMO, layout)[method], 2e-2
    epoch, geometry = inside(layout, DEMO)
    gradient = model.predict(epoch, geometry).gradient
    for column in range(3):
        ahead, behind = geometry.copy(), geometry.copy()
        ahead[:, column] += step
        behind[:, column] -= step
        numeric = model.predict(epoch, ahead).bias - model.predict(epoch, behind).bias
        # The network computes in float32; a knot of the ridge's polygons may lie between.
        close = np.isclose(gradient[:, column], numeric / (2 * step), atol=2e-2)
        assert close.mean() > 0.85, (column, gradient[:, column], numeric / (2 * step))


@pytest.mark.parametrize("method", LEARNED)
def test_a_link_out_of_the_trained_range_uses_affine_with_a_larger_variance(
    layout: Layout, method: str
) -> None:
    models = load_bias_models(DEMO, layout)
    epoch, geometry = inside(layout, DEMO)
    normal = models[method].predict(epoch, geometry)
    assert (normal.fallback == BY_MODEL).all()
    geometry[3, 0] = DEMO.contract.valid_range[0][1] + 0.01
    geometry[8, 2] = -1.5
    out, affine = models[method].predict(epoch, geometry), models["affine"].predict(epoch, geometry)
    far = np.array([3, 8])
    assert np.flatnonzero(out.fallback == OUT_OF_RANGE).tolist() == far.tolist()
    np.testing.assert_array_equal(out.bias[far], affine.bias[far])
    np.testing.assert_array_equal(out.gradient[far], affine.gradient[far])
    np.testing.assert_array_equal(out.variance[far], FALLBACK_INFLATION * affine.variance[far])
    near = np.setdiff1d(np.arange(len(epoch.tag)), far)
    np.testing.assert_allclose(out.bias[near], normal.bias[near], atol=1e-6)  # float32 sums in another order


@pytest.mark.parametrize("method", LEARNED)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_range_without_power_uses_affine(layout: Layout, method: str, value: float) -> None:
    models = load_bias_models(DEMO, layout)
    epoch, geometry = inside(layout, DEMO)
    epoch.power[2, 0] = value
    out, affine = models[method].predict(epoch, geometry), models["affine"].predict(epoch, geometry)
    assert out.fallback[2] in (NO_POWER, OUT_OF_RANGE) and np.count_nonzero(out.fallback) == 1
    assert out.bias[2] == affine.bias[2] and out.variance[2] > affine.variance[2]


@pytest.mark.parametrize("method", LEARNED)
def test_a_link_never_seen_uses_the_row_kept_for_it(layout: Layout, method: str) -> None:
    renamed = Layout(
        tuple(
            Anchor("new" if a.name == "a4" else a.name, a.position, a.R_world_anchor) for a in layout.anchors
        ),
        layout.tags,
    )
    models = load_bias_models(DEMO, renamed)
    epoch, geometry = inside(renamed, DEMO)
    unknown = epoch.anchor_a == 4
    table = DEMO.contract.parameters["affine"]
    x = (geometry[unknown, 0] - 4.0) / 2.0
    for out in (models["affine"].predict(epoch, geometry), models[method].predict(epoch, geometry)):
        assert (out.fallback[unknown] == UNKNOWN_LINK).all() and not out.fallback[~unknown].any()
        np.testing.assert_allclose(out.bias[unknown], table["offset"][-1] + table["slope"][-1] * x)
        assert (out.variance[unknown] >= table["variance"][-1]).all()
    assert (out.variance[unknown] == FALLBACK_INFLATION * table["variance"][-1]).all()
    assert table["variance"][-1] > np.median(table["variance"][:-1])


def test_a_network_that_computes_no_number_is_stood_in_for_by_affine(layout: Layout, tmp_path: Path) -> None:
    broken = onnx.load(DEMO.path)
    rows = len(DEMO.contract.parameters["links"]) + 1
    for tensor in broken.graph.initializer:
        if list(tensor.dims) == [rows] and tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[3] = np.nan
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(broken, tmp_path / "broken.onnx")
    models = load_bias_models(Model.load(tmp_path / "broken.onnx", provider="cpu"), layout)
    epoch, geometry = inside(layout, DEMO)
    out, affine = models["network"].predict(epoch, geometry), models["affine"].predict(epoch, geometry)
    assert np.flatnonzero(out.fallback == NETWORK_FAILED).tolist() == [3]
    assert out.bias[3] == affine.bias[3] and out.variance[3] == FALLBACK_INFLATION * affine.variance[3]
    assert np.isfinite(out.bias).all() and np.isfinite(out.gradient).all()


def test_a_tag_never_seen_is_an_unknown_link_too(layout: Layout) -> None:
    other = Layout(layout.anchors, (Tag("another", np.zeros(3)),))
    model = load_bias_models(DEMO, other)["network"]
    assert (model.predict(*inside(other, DEMO)).fallback == UNKNOWN_LINK).all()


def test_before_the_first_pose_ranges_get_the_affine_calibration_and_twice_its_variance(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch]
) -> None:
    epoch = epochs[0]
    first = run(layout, models["network"], [epoch])[0]
    assert (first.status == NO_GEOMETRY).all() and first.pose is None
    bias, variance = models["affine"].calibrate(epoch)
    np.testing.assert_array_equal(first.corrected, epoch.measured - bias)
    np.testing.assert_array_equal(first.variance, NO_POSE_INFLATION * variance)


def test_the_calibration_at_the_measured_range_agrees_with_that_at_the_true_one(layout: Layout) -> None:
    model = load_bias_models(DEMO, layout)["affine"]
    epoch, geometry = inside(layout, DEMO)
    epoch.measured[:] = geometry[:, 0] + model.predict(epoch, geometry).bias
    np.testing.assert_allclose(epoch.measured - model.calibrate(epoch)[0], geometry[:, 0], atol=1e-12)


def test_an_outlier_is_rejected_and_the_estimate_is_that_without_it(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch]
) -> None:
    wrong, without = deepcopy(epochs), deepcopy(epochs)
    wrong[-1].measured[4] += 3.0
    keep = np.arange(len(epochs[-1].tag)) != 4
    for column in ("tag", "anchor_a", "anchor_b", "measured", "variance", "power"):
        setattr(without[-1], column, np.ascontiguousarray(getattr(without[-1], column)[keep]))
    with_it, left_out = (run(layout, models["affine"], each)[-1] for each in (wrong, without))
    assert with_it.status[4] in (REJECTED_KINEMATIC, REJECTED_CHI2) and with_it.ratio[4] > 1.0
    assert with_it.pose is not None and left_out.pose is not None
    np.testing.assert_array_equal(with_it.pose.position, left_out.pose.position)
    np.testing.assert_array_equal(with_it.pose.covariance, left_out.pose.covariance)


def test_a_range_that_is_no_number_is_invalid_and_harms_nobody(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch]
) -> None:
    for epoch in epochs[::3]:
        epoch.measured[1] = np.nan
    epochs[100].measured[:] = np.inf
    results = run(layout, models["network"], epochs)
    assert {STATUS_NAMES[result.status[1]] for result in results[::3]} == {"invalid"}
    assert (results[100].status == INVALID).all()
    assert results[-1].pose is not None and np.isfinite(results[-1].pose.position).all()
    for result in results:
        passed = np.isin(result.status, (ACCEPTED, NO_GEOMETRY))
        assert np.isfinite(result.corrected[passed]).all()


@pytest.mark.parametrize("method", ["affine", "network"])
def test_a_reset_estimator_starts_like_a_new_one(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch], method: str
) -> None:
    estimator = UwbEstimator(layout, models[method])
    first = [estimator.update(epoch) for epoch in epochs[:100]]
    estimator.reset()
    second = [estimator.update(epoch) for epoch in epochs[:100]]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.corrected, other.corrected)
        np.testing.assert_array_equal(one.status, other.status)


@pytest.mark.parametrize("method", METHODS)
def test_every_range_is_counted_once_under_what_corrected_it(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch], method: str
) -> None:
    estimator = UwbEstimator(layout, models[method])
    results = [estimator.update(epoch) for epoch in epochs]
    ranges = sum(len(epoch.tag) for epoch in epochs)
    assert sum(estimator.counts.values()) == sum(estimator.fallbacks.values()) == ranges
    for index, name in enumerate(STATUS_NAMES):
        assert estimator.counts[name] == sum(int((r.status == index).sum()) for r in results)
    names = (method, *FALLBACK_NAMES[1:])
    assert set(estimator.fallbacks) == set(names)
    for index, name in enumerate(names):
        assert estimator.fallbacks[name] == sum(int((r.fallback == index).sum()) for r in results)
    assert estimator.take_recent_fallbacks().sum() == ranges
    assert estimator.take_recent_fallbacks().sum() == 0
    assert estimator.fallbacks[method] > 0.9 * ranges


@pytest.mark.parametrize("method", METHODS)
def test_before_the_first_pose_a_calibration_stands_in_for_what_is_learned(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch], method: str
) -> None:
    out = UwbEstimator(layout, models[method]).update(epochs[0])
    assert set(out.fallback.tolist()) == {NO_POSE if method in LEARNED else BY_MODEL}


def test_with_an_external_pose_the_geometry_is_that_pose(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch]
) -> None:
    estimator = UwbEstimator(layout, models["network"], EstimatorParams(external_pose=True))
    position, unit = np.array([0.3, -0.4, 1.2]), np.array([0.0, 0.0, 0.0, 1.0])
    epoch = epochs[-1]
    estimator.update_pose(epoch.stamp - 0.01, position, unit)
    result = estimator.update(epoch)
    geometry = link_geometry(layout, position, np.eye(3), epoch.tag, epoch.anchor_a, epoch.anchor_b)
    np.testing.assert_array_equal(result.geometry, geometry)
    np.testing.assert_array_equal(result.bias, models["network"].predict(epoch, geometry).bias)
    assert result.pose is None


def test_an_external_pose_tells_which_range_is_wrong_and_is_wrong_itself_where_most_are(
    layout: Layout, models: dict[str, BiasModel], epochs: list[Epoch]
) -> None:
    estimator = UwbEstimator(layout, models["raw"], EstimatorParams(external_pose=True))
    at, unit, epoch = np.array([0.3, -0.4, 1.2]), np.array([0.0, 0.0, 0.0, 1.0]), deepcopy(epochs[-1])
    geometry = link_geometry(layout, at, np.eye(3), epoch.tag, epoch.anchor_a, epoch.anchor_b)
    epoch.measured[:] = true_difference(geometry)
    epoch.measured[2] += 5.0
    epoch.measured[3] = np.nan
    for i in range(60):
        epoch.stamp += 0.05
        pose = at if i < 20 else at + np.array([5.0, 0.0, 0.0])
        estimator.update_pose(epoch.stamp, pose, unit)
        result = estimator.update(epoch)
        if i < 20:
            assert result.status[2] == REJECTED_CHI2 and result.status[3] == INVALID
            assert (np.delete(result.status, [2, 3]) == ACCEPTED).all() and not estimator.pose_gate.doubted
            assert result.ratio[2] > 1.0 > np.nanmax(np.delete(result.ratio, 2))
        if i == 22:
            assert (result.status == REJECTED_CHI2).mean() > 0.5
    assert estimator.pose_gate.doubted and set(result.status.tolist()) == {ACCEPTED, INVALID}


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.005], ids=["one stamp", "1 ms apart", "5 ms apart"])
def test_outliers_are_rejected_whether_or_not_tags_share_a_stamp(pause: float) -> None:
    """The errors of a link stay alike for a while; those of two tags do not because they are measured together."""
    rng, sigma = np.random.default_rng(0), 0.05
    corners = [(x, y, z) for x in (0.0, 8.0) for y in (0.0, 6.0) for z in (0.3, 2.6)]
    tags = (Tag("left", np.array([0.25, 0.2, 0.0])), Tag("right", np.array([-0.25, -0.2, 0.0])))
    room = Layout(tuple(Anchor(f"a{i}", np.array(c)) for i, c in enumerate(corners)), tags, planar_z=0.5)
    estimator = UwbEstimator(room, AsMeasured(sigma**2, 0.08))
    anchors, one_way = np.arange(8), np.full(8, NO_ANCHOR)
    rejected = outliers = 0
    for i in range(200):
        for tag in range(2):
            mine = np.full(8, tag)
            geometry = link_geometry(room, np.array([3.0, 2.5, 0.5]), np.eye(3), mine, anchors, one_way)
            wrong = (rng.random(8) < 0.05) & (i > 40)
            measured = geometry[:, 0] + sigma * rng.standard_normal(8) + 3.0 * wrong
            stamp = i / 20 + tag * pause
            epoch = Epoch(stamp, mine, anchors, one_way, measured, np.zeros(8), np.full((8, 12), np.nan))
            status = estimator.update(epoch).status
            outliers += wrong.sum()
            rejected += (wrong & (status == REJECTED_KINEMATIC) | wrong & (status == REJECTED_CHI2)).sum()
    pose = estimator.localization.pose()
    assert pose is not None and rejected == outliers > 50
    assert pose.yaw_std < math.radians(5.0)


def swapped(order: Callable[[np.ndarray], np.ndarray], epoch: Epoch) -> Epoch:
    index = order(np.arange(len(epoch.tag)))
    columns = ("tag", "anchor_a", "anchor_b", "measured", "variance", "power")
    return replace(epoch, **{name: np.ascontiguousarray(getattr(epoch, name)[index]) for name in columns})


def test_each_link_is_predicted_by_itself_whatever_stands_beside_it(layout: Layout) -> None:
    models = load_bias_models(DEMO, layout)
    epoch, geometry = inside(layout, DEMO)
    for method in METHODS:
        forward = models[method].predict(epoch, geometry).bias
        backward = models[method].predict(
            swapped(lambda i: i[::-1], epoch), np.ascontiguousarray(geometry[::-1])
        )
        alone = [
            models[method].predict(swapped(lambda i, n=n: i[[n]], epoch), geometry[[n]]).bias[0]
            for n in range(len(epoch.tag))
        ]
        np.testing.assert_allclose(backward.bias[::-1], forward, atol=1e-6)
        np.testing.assert_allclose(alone, forward, atol=1e-6)

"""The localization as a whole: it finds the body, knows how well, and finds it again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from nn_estimation.bags import BagReader
from nn_estimation.inference import Model
from nn_estimation.shipped import default_model
from nn_estimation.uwb.bias import AsMeasured, Bias
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.gate import GateParams
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.localization import Localization, LocalizationParams, PoseEstimate
from nn_estimation.uwb.replay import layout_of, replay
from nn_estimation.uwb.stream import UwbStream

pytestmark = pytest.mark.once

CORNERS = [(x, y, z) for x in (0.0, 8.0) for y in (0.0, 6.0) for z in (0.3, 2.6)]
ANCHORS = tuple(Anchor(f"a{i}", np.array(corner)) for i, corner in enumerate(CORNERS))
TAGS = (Tag("left", np.array([0.25, 0.2, 0.05])), Tag("right", np.array([-0.25, -0.2, 0.05])))
PLANE = Layout(ANCHORS, TAGS, planar_z=0.5)
SPACE = Layout(ANCHORS, TAGS)
SIGMA = 0.05  # [m]
# An ordinary Kalman filter: nothing robust, nothing gated, errors without memory.
PLAIN = LocalizationParams(robust_scale=1e6)
OPEN = GateParams(max_speed=1e6, chi2_sigmas=1e6)


@dataclass
class Body:
    """A planar body moved by the white noise that the filter believes in."""

    position: np.ndarray
    velocity: np.ndarray
    yaw: float
    rate: float

    def advance(self, dt: float, params: LocalizationParams, rng: np.random.Generator) -> None:
        both = np.linalg.cholesky(np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]))
        for axis in range(2):
            noise = params.acceleration * both @ rng.standard_normal(2)
            self.position[axis] += self.velocity[axis] * dt + noise[0]
            self.velocity[axis] += noise[1]
        noise = params.angular_acceleration * both @ rng.standard_normal(2)
        self.yaw += self.rate * dt + noise[0]
        self.rate += noise[1]


def epoch(
    layout: Layout,
    stamp: float,
    position: np.ndarray,
    yaw: float = 0.0,
    *,
    rng: np.random.Generator | None = None,
    tdoa: bool = False,
) -> Epoch:
    tags, anchors = len(layout.tags), len(layout.anchors)
    tag, a = np.repeat(np.arange(tags), anchors), np.tile(np.arange(anchors), tags)
    b = (a + 1) % anchors if tdoa else np.full(len(a), NO_ANCHOR)
    R = Rotation.from_euler("z", yaw).as_matrix()
    measured = true_difference(link_geometry(layout, position, R, tag, a, b))
    if rng is not None:
        measured = measured + SIGMA * rng.standard_normal(len(measured))
    return Epoch(stamp, tag, a, b, measured, np.zeros(len(a)), np.full((len(a), 12), np.nan))


class Loop:
    """A localization fed with epochs whose ranges have no bias."""

    def __init__(
        self,
        layout: Layout,
        params: LocalizationParams | None = None,
        gate: GateParams | None = None,
        variance: float = SIGMA**2,
    ) -> None:
        self.filter = Localization(layout, params, gate)
        self.model = AsMeasured(variance, 0.0)

    def __call__(self, one: Epoch) -> PoseEstimate | None:
        self.filter.predict(one.stamp)
        if not self.filter.tracking:
            self.filter.start(one, self.model)
        else:
            geometry = self.filter.geometry(one)
            bias: Bias = self.model.predict(one, geometry)
            status = np.zeros(len(one.tag), dtype=np.uint8)
            self.filter.update(one, geometry, bias, np.ones(len(status)), status)
        return self.filter.pose()


def one_by_one(whole: Epoch, pause: float) -> Iterator[Epoch]:
    """The links of an epoch with a stamp each, [s] apart."""
    for n in range(len(whole.tag)):
        m = slice(n, n + 1)
        yield Epoch(
            whole.stamp + n * pause, whole.tag[m], whole.anchor_a[m], whole.anchor_b[m], whole.measured[m],
            whole.variance[m], whole.power[m],
        )  # fmt: skip


def walk(t: float) -> tuple[np.ndarray, float]:
    """A slow walk within the anchors."""
    return np.array([4.0 + 1.5 * np.sin(0.4 * t), 3.0 + np.cos(0.5 * t), 0.5]), 0.3 * t


def started(layout: Layout, **arguments: object) -> Loop:
    """A loop that has followed `walk` for two seconds at 20 Hz."""
    loop = Loop(layout, **arguments)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for i in range(40):
        loop(epoch(layout, i / 20, *walk(i / 20), rng=rng))
    assert loop.filter.tracking
    return loop


def yaw_of(pose: PoseEstimate) -> float:
    return float(np.arctan2(pose.R_world_body[1, 0], pose.R_world_body[0, 0]))


def wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def test_the_squared_error_is_chi_square_over_draws_from_the_model() -> None:
    runs, scored = 60, (20, 60, 100)
    states = [0, 1, 3, 4, 8, 11]
    nees = np.zeros((runs, len(scored)))
    for run in range(runs):
        rng = np.random.default_rng(run)
        body = Body(
            np.array([4.0, 3.0, 0.5]),
            np.append(rng.normal(0, 0.3, 2), 0.0),
            rng.uniform(-3, 3),
            rng.normal(0, 0.3),
        )
        loop = Loop(PLANE, PLAIN, OPEN)
        for i in range(scored[-1] + 1):
            loop(epoch(PLANE, i / 20, body.position, body.yaw, rng=rng))
            if i in scored:
                f = loop.filter
                error = np.zeros(15)
                error[:3], error[3:6] = body.position - f.p, body.velocity - f.v
                error[8] = wrapped(body.yaw - np.arctan2(f.R[1, 0], f.R[0, 0]))
                error[11] = body.rate - f.rate[2]
                chosen = error[states]
                nees[run, scored.index(i)] = chosen @ np.linalg.solve(f.P[np.ix_(states, states)], chosen)
            body.advance(1 / 20, PLAIN, rng)
    low, high = chi2.ppf((0.0005, 0.9995), runs * len(states)) / runs
    assert ((nees.mean(axis=0) > low) & (nees.mean(axis=0) < high)).all(), (nees.mean(axis=0), low, high)


def test_a_filter_that_believes_too_much_would_be_noticed() -> None:
    errors = []
    for claimed in (SIGMA**2, SIGMA**2 / 16):
        loop = Loop(PLANE, PLAIN, OPEN, claimed)
        rng = np.random.default_rng(1)
        for i in range(200):
            pose = loop(epoch(PLANE, i / 20, *walk(i / 20), rng=rng))
            if pose is not None and i > 40:
                error = (pose.position - walk(i / 20)[0])[:2]
                errors.append(error @ np.linalg.solve(pose.covariance[:2, :2], error))
    half = len(errors) // 2
    assert np.mean(errors[half:]) > 4 * np.mean(errors[:half])


@pytest.mark.parametrize("layout", [PLANE, SPACE], ids=["plane", "space"])
@pytest.mark.parametrize("imu", [False, True], ids=["alone", "imu"])
def test_the_covariance_stays_symmetric_and_positive_over_a_long_run(layout: Layout, imu: bool) -> None:
    loop = Loop(layout)
    rng = np.random.default_rng(2)
    for i in range(3000):
        t = i / 20
        if imu:
            for k in range(4):
                loop.filter.update_imu(
                    t - 0.05 + k / 80, 0.01 * rng.standard_normal(3), np.array([0, 0, 9.81])
                )
        loop(epoch(layout, t, np.array([4.0, 3.0, 0.5]), 0.3, rng=rng))
    P, mask = loop.filter.P, loop.filter.mask
    assert loop.filter.restarts == 0 and loop.filter.uses_imu == imu
    np.testing.assert_array_equal(P, P.T)
    values = np.linalg.eigvalsh(P[np.ix_(mask, mask)])
    assert values.min() > 0.0 and values.max() < 10.0
    assert not P[~mask].any()
    R = loop.filter.R
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-9)
    pose = loop.filter.pose()
    assert pose is not None
    np.testing.assert_allclose(pose.position, [4.0, 3.0, 0.5], atol=0.05)


@pytest.mark.parametrize("wrong", [-1.2, 0.7, 1.5])
def test_a_wrong_heading_converges_with_two_tags(wrong: float) -> None:
    loop = started(PLANE)
    loop.filter.R[:] = loop.filter.R @ Rotation.from_euler("z", wrong).as_matrix()
    loop.filter.P[8, :] = loop.filter.P[:, 8] = 0.0
    loop.filter.P[8, 8] = wrong**2
    rng = np.random.default_rng(3)
    errors = []
    for i in range(40, 140):
        pose = loop(epoch(PLANE, i / 20, *walk(i / 20), rng=rng))
        assert pose is not None
        errors.append(abs(wrapped(yaw_of(pose) - walk(i / 20)[1])))
    assert loop.filter.restarts == 0
    assert max(errors[40:]) < 0.15 and pose.yaw_std < 0.1


def test_one_tag_without_an_imu_says_that_it_does_not_know_the_heading() -> None:
    loop = started(Layout(ANCHORS, (Tag("tag", np.array([0.1, 0.0, 0.0])),), planar_z=0.5))
    pose = loop.filter.pose()
    assert pose is not None
    assert yaw_of(pose) == 0.0 and pose.yaw_std == pytest.approx(np.pi / np.sqrt(3))
    np.testing.assert_allclose(pose.position[:2], walk(39 / 20)[0][:2], atol=0.2)


@pytest.mark.parametrize("layout", [PLANE, SPACE], ids=["plane", "space"])
@pytest.mark.parametrize("tdoa", [False, True], ids=["two-way", "tdoa"])
def test_a_cold_start_finds_and_follows_the_body(layout: Layout, tdoa: bool) -> None:
    loop, rng = Loop(layout), np.random.default_rng(4)
    first = None
    for i in range(200):
        pose = loop(epoch(layout, i / 20, *walk(i / 20), rng=rng, tdoa=tdoa))
        first = i if first is None and pose is not None else first
        if pose is not None and i > 60:
            np.testing.assert_allclose(pose.position, walk(i / 20)[0], atol=0.25)
            assert abs(wrapped(yaw_of(pose) - walk(i / 20)[1])) < 0.5
    assert first is not None and first <= 10
    assert loop.filter.restarts == 0


def test_the_height_of_a_planar_body_is_that_of_the_plane() -> None:
    pose = started(PLANE).filter.pose()
    assert pose is not None and pose.position[2] == 0.5 and pose.velocity[2] == 0.0
    assert not pose.covariance[2].any()


def test_a_body_that_was_carried_away_is_found_again() -> None:
    loop, rng = started(PLANE), np.random.default_rng(5)
    moved = np.array([2.5, -2.0, 0.0])
    found = None
    for i in range(40, 160):
        pose = loop(epoch(PLANE, i / 20, walk(i / 20)[0] + moved, walk(i / 20)[1], rng=rng))
        near = pose is not None and np.linalg.norm(pose.position - walk(i / 20)[0] - moved) < 0.3
        found = i if found is None and near else found
    assert found is not None and (found - 40) / 20 < GateParams().reopen_after + 1.5
    assert near


@pytest.mark.parametrize("layout", [PLANE, SPACE], ids=["plane", "space"])
@pytest.mark.parametrize("seed", range(8))
def test_ranges_that_come_one_by_one_start_a_track_with_the_right_heading(layout: Layout, seed: int) -> None:
    """At first one tag alone is heard, of which the heading does not follow."""
    loop, rng, yaw = Loop(layout), np.random.default_rng(seed), -2.5 + 0.7 * seed
    for i in range(40):
        for one in one_by_one(epoch(layout, 0.2 * i, np.array([3.0, 2.5, 0.5]), yaw, rng=rng), 0.01):
            pose = loop(one)
    assert pose is not None and loop.filter.restarts == 0
    np.testing.assert_allclose(pose.position, [3.0, 2.5, 0.5], atol=0.2)
    assert abs((yaw_of(pose) - yaw + np.pi) % (2 * np.pi) - np.pi) < 0.2


@pytest.mark.parametrize("layout", [PLANE, SPACE], ids=["plane", "space"])
def test_a_tag_that_is_never_heard_does_not_keep_the_body_from_being_found(layout: Layout) -> None:
    loop, rng = Loop(layout), np.random.default_rng(3)
    for i in range(60):
        whole = epoch(layout, i / 20, np.array([3.0, 2.5, 0.5]), rng=rng)
        pose = None
        for one in list(one_by_one(whole, 0.001))[: len(layout.anchors)]:
            pose = loop(one)
        if i / 20 < 0.9:
            assert pose is None
    assert pose is not None
    error = np.linalg.norm(pose.position - [3.0, 2.5, 0.5])
    assert error < 3.0 * np.sqrt(np.trace(pose.covariance[:3, :3]))
    assert error < 0.6


def test_a_body_that_was_carried_away_is_found_again_by_ranges_that_come_one_by_one() -> None:
    loop, rng = started(PLANE), np.random.default_rng(5)
    moved = np.array([3.0, -2.0, 0.0])
    for i in range(10, 30):
        for one in one_by_one(epoch(PLANE, i / 5, walk(i / 5)[0] + moved, walk(i / 5)[1], rng=rng), 0.012):
            pose = loop(one)
    assert pose is not None
    np.testing.assert_allclose(pose.position, walk(29 / 5)[0] + moved, atol=0.4)


def test_one_tag_far_from_base_link_gives_where_that_is_on_the_mean_and_how_unsure() -> None:
    """A heading that is not known turns the lever arm about: no range tells."""
    lever, rng = np.array([0.4, 0.3, 0.1]), np.random.default_rng(2)
    room = Layout(ANCHORS, (Tag("tag", lever),))
    loop, errors, within = Loop(room), [], []
    for i in range(1200):
        at, yaw = walk(i / 20)
        pose = loop(epoch(room, i / 20, at, 2.0 * yaw, rng=rng))
        if i > 100:
            assert pose is not None
            errors.append((pose.position - at)[:2])
            within.append(np.abs(errors[-1]) < np.sqrt(np.diag(pose.covariance)[:2]))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.05
    assert np.sqrt(np.mean(np.square(errors))) < 0.5 * 1.15 / np.sqrt(2)
    assert 0.4 < np.mean(within) < 0.8


def test_silence_gives_the_track_up_and_ranges_start_another() -> None:
    loop = started(PLANE)
    assert loop.filter.pose() is not None
    hold = loop.filter.params.hold
    loop.filter.predict(39 / 20 + 0.9 * hold)
    assert loop.filter.tracking
    loop.filter.predict(39 / 20 + 1.1 * hold)
    assert not loop.filter.tracking and loop.filter.pose() is None and loop.filter.restarts == 1
    rng = np.random.default_rng(6)
    for i in range(20):
        pose = loop(epoch(PLANE, 10 + i / 20, *walk(10 + i / 20), rng=rng))
    assert pose is not None
    np.testing.assert_allclose(pose.position, walk(10 + 19 / 20)[0], atol=0.3)


def test_uncertainty_grows_while_nothing_is_heard() -> None:
    loop = started(PLANE)
    traces = []
    for k in range(8):
        loop.filter.predict(39 / 20 + 0.2 * k)
        pose = loop.filter.pose()
        assert pose is not None
        traces.append(np.trace(pose.covariance[:3, :3]))
    assert (np.diff(traces) > 0.0).all() and traces[-1] > 10 * traces[0]


def test_a_stamp_before_the_last_one_changes_nothing() -> None:
    loop = started(PLANE)
    before = loop.filter.p.copy(), loop.filter.P.copy()
    loop.filter.predict(39 / 20 - 0.5)
    np.testing.assert_array_equal(loop.filter.p, before[0])
    np.testing.assert_array_equal(loop.filter.P, before[1])


def test_an_imu_that_stops_leaves_a_level_body_at_constant_velocity() -> None:
    loop, rng = Loop(SPACE), np.random.default_rng(7)
    for i in range(100):
        if i < 60:
            for k in range(4):
                loop.filter.update_imu(i / 20 - 0.05 + k / 80, np.zeros(3), np.array([0.0, 0.0, 9.80665]))
        pose = loop(epoch(SPACE, i / 20, np.array([4.0, 3.0, 1.0]), 0.5, rng=rng))
        if i == 59:
            assert loop.filter.uses_imu
    assert pose is not None and not loop.filter.uses_imu and loop.filter.restarts == 0
    np.testing.assert_allclose(pose.position, [4.0, 3.0, 1.0], atol=0.15)
    np.testing.assert_allclose(pose.R_world_body[2], [0.0, 0.0, 1.0], atol=1e-12)
    assert abs(yaw_of(pose) - 0.5) < 0.2


def test_a_gap_of_all_inputs_is_not_filled_with_what_was_measured_before_it() -> None:
    """The IMU, whose turn was not to last, comes back first."""
    loop, rng, at, up = Loop(SPACE), np.random.default_rng(7), np.array([4.0, 3.0, 1.0]), [0.0, 0.0, 9.80665]
    for i in range(60):
        turn = 0.4 if i == 59 else 0.0
        for k in range(4):
            loop.filter.update_imu(i / 20 - 0.05 + k / 80, np.array([0.0, 0.0, turn]), np.array(up))
        before = loop(epoch(SPACE, i / 20, at, 0.5, rng=rng))
    loop.filter.update_imu(59 / 20 + 1.5, np.zeros(3), np.array(up))
    after = loop.filter.pose()
    assert before is not None and after is not None
    assert abs(yaw_of(after) - 0.5) < 0.1 and after.yaw_std > 2.0 * before.yaw_std
    assert loop.filter.restarts == 0


def test_an_imu_that_begins_during_a_track_levels_it_by_its_first_sample() -> None:
    loop, tilt = started(SPACE), Rotation.from_euler("x", 0.3)
    loop.filter.update_imu(2.0, np.zeros(3), tilt.inv().apply([0.0, 0.0, 9.80665]))
    pose = loop.filter.pose()
    assert pose is not None
    np.testing.assert_allclose(pose.R_world_body[2], tilt.as_matrix()[2], atol=1e-6)


def test_how_often_a_track_was_given_up_survives_a_reset() -> None:
    loop = started(PLANE)
    loop.filter.predict(39 / 20 + 1.1 * loop.filter.params.hold)
    loop.filter.reset()
    assert loop.filter.restarts == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_imu_sample_that_is_no_number_is_ignored(bad: float) -> None:
    loop = started(SPACE)
    before = loop.filter.p.copy()
    loop.filter.update_imu(2.0, np.array([bad, 0.0, 0.0]), np.array([0.0, 0.0, 9.81]))
    loop.filter.update_imu(2.0, np.zeros(3), np.array([0.0, 0.0, bad]))
    np.testing.assert_array_equal(loop.filter.p, before)
    assert not loop.filter.uses_imu


def poses(flight: Path, topics: Callable[[str], bool]) -> Iterator[PoseEstimate]:
    with BagReader(flight) as bag:
        layout = layout_of(bag)
        model = load_bias_models(Model.load(default_model("uwb_demo.onnx"), provider="cpu"), layout)[
            "network"
        ]
        stream = UwbStream(UwbEstimator(layout, model))
        stream.topics = {topic: kind for topic, kind in stream.topics.items() if topics(topic)}
        yield from (result.pose for result in replay(bag, stream) if result.pose is not None)


def test_an_imu_makes_the_flight_of_a_tilting_drone_more_accurate(flight: Path) -> None:
    with BagReader(flight) as bag:
        from nn_estimation.uwb.evaluation import _true_poses

        stamps, truth, _ = _true_poses(bag, "ground_truth/odometry")
    rmse = {}
    for name, chosen in (("with", lambda t: True), ("without", lambda t: "imu" not in t)):
        found = [pose for pose in poses(flight, chosen) if pose.stamp > stamps[0] + 3.0]
        at = np.array([pose.stamp for pose in found])
        true = np.stack([np.interp(at, stamps, truth[:, i]) for i in range(3)], axis=1)
        error = np.array([pose.position for pose in found]) - true
        rmse[name] = np.sqrt(np.mean(np.sum(error**2, axis=1)))
    assert rmse["with"] < 0.8 * rmse["without"], rmse

"""The localization as a whole: it finds the body, knows how well, and finds it again."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from nn_estimation.uwb.gate import GateParams
from nn_estimation.uwb.layout import Layout, Tag
from nn_estimation.uwb.localization import LocalizationParams

from .walking import (
    ANCHORS,
    OPEN,
    PLAIN,
    PLANE,
    SIGMA,
    SPACE,
    Loop,
    epoch,
    one_by_one,
    started,
    walk,
    wrapped,
    yaw_of,
)

pytestmark = pytest.mark.once


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


def test_how_often_a_track_was_given_up_survives_a_reset() -> None:
    loop = started(PLANE)
    loop.filter.predict(39 / 20 + 1.1 * loop.filter.params.hold)
    loop.filter.reset()
    assert loop.filter.restarts == 1

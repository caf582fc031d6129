"""The cold start finds the body wherever it is, or says nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.spatial.transform import Rotation

from nn_estimation.uwb import multilateration
from nn_estimation.uwb.bias import uncalibrated
from nn_estimation.uwb.epochs import Epoch, Link
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.multilateration import MAX_RETRY, RETRY, Fix, Multilateration, RangeResiduals

pytestmark = pytest.mark.once

CORNERS = [(x, y, z) for x in (0.0, 8.0) for y in (0.0, 6.0) for z in (0.3, 2.6)]
TAGS = (Tag("left", np.array([0.25, 0.2, 0.05])), Tag("right", np.array([-0.25, -0.2, 0.05])))


def layout(planar: float | None = None, tags: tuple[Tag, ...] = TAGS, anchors: int = 8) -> Layout:
    return Layout(tuple(Anchor(f"a{i}", np.array(c)) for i, c in enumerate(CORNERS[:anchors])), tags, planar)


def epoch(
    room: Layout, position: np.ndarray, yaw: float, *, tdoa: bool = False, noise: float = 0.0, seed: int = 0
) -> Epoch:
    rng = np.random.default_rng(seed)
    ends = [
        (t, a, (a + 1) % len(room.anchors) if tdoa else NO_ANCHOR)
        for t in range(len(room.tags))
        for a in range(len(room.anchors))
    ]
    tag, a, b = (np.array(column, dtype=np.int64) for column in zip(*ends, strict=True))
    R = Rotation.from_euler("z", yaw).as_matrix()
    true = true_difference(link_geometry(room, position, R, tag, a, b))
    measured = true + noise * rng.standard_normal(len(true))
    return Epoch.of(50.0, [Link(*end, value, 0.0) for end, value in zip(ends, measured, strict=True)])


def start(room: Layout, first: Epoch) -> Fix | None:
    return Multilateration(room).add(first, uncalibrated(room), imu=False)


places = st.tuples(st.floats(1.5, 6.5), st.floats(1.5, 4.5), st.floats(0.6, 2.2)).map(np.array)
headings = st.floats(-3.1, 3.1)


@pytest.mark.parametrize("tdoa", [False, True], ids=["two-way", "tdoa"])
@given(places, headings)
@settings(max_examples=20)
def test_a_body_in_space_is_found_with_its_heading(tdoa: bool, position: np.ndarray, yaw: float) -> None:
    room = layout()
    fix = start(room, epoch(room, position, yaw, tdoa=tdoa))
    assert fix is not None
    np.testing.assert_allclose(fix.position, position, atol=0.02)
    np.testing.assert_allclose(fix.R_world_body, Rotation.from_euler("z", yaw).as_matrix(), atol=0.05)


@given(places, headings)
@settings(max_examples=20)
def test_a_body_in_a_plane_is_found_at_its_height(position: np.ndarray, yaw: float) -> None:
    room = layout(planar=0.7)
    at = np.array([*position[:2], 0.7])
    fix = start(room, epoch(room, at, yaw, noise=0.03))
    assert fix is not None
    assert fix.position[2] == 0.7
    np.testing.assert_allclose(fix.position, at, atol=0.15)


def test_a_gross_outlier_does_not_move_the_fix() -> None:
    room = layout()
    one = epoch(room, np.array([3.0, 2.0, 1.0]), 0.5, noise=0.02)
    one.measured[5] += 6.0
    fix = start(room, one)
    assert fix is not None
    np.testing.assert_allclose(fix.position, [3.0, 2.0, 1.0], atol=0.2)


def test_the_covariance_covers_the_error() -> None:
    room = layout()
    inside = []
    for seed in range(60):
        fix = start(room, epoch(room, np.array([3.0, 2.0, 1.0]), 0.5, noise=0.15, seed=seed))
        assert fix is not None
        error = fix.position - [3.0, 2.0, 1.0]
        inside.append(error @ np.linalg.solve(fix.covariance[:3, :3], error) < 11.3)  # 99 % of chi2(3)
    assert np.mean(inside) > 0.9


def test_too_few_anchors_give_no_fix() -> None:
    for planar, anchors in ((None, 3), (0.7, 2)):
        room = layout(planar, anchors=anchors)
        assert start(room, epoch(room, np.array([3.0, 2.0, 0.7]), 0.0)) is None


def test_one_tag_gives_a_position_and_an_unknown_heading() -> None:
    room = layout(tags=(Tag("tag", np.zeros(3)),))
    fix = start(room, epoch(room, np.array([3.0, 2.0, 1.0]), 0.0))
    assert fix is not None
    np.testing.assert_allclose(fix.position, [3.0, 2.0, 1.0], atol=0.01)
    assert fix.covariance[3, 3] == pytest.approx(np.pi**2 / 3)


def test_ranges_that_arrive_one_by_one_add_up() -> None:
    room = layout(tags=(Tag("tag", np.zeros(3)),))
    whole = epoch(room, np.array([3.0, 2.0, 1.0]), 0.0)
    begin, model = Multilateration(room), uncalibrated(room)
    fixes = []
    for n in range(len(whole.tag)):
        link = Link(0, int(whole.anchor_a[n]), NO_ANCHOR, float(whole.measured[n]), 0.0)
        fixes.append(begin.add(Epoch.of(50.0 + 0.06 * n, [link]), model, imu=False))
    assert fixes[0] is None
    assert any(fix is not None for fix in fixes)


def test_old_ranges_are_forgotten() -> None:
    room = layout(tags=(Tag("tag", np.zeros(3)),))
    whole = epoch(room, np.array([3.0, 2.0, 1.0]), 0.0)
    begin, model = Multilateration(room), uncalibrated(room)
    for n in range(len(whole.tag)):
        link = Link(0, int(whole.anchor_a[n]), NO_ANCHOR, float(whole.measured[n]), 0.0)
        assert begin.add(Epoch.of(50.0 + 0.4 * n, [link]), model, imu=False) is None


@pytest.mark.parametrize("above", [False, True])
def test_anchors_at_one_height_place_the_body_on_the_side_that_the_layout_says(above: bool) -> None:
    corners = [Anchor(f"a{i}", np.array([*c[:2], 2.0])) for i, c in enumerate(CORNERS[::2])]
    room = Layout(tuple(corners), TAGS, above=above)
    at = np.array([3.0, 2.0, 3.5 if above else 0.5])
    fix = start(room, epoch(room, at, 0.5, noise=0.02))
    assert fix is not None and room.mirrored
    np.testing.assert_allclose(fix.position, at, atol=0.3)


def test_anchors_at_several_heights_tell_that_the_body_is_above_them() -> None:
    corners = [Anchor(f"a{i}", np.array([*c[:2], 1.2 * (i in (1, 2))])) for i, c in enumerate(CORNERS[::2])]
    room = Layout(tuple(corners), TAGS)
    at = np.array([3.0, 2.0, 2.6])
    fix = start(room, epoch(room, at, 0.5, noise=0.005))
    assert fix is not None and not room.mirrored
    np.testing.assert_allclose(fix.position, at, atol=0.3)


def test_ranges_that_are_no_numbers_are_left_out() -> None:
    room = layout()
    one = epoch(room, np.array([3.0, 2.0, 1.0]), 0.5)
    one.measured[[0, 9]] = np.nan
    fix = start(room, one)
    assert fix is not None
    np.testing.assert_allclose(fix.position, [3.0, 2.0, 1.0], atol=0.02)


@given(
    places,
    st.none() | headings,
    st.none() | st.floats(0.0, 2.0),
    st.integers(0, 2**32 - 1),
)
def test_the_jacobian_of_the_residuals_is_their_derivative(
    position: np.ndarray, yaw: float | None, planar: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    second = rng.uniform(-5.0, 15.0, (10, 3))
    second[::2] = np.nan  # two-way
    ranges = RangeResiduals(
        rng.uniform(-5.0, 15.0, (10, 3)), second, rng.uniform(-0.5, 0.5, (10, 3)),
        rng.uniform(0.0, 9.0, 10), rng.uniform(0.05, 0.5, 10), planar,
    )  # fmt: skip
    state = np.append(ranges.state(position), [] if yaw is None else yaw)
    numeric = np.stack([approx_fprime(state, lambda x, n=n: ranges.values(x)[n], 1e-7) for n in range(10)])
    # A forward difference of 1e-7 errs by some 1e-6 over sigma; more where the antenna is near an anchor.
    near = np.linalg.norm(ranges.first - position, axis=1) < 1.0
    near |= np.linalg.norm(ranges.second - position, axis=1) < 1.0
    np.testing.assert_allclose(ranges.jacobian(state)[~near], numeric[~near], atol=1e-4)


def test_the_jacobian_at_an_anchor_is_finite() -> None:
    corner = np.array([[1.0, 2.0, 3.0]])
    ranges = RangeResiduals(
        corner, np.full((1, 3), np.nan), np.zeros((1, 3)), np.ones(1), np.full(1, 0.1), None
    )
    assert np.isfinite(ranges.jacobian(corner[0])).all()


def attempts(begin: Multilateration, ranges: Epoch, stamps: np.ndarray) -> list[float]:
    """The stamps at which ranges that came at `stamps` were solved for."""
    solve, out = begin._solve, []

    def counted(*arguments: Any) -> Fix | None:
        out.append(stamp)
        return solve(*arguments)

    begin._solve = counted  # type: ignore[method-assign]
    model = uncalibrated(begin.layout)
    for stamp in stamps.tolist():
        begin.add(replace(ranges, stamp=stamp), model, imu=False)
    begin._solve = solve  # type: ignore[method-assign]
    return out


def contradicting(room: Layout) -> Epoch:
    """No place is half a metre from every anchor of a hall."""
    out = epoch(room, np.array([3.0, 2.0, 1.0]), 0.0)
    out.measured[:] = 0.5
    return out


def test_an_attempt_that_fails_doubles_the_wait_for_the_next_up_to_a_second() -> None:
    room = layout()
    tried = attempts(Multilateration(room), contradicting(room), np.arange(1000) / 100)
    waits = np.diff(tried)
    np.testing.assert_allclose(waits[:4], [0.2, 0.4, 0.8, 1.0], atol=0.011)
    np.testing.assert_allclose(waits[4:], MAX_RETRY, atol=0.011)


def test_a_fix_or_a_reset_ends_the_longer_wait() -> None:
    room = layout()
    good, bad = epoch(room, np.array([3.0, 2.0, 1.0]), 0.5), contradicting(room)
    begin = Multilateration(room)
    attempts(begin, bad, np.arange(300) / 100)
    assert len(attempts(begin, good, 5.0 + np.arange(2) * (RETRY + 0.01))) == 2
    attempts(begin, bad, 6.0 + np.arange(300) / 100)
    begin.reset()
    assert len(attempts(begin, bad, 9.0 + np.arange(1) / 100)) == 1


def test_a_start_is_sought_from_a_few_headings_only() -> None:
    room = layout()
    evaluated = 0

    class Counted(RangeResiduals):
        def values(self, state: np.ndarray) -> np.ndarray:
            nonlocal evaluated
            evaluated += 1
            return super().values(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multilateration, "RangeResiduals", Counted)
        assert start(room, contradicting(room)) is None
    assert 0 < evaluated <= 3 * multilateration.MAX_EVALUATIONS + len(multilateration.HEADINGS)

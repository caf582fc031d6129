"""The geometry of links, against vectors turned by scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Anchor, Layout, Tag


def scene(seed: int) -> tuple[Layout, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    anchors = [
        Anchor(f"a{i}", rng.uniform(-5, 5, 3), Rotation.random(random_state=rng).as_matrix())
        for i in range(3)
    ]
    tags = [
        Tag(f"t{i}", rng.uniform(-0.3, 0.3, 3), Rotation.random(random_state=rng).as_matrix())
        for i in range(2)
    ]
    return (
        Layout(tuple(anchors), tuple(tags)),
        rng.uniform(-3, 3, (4, 3)),
        Rotation.random(4, rng).as_matrix(),
    )


def expected(layout: Layout, p: np.ndarray, R: np.ndarray, tag: int, anchor: int) -> list[float]:
    antenna = p + R @ layout.tag_positions[tag]
    ray = layout.anchor_positions[anchor] - antenna
    at_tag = layout.R_body_tag[tag].T @ R.T @ ray
    at_anchor = layout.R_world_anchor[anchor].T @ -ray
    out = [float(np.linalg.norm(ray))]
    for x, y, z in (at_tag, at_anchor):
        out += [float(np.arctan2(y, x)), float(np.arctan2(z, np.hypot(x, y)))]
    return out


@given(st.integers(0, 10_000))
def test_distances_and_directions_are_those_of_the_antennas(seed: int) -> None:
    layout, p, R = scene(seed)
    tag, a, b = np.array([0, 1, 1, 0]), np.array([0, 1, 2, 2]), np.array([NO_ANCHOR, NO_ANCHOR, 0, 1])
    pose = np.array([3, 1, 0, 2])
    geometry = link_geometry(layout, p, R, tag, a, b, pose)
    for n in range(4):
        first = expected(layout, p[pose[n]], R[pose[n]], tag[n], a[n])
        np.testing.assert_allclose(geometry[n, :5], first, atol=1e-9)
        if b[n] == NO_ANCHOR:
            assert np.isnan(geometry[n, 5:]).all()
            assert true_difference(geometry)[n] == pytest.approx(first[0])
        else:
            second = expected(layout, p[pose[n]], R[pose[n]], tag[n], b[n])
            np.testing.assert_allclose(geometry[n, 5:], second, atol=1e-9)
            assert true_difference(geometry)[n] == pytest.approx(second[0] - first[0])


@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_turning_the_body_turns_the_azimuth_of_a_level_tag(seed: int, turn: float) -> None:
    rng = np.random.default_rng(seed)
    layout = Layout((Anchor("a", rng.uniform(1, 5, 3)),), (Tag("t", np.zeros(3)),))
    one = np.zeros(1, dtype=np.int64)
    before = link_geometry(layout, np.zeros(3), np.eye(3), one, one, one - 1)[0]
    after = link_geometry(layout, np.zeros(3), Rotation.from_euler("z", turn).as_matrix(), one, one, one - 1)[
        0
    ]
    assert np.cos(before[1] - turn - after[1]) == pytest.approx(1.0)
    np.testing.assert_allclose(after[[0, 2, 3, 4]], before[[0, 2, 3, 4]], atol=1e-12)

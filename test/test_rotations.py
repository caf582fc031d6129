"""SO(3) in numpy, beside scipy's Rotation where it knows the answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from nn_estimation.rotations import RotationError, from_6d, geodesic_distance, project_to_so3

seeds = st.integers(0, 2**32 - 1)


def turns(count: int, seed: int) -> np.ndarray:
    return Rotation.random(count, random_state=seed).as_matrix()


def matrices(count: int, seed: int) -> np.ndarray:
    """Half of them with a negative determinant; the smallest singular values differ by 1 % of the largest."""
    rng = np.random.default_rng(seed)
    s = np.sort(rng.uniform(0.02, 1.0, (count, 3)))[:, ::-1] * 10.0 ** rng.uniform(-3, 3, (count, 1))
    s[:, 2] *= np.where(rng.random(count) < 0.5, 1.0, -0.9)
    s[:, 1] += 0.01 * s[:, 0]
    return turns(count, seed) @ (s[..., None] * turns(count, seed + 1))


@given(seeds)
def test_projection_gives_rotations_and_leaves_rotations_alone(seed: int) -> None:
    r = project_to_so3(matrices(20, seed % 2**31))
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-14)
    np.testing.assert_allclose(project_to_so3(r), r, atol=1e-14)


@given(seeds, st.floats(1e-6, 1e6))
def test_projection_turns_with_the_matrix_and_ignores_its_scale(seed: int, scale: float) -> None:
    m, u, v = matrices(20, seed % 2**31), turns(20, 1), turns(20, 2)
    # The error of the nearest rotation is that of the matrix over s2 + s3, here a hundredth.
    np.testing.assert_allclose(project_to_so3(scale * u @ m @ v), u @ project_to_so3(m) @ v, atol=1e-12)


@given(seeds)
def test_no_rotation_is_nearer(seed: int) -> None:
    m = matrices(20, seed % 2**31)
    nearest = np.linalg.norm(m - project_to_so3(m), axis=(1, 2))
    assert (np.linalg.norm(m - turns(20, 3), axis=(1, 2)) >= nearest).all()
    near = project_to_so3(m) @ Rotation.random(20, random_state=4).as_matrix()
    assert (np.linalg.norm(m - near, axis=(1, 2)) >= nearest).all()


@pytest.mark.parametrize("shape", [(), (1,), (0,), (4, 5)])
def test_any_batch_shape(shape: tuple[int, ...]) -> None:
    m = np.random.default_rng(0).normal(size=(*shape, 3, 3))
    assert project_to_so3(m).shape == (*shape, 3, 3)
    assert from_6d(m.reshape(*shape, 9)[..., :6]).shape == (*shape, 3, 3)
    assert geodesic_distance(project_to_so3(m), np.eye(3)).shape == shape


@pytest.mark.parametrize("m", [np.zeros((3, 3)), np.diag([1.0, 0.0, 0.0]), -np.eye(3), np.diag([2.0, 1, -1])])
def test_a_matrix_between_two_rotations_is_refused(m: np.ndarray) -> None:
    with pytest.raises(RotationError, match="1 of 2 matrices have no nearest rotation"):
        project_to_so3(np.stack([np.eye(3), m]))
    assert project_to_so3(m + np.diag([0.0, 1e-9, 2e-9])).shape == (3, 3)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RotationError, match="1 of 9 numbers are not finite"):
        project_to_so3(np.diag([1.0, np.nan, 1.0]))


@given(seeds, arrays(np.float64, (5, 2), elements=st.floats(1e-3, 1e3)), st.floats(1e-3, np.pi - 1e-3))
def test_six_numbers_become_a_rotation_along_the_first_three(
    seed: int, sizes: np.ndarray, angle: float
) -> None:
    """Two columns of any length and angle between them: the first is x, the second lies in x and y."""
    expected = turns(5, seed)
    x, y = expected[:, :, 0], expected[:, :, 1]
    second = np.cos(angle) * x + np.sin(angle) * y
    r = from_6d(np.concatenate([sizes[:, :1] * x, sizes[:, 1:] * second], axis=1))
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-11)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-11)
    np.testing.assert_allclose(r, expected, atol=1e-11)


def test_six_numbers_of_a_rotation_give_it_back() -> None:
    r = turns(100, 0)
    np.testing.assert_allclose(
        from_6d(np.concatenate([3 * r[..., 0], 2 * r[..., 1]], axis=-1)), r, atol=1e-14
    )


@pytest.mark.parametrize("columns", [[0, 0, 0, 1, 0, 0], [1, 2, 3, 0, 0, 0], [1, 2, 3, -2, -4, -6]])
def test_columns_that_span_no_plane_are_refused(columns: list[float]) -> None:
    with pytest.raises(RotationError, match="1 of 2 pairs of columns span no plane"):
        from_6d(np.array([columns, [1, 0, 0, 0, 1, 0]], dtype=float))


@given(st.floats(0.0, np.pi), seeds)
def test_distance_is_the_angle_between_to_full_precision(angle: float, seed: int) -> None:
    a, axis = turns(1, seed)[0], turns(1, seed - 1 if seed else 1)[0, 0]
    b = a @ Rotation.from_rotvec(angle * axis).as_matrix()
    # The matrices carry rounding of 1e-16; an arc cosine of the trace would be off by 1e-8 near both ends.
    assert geodesic_distance(a, b) == pytest.approx(angle, abs=3e-15)
    assert geodesic_distance(a, b) == pytest.approx(geodesic_distance(b, a), abs=3e-15)

"""The compiled steps that filters share equal their textbook forms."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from nn_estimation.filters import (
    innovation_variance,
    orthonormalise,
    quaternion,
    rotate_right,
    scalar_update,
    so3_exp,
)

N = 15


def covariance(rng: np.random.Generator) -> np.ndarray:
    A = rng.normal(size=(N, N))
    return A @ A.T + 0.1 * np.eye(N)


def test_a_scalar_update_is_that_of_joseph() -> None:
    rng = np.random.default_rng(0)
    P, H, innovation, variance = covariance(rng), rng.normal(size=N), 0.7, 0.3
    K = P @ H / (H @ P @ H + variance)
    left = np.eye(N) - np.outer(K, H)
    wanted = left @ P @ left.T + variance * np.outer(K, K)
    dx = np.empty(N)
    assert innovation_variance(P, H) == pytest.approx(H @ P @ H)
    scalar_update(P, H, innovation, variance, dx)
    np.testing.assert_allclose(P, wanted, atol=1e-12)
    np.testing.assert_allclose(dx, K * innovation, atol=1e-12)


def test_a_covariance_stays_positive_and_symmetric_over_a_million_updates() -> None:
    rng = np.random.default_rng(1)
    P, dx = covariance(rng), np.empty(N)
    rows = rng.normal(size=(1000, N))
    for _ in range(1000):
        P += 1e-6 * np.eye(N)
        for H in rows:
            scalar_update(P, H, 0.0, 1e-4, dx)
    np.testing.assert_array_equal(P, P.T)
    assert np.linalg.eigvalsh(P).min() > 0.0


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 1e-3, 1.0, np.pi, 6.0])
def test_the_exponential_is_that_of_the_matrix(angle: float) -> None:
    w = angle * np.array([0.48, -0.6, 0.64])
    out = np.empty((3, 3))
    so3_exp(w, out)
    skew = np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])
    np.testing.assert_allclose(out, expm(skew), atol=1e-13)


def test_rotating_on_the_right_is_a_turn_in_the_body_frame() -> None:
    R, w = Rotation.random(random_state=2).as_matrix(), np.array([0.1, -0.2, 0.3])
    wanted = R @ Rotation.from_rotvec(w).as_matrix()
    rotate_right(R, w, np.empty((3, 3)), np.empty((3, 3)))
    np.testing.assert_allclose(R, wanted, atol=1e-14)


def test_a_rotation_that_drifted_is_made_one_again() -> None:
    exact = Rotation.random(random_state=3).as_matrix()
    R = exact + 1e-5 * np.random.default_rng(3).normal(size=(3, 3))
    for _ in range(2):
        orthonormalise(R, np.empty((3, 3)))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(R, exact, atol=1e-4)


def test_the_quaternion_of_any_rotation_is_that_of_scipy() -> None:
    half_turns = np.pi * np.eye(3)
    vectors = [*Rotation.random(2000, random_state=4).as_rotvec(), *half_turns, *-half_turns, np.zeros(3)]
    vectors += [v * (1 - 1e-9) for v in half_turns]
    out = np.empty(4)
    for R in Rotation.from_rotvec(np.array(vectors)).as_matrix():
        quaternion(R, out)
        assert out[3] >= 0.0
        np.testing.assert_allclose(Rotation.from_quat(out).as_matrix(), R, atol=1e-12)
        assert np.linalg.norm(out) == pytest.approx(1.0, abs=1e-14)

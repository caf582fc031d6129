"""The compiled filter steps, against finite differences and against plain Kalman algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation import filters
from nn_estimation.uwb import tracking
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Anchor, Layout, Tag

seeds = st.integers(0, 100_000)
STEP = 1e-6


def scene(seed: int) -> tuple[Layout, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    anchors = tuple(Anchor(f"a{i}", rng.uniform((3, -5, -5), (13, 5, 5))) for i in range(2))
    tag = Tag("t", rng.uniform(-0.4, 0.4, 3), Rotation.random(random_state=rng).as_matrix())
    return Layout(anchors, (tag,)), rng.uniform(-2, 2, 3), Rotation.random(random_state=rng).as_matrix()


@given(seeds, st.sampled_from([NO_ANCHOR, 1]))
def test_the_measurement_jacobian_is_the_derivative_of_the_biased_range(seed: int, b: int) -> None:
    layout, p, R = scene(seed)
    gradient = np.random.default_rng(seed).uniform(-0.3, 0.3, 3)
    index = np.zeros(1, dtype=np.int64)

    def predicted(dx: np.ndarray) -> float:
        turned = R @ Rotation.from_rotvec(dx[6:9]).as_matrix()
        g = link_geometry(layout, p + dx[:3], turned, index, index, index + b)[0]
        distance = g[0] if b == NO_ANCHOR else g[5] - g[0]
        centre = link_geometry(layout, p, R, index, index, index + b)[0]
        around = (g[1] - centre[1] + np.pi) % (2 * np.pi) - np.pi
        return float(distance + gradient @ [g[0] - centre[0], around, g[2] - centre[2]])

    H = np.empty(tracking.SIZE)
    mask = np.ones(tracking.SIZE, dtype=np.bool_)
    tracking.link_jacobian(
        p, R, mask, layout.anchor_positions, layout.tag_positions, layout.R_body_tag, 0, 0, b, gradient, H
    )
    steps = np.eye(tracking.SIZE) * STEP
    numeric = [(predicted(step) - predicted(-step)) / (2 * STEP) for step in steps]
    elevation = link_geometry(layout, p, R, index, index, index + b)[0, 2]
    tolerance = 1e-6 / max(np.cos(elevation) ** 2, 1e-3)  # azimuth is steep near the poles
    np.testing.assert_allclose(H, numeric, atol=max(tolerance, 2e-6))


@given(seeds)
def test_masked_states_have_no_jacobian(seed: int) -> None:
    layout, p, R = scene(seed)
    mask = np.random.default_rng(seed).random(tracking.SIZE) < 0.5
    H = np.empty(tracking.SIZE)
    tracking.link_jacobian(
        p, R, mask, layout.anchor_positions, layout.tag_positions, layout.R_body_tag, 0, 0, -1, np.zeros(3), H
    )
    assert (H[~mask] == 0.0).all()


def imu_step(state: list[np.ndarray], dt: float) -> list[np.ndarray]:
    p, v, R, gyro_bias, accel_bias = (x.copy() for x in state)
    P, mask = np.zeros((15, 15)), np.ones(15, dtype=np.bool_)
    gyro, accel = np.array([0.3, -0.2, 0.9]), np.array([0.5, 0.4, 9.9])
    tracking.predict_imu(p, v, R, gyro_bias, accel_bias, P, mask, gyro, accel, dt, 0.0, 0.0, 0.0, 0.0)
    return [p, v, R, gyro_bias, accel_bias]


def perturbed(state: list[np.ndarray], dx: np.ndarray) -> list[np.ndarray]:
    p, v, R, g, a = state
    return [p + dx[:3], v + dx[3:6], R @ Rotation.from_rotvec(dx[6:9]).as_matrix(), g + dx[9:12], a + dx[12:]]


def difference(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    turn = Rotation.from_matrix(other[2].T @ one[2]).as_rotvec()
    parts = [one[0] - other[0], one[1] - other[1], turn, one[3] - other[3], one[4] - other[4]]
    return np.concatenate(parts)


@given(seeds)
def test_the_covariance_of_an_imu_step_follows_the_linearised_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = [
        *rng.normal(size=(2, 3)),
        Rotation.random(random_state=rng).as_matrix(),
        *rng.normal(size=(2, 3)) * 0.1,
    ]
    dt, h = 0.005, 1e-5
    F = np.empty((15, 15))
    for i in range(15):
        dx = np.zeros(15)
        dx[i] = h
        ahead, behind = imu_step(perturbed(state, dx), dt), imu_step(perturbed(state, -dx), dt)
        F[:, i] = difference(ahead, behind) / (2 * h)
    A = rng.normal(size=(15, 15))
    P = A @ A.T
    after = P.copy()
    p, v, R, g, a = (x.copy() for x in state)
    gyro, accel = np.array([0.3, -0.2, 0.9]), np.array([0.5, 0.4, 9.9])
    tracking.predict_imu(
        p, v, R, g, a, after, np.ones(15, dtype=np.bool_), gyro, accel, dt, 0.0, 0.0, 0.0, 0.0
    )
    np.testing.assert_allclose(after, F @ P @ F.T, atol=5e-4 * np.abs(P).max())  # first order in dt


@given(seeds)
def test_a_body_at_rest_stays_where_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    R = Rotation.random(random_state=rng).as_matrix()
    p, v, start = np.zeros(3), np.zeros(3), R.copy()
    for _ in range(100):
        tracking.predict_imu(
            p, v, R, np.zeros(3), np.zeros(3), np.zeros((15, 15)), np.ones(15, dtype=np.bool_),
            np.zeros(3), R.T @ [0, 0, tracking.GRAVITY], 0.005, 0.0, 0.0, 0.0, 0.0,
        )  # fmt: skip
    np.testing.assert_allclose(p, 0.0, atol=1e-9)
    np.testing.assert_allclose(R, start, atol=1e-9)


@given(seeds, st.integers(1, 15))
@settings(max_examples=50)
def test_a_scalar_update_is_that_of_the_textbook(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(size, size))
    P, H, innovation, variance = A @ A.T, rng.normal(size=size), rng.normal(), rng.uniform(0.01, 1.0)
    S = H @ P @ H + variance
    K = P @ H / S
    I_KH = np.eye(size) - np.outer(K, H)
    joseph = I_KH @ P @ I_KH.T + variance * np.outer(K, K)
    updated, dx = P.copy(), np.empty(size)
    filters.scalar_update(updated, H, innovation, variance, dx)
    np.testing.assert_allclose(dx, K * innovation, atol=1e-9)
    np.testing.assert_allclose(updated, joseph, atol=1e-9 * np.abs(P).max())
    assert (updated == updated.T).all()
    assert filters.innovation_variance(P, H) == pytest.approx(S - variance)


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.sampled_from([1.0, 1e-3, 1e-6, 0.0]))
def test_the_exponential_is_that_of_scipy(vector: list[float], scale: float) -> None:
    w = np.array(vector) * scale
    out = np.empty((3, 3))
    filters.so3_exp(w, out)
    np.testing.assert_allclose(out, Rotation.from_rotvec(w).as_matrix(), atol=1e-12)


@given(seeds)
def test_orthonormalising_removes_rounding_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    R = Rotation.random(random_state=rng).as_matrix()
    noisy = R + 1e-6 * rng.normal(size=(3, 3))
    filters.orthonormalise(noisy, np.empty((3, 3)))
    np.testing.assert_allclose(noisy.T @ noisy, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(noisy, R, atol=1e-5)

"""Claims about the compiled invariant filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from nn_estimation.dead_reckoning import filter as kernel
from nn_estimation.dead_reckoning import textbook, vehicle
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import State, earth_rate, first_state
from nn_estimation.dead_reckoning.speed import road

pytestmark = pytest.mark.once

NO_EARTH = np.zeros(3)
SLIPPING = Constants(slip=-0.05, slip_speed=-0.0006, squat=-0.005, lift=0.012)
SILENT = Constants(gyro=0.0, accel=0.0, gyro_walk=0.0, accel_walk=0.0, mount_walk=0.0, lever_walk=0.0)


def some_state(seed: int = 0) -> State:
    rng = np.random.default_rng(seed)
    state = State(0.0)
    state.R[:] = Rotation.random(random_state=seed).as_matrix()
    state.C[:] = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix()
    for array, scale in zip(
        (state.v, state.p, state.gyro_bias, state.accel_bias, state.lever),
        (10, 50, 0.01, 0.2, 1),
        strict=True,
    ):
        array[:] = rng.normal(0, scale, 3)
    root = rng.normal(0, 0.1, (21, 21))
    state.P[:] = root @ root.T + 0.01 * np.eye(21)
    return state


def moved(state: State, error: np.ndarray) -> State:
    """The state that is `error` away."""
    out = state.copy()
    R, v, p, gyro_bias, accel_bias, C, lever, _, _ = out.arrays()
    kernel.retract(R, v, p, gyro_bias, accel_bias, C, lever, np.asarray(error, dtype=np.float64))
    return out


def group(state: State) -> np.ndarray:
    """(5, 5) of SE_2(3)."""
    X = np.eye(5)
    X[:3, :3], X[:3, 3], X[:3, 4] = state.R, state.v, state.p
    return X


def log(X: np.ndarray) -> np.ndarray:
    """(9,) rotation, velocity, position."""
    M = np.real(logm(X))
    return np.r_[M[2, 1], M[0, 2], M[1, 0], M[:3, 3], M[:3, 4]]


def error_between(true: State, estimate: State) -> np.ndarray:
    """(21,) the right-invariant error."""
    pose = log(group(true) @ np.linalg.inv(group(estimate)))
    mount = Rotation.from_matrix(true.C @ estimate.C.T).as_rotvec()
    return np.r_[
        pose,
        true.gyro_bias - estimate.gyro_bias,
        true.accel_bias - estimate.accel_bias,
        mount,
        true.lever - estimate.lever,
    ]


def propagated(state: State, gyro: np.ndarray, accel: np.ndarray, dt: float, c: Constants = SILENT) -> State:
    out = state.copy()
    R, v, p, gyro_bias, accel_bias, _, _, P, _ = out.arrays()
    kernel.propagate(R, v, p, gyro_bias, accel_bias, P, gyro, accel, dt, NO_EARTH, c)
    return out


def transition(state: State, gyro: np.ndarray, accel: np.ndarray, dt: float) -> np.ndarray:
    """(21, 21) by central differences."""
    middle = propagated(state, gyro, accel, dt)
    columns, h = [], 1e-5
    for i in range(21):
        step = h * np.eye(21)[i]
        ahead, behind = (
            error_between(propagated(moved(state, s), gyro, accel, dt), middle) for s in (step, -step)
        )
        columns.append((ahead - behind) / (2 * h))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_the_covariance_is_carried_by_the_derivative_of_the_step(seed: int) -> None:
    state = some_state(seed)
    gyro, accel = np.array([0.2, -0.3, 0.5]), np.array([1.0, -2.0, 9.0])
    Phi = transition(state, gyro, accel, 0.01)
    carried = propagated(state, gyro, accel, 0.01).P
    # Of third order in the turn of a step, 0.006 rad.
    np.testing.assert_allclose(carried, Phi @ state.P @ Phi.T, rtol=1e-5, atol=1e-5)


@given(st.lists(st.floats(-0.8, 0.8), min_size=9, max_size=9))
def test_the_invariant_error_is_log_linear(values: list[float]) -> None:
    """Barrau and Bonnabel 2017, theorem 2: also a large error moves linearly, whatever the trajectory."""
    state = some_state(1)
    state.gyro_bias[:] = state.accel_bias[:] = 0.0
    error = np.r_[values, np.zeros(12)]
    error[:3] *= 1.5
    gyro, accel, dt = np.array([0.4, -0.2, 0.7]), np.array([2.0, 1.0, 8.0]), 0.1
    true = moved(state, error)
    after = error_between(propagated(true, gyro, accel, dt), propagated(state, gyro, accel, dt))
    g = np.zeros((9, 9))
    g[3:6, :3] = [[0, kernel.GRAVITY, 0], [-kernel.GRAVITY, 0, 0], [0, 0, 0]]
    g[6:9, 3:6] = np.eye(3)
    np.testing.assert_allclose(after[:9], expm(g * dt) @ error[:9], atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_constraint_has_the_derivatives_it_says(seed: int) -> None:
    state, gyro = some_state(seed), np.array([0.1, 0.2, 0.4])

    def residual(s: State) -> tuple[np.ndarray, np.ndarray]:
        H, r = np.empty((2, 21)), np.empty(2)
        vehicle.slip_residual(s.R, s.v, s.gyro_bias, s.C, s.lever, gyro, 0.7, SLIPPING, H, r)
        return r, H

    H, h = residual(state)[1], 1e-6
    for i in range(21):
        step = h * np.eye(21)[i]
        slope = (residual(moved(state, -step))[0] - residual(moved(state, step))[0]) / (2 * h)
        np.testing.assert_allclose(H[:, i], slope, atol=1e-7)


def test_scalar_updates_in_turn_equal_the_joint_one_of_joseph() -> None:
    state, rng = some_state(2), np.random.default_rng(0)
    H, r, variance = rng.normal(size=(2, 21)), np.array([0.4, -0.2]), np.array([0.5, 2.0])
    S = H @ state.P @ H.T + np.diag(variance)
    K = state.P @ H.T @ np.linalg.inv(S)
    left = np.eye(21) - K @ H
    joint = left @ state.P @ left.T + K @ np.diag(variance) @ K.T
    P, dx = state.P.copy(), np.zeros(21)
    for n in range(2):
        kernel.gather(P, H[n], r[n], variance[n], dx)
    np.testing.assert_allclose(dx, K @ r, atol=1e-12)
    np.testing.assert_allclose(P, joint, atol=1e-12)
    np.testing.assert_array_equal(P, P.T)


def test_nees_lies_inside_its_chi_square_bounds() -> None:
    """Forty simulated drives whose truth is drawn from the model; the filter's errors are as large as it says."""
    runs, count, dt = 40, 1000, 0.01
    c = Constants(
        tilt_0=1e-4, heading_0=1e-4, velocity_0=1e-2, gyro_bias_0=1e-6, accel_bias_0=1e-4, mount_0=1e-6,
        lever_0=1e-4, lateral=0.01, vertical=0.01,
    )  # fmt: skip
    nees = []
    for run in range(runs):
        rng = np.random.default_rng(run)
        true, estimate = simulated(c, rng, count, dt)
        error = error_between(true, estimate)
        used = np.r_[0:5, 9:21]  # vertical velocity and position start exactly known
        e, P = error[used], estimate.P[np.ix_(used, used)]
        nees.append(e @ np.linalg.solve(P, e))
    low, high = chi2.ppf([0.001, 0.999], runs * 17) / runs
    assert low < np.mean(nees) < high


def simulated(c: Constants, rng: np.random.Generator, count: int, dt: float) -> tuple[State, State]:
    """True and estimated state after a drive; the constraint holds up to its own white noise."""
    estimate = first_state(c, 0.0, np.zeros(3), np.eye(3), np.array([10.0, 0.0, 0.0]))
    true = moved(estimate, rng.multivariate_normal(np.zeros(21), estimate.P, method="eigh"))
    none = SILENT
    for k in range(count):
        turn = np.array([0.02 * np.sin(k * dt), 0.02, 0.3 * np.sin(0.5 * k * dt)])
        push = np.array([0.5 * np.cos(k * dt), 3.0 * np.sin(0.5 * k * dt), kernel.GRAVITY])
        gyro = turn + true.gyro_bias + rng.normal(0, np.sqrt(c.gyro / dt), 3)
        accel = push + true.accel_bias + rng.normal(0, np.sqrt(c.accel / dt), 3)
        R, v, p, gyro_bias, accel_bias, _, _, P, _ = true.arrays()
        kernel.propagate(
            R, v, p, gyro_bias, accel_bias, P, turn + gyro_bias, push + accel_bias, dt, NO_EARTH, none
        )
        for array, walk in ((gyro_bias, c.gyro_walk), (accel_bias, c.accel_walk), (true.lever, c.lever_walk)):
            array += rng.normal(0, np.sqrt(walk * dt), 3)
        H, r = np.empty((2, 21)), np.empty(2)
        noise = rng.normal(0, np.sqrt([c.lateral, c.vertical]))
        vehicle.slip_residual(
            true.R, true.v, true.gyro_bias, true.C, true.lever, turn + true.gyro_bias, 0.0, c, H, r
        )
        seen = -r + noise  # what a sensor of the lateral and vertical velocity would read
        R, v, p, gyro_bias, accel_bias, C, lever, P, _ = estimate.arrays()
        kernel.propagate(R, v, p, gyro_bias, accel_bias, P, gyro, accel, dt, NO_EARTH, c)
        vehicle.constrain(
            R,
            v,
            p,
            gyro_bias,
            accel_bias,
            C,
            lever,
            P,
            gyro,
            0.0,
            dt,
            seen,
            np.array([c.lateral, c.vertical]),
            c,
        )
    return true, estimate


def test_the_compiled_filter_equals_the_textbook_one() -> None:
    stamp, gyro, accel = road(500)
    c, earth = SLIPPING._replace(squat=0.0, heading_0=1e-3), earth_rate(0.8)
    compiled = first_state(c, 0.0, np.array([300.0, -200.0, 10.0]), np.eye(3), np.array([12.0, 0.0, 0.0]))
    plain = compiled.copy()
    plain.stamp = 0.0
    for n in range(1, len(stamp)):
        dt = stamp[n] - stamp[n - 1]
        vehicle.step(
            *compiled.arrays(),
            gyro[n],
            accel[n],
            dt,
            earth,
            np.zeros(2),
            np.array([c.lateral, c.vertical]),
            c,
        )
        textbook.step(plain, gyro[n], accel[n], dt, earth, c)
    for name in ("R", "v", "p", "gyro_bias", "accel_bias", "C", "lever"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(plain, name), atol=1e-9, err_msg=name)
    scale = np.sqrt(np.diag(plain.P))
    np.testing.assert_allclose(
        compiled.P / np.outer(scale, scale), plain.P / np.outer(scale, scale), atol=1e-9
    )

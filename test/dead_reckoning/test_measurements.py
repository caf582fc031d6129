"""Claims about what others measure: derivatives, gate, and how well a pose is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import DeadReckoning, State
from nn_estimation.dead_reckoning.filter import SIZE, retract
from nn_estimation.dead_reckoning.linearised import between
from nn_estimation.dead_reckoning.measurements import Aid, Known, Speed, place, rows, take

ONE = np.eye(3)
GYRO = np.array([0.02, -0.01, 0.3])


def state(seed: int = 0) -> State:
    rng = np.random.default_rng(seed)
    out = State(5.0)
    out.R[:] = Rotation.random(random_state=seed).as_matrix()
    out.v[:], out.p[:] = rng.normal(0, 8, 3), rng.normal(0, 40, 3)
    out.gyro_bias[:], out.lever[:] = rng.normal(0, 0.01, 3), rng.normal(0, 0.5, 3)
    out.C[:] = Rotation.from_rotvec(rng.normal(0, 0.05, 3)).as_matrix()
    half = rng.normal(0, 0.1, (SIZE, SIZE))
    out.P[:] = half @ half.T
    return out


def moved(before: State, dx: np.ndarray) -> State:
    after = before.copy()
    R, v, p, gyro_bias, accel_bias, C, lever, _, _ = after.arrays()
    retract(R, v, p, gyro_bias, accel_bias, C, lever, dx)
    return after


ARM = np.array([0.4, -0.2, 1.1])
MEASURED = {
    "position": Aid(5.0, position=Known(np.zeros(3), ONE), arm=ARM),
    "velocity": Aid(5.0, velocity=Known(np.zeros(3), ONE)),
    "world velocity": Aid(5.0, world_velocity=Known(np.zeros(3), ONE), arm=ARM),
    "speed": Speed(5.0, 3.0, 1.0),
}


@pytest.mark.parametrize("kind", MEASURED)
def test_derivatives_are_those_of_finite_differences(kind: str) -> None:
    """A larger prediction is a smaller innovation; the gyro bias only turns an arm, which is left out."""
    at, c = state(), Constants()
    (found,) = rows(MEASURED[kind], at, GYRO, c)
    step = 1e-6
    for n in range(SIZE):
        if kind == "world velocity" and 9 <= n < 12:
            continue
        dx = np.zeros(SIZE)
        dx[n] = step
        (up,) = rows(MEASURED[kind], moved(at, dx), GYRO, c)
        (down,) = rows(MEASURED[kind], moved(at, -dx), GYRO, c)
        np.testing.assert_allclose((down.innovation - up.innovation) / (2 * step), found.H[:, n], atol=1e-5)


def test_the_derivative_of_a_rotation_is_that_of_finite_differences() -> None:
    at, c = state(), Constants(gyro_delay=0.05)
    turned = Rotation.from_rotvec((GYRO - at.gyro_bias) * 0.05).as_matrix()
    aid = Aid(5.0, R_world_imu=at.R @ turned, rotation_covariance=ONE)
    for n in range(3):
        dx = np.zeros(SIZE)
        dx[n] = 1e-5
        (found,) = rows(aid, moved(at, dx), GYRO, c)
        np.testing.assert_allclose(found.innovation, -1e-5 * ONE[n], atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-10, 1e-3, 2.0, 3.1])
def test_the_turn_between_two_rotations_is_that_of_scipy(angle: float) -> None:
    axis = np.array([0.6, 0.0, -0.8])
    R, found = Rotation.random(random_state=1).as_matrix(), np.empty(3)
    between(Rotation.from_rotvec(angle * axis).as_matrix() @ R, R, found)
    np.testing.assert_allclose(found, angle * axis, atol=1e-14)


def test_a_covariance_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not positive definite"):
        list(rows(Aid(5.0, position=Known(np.zeros(3), -ONE)), state(), GYRO, Constants()))


def test_an_exact_position_pulls_the_state_onto_it() -> None:
    at = state(1)
    wanted = at.p + np.array([0.1, -0.2, 0.05])
    ratio, _ = take(Aid(5.0, position=Known(wanted, 1e-8 * ONE)), at, GYRO, Constants(), trusted=True)
    assert np.isfinite(ratio)
    np.testing.assert_allclose(at.p, wanted, atol=5e-3)  # to first order in how the rotation turns it


def test_correlated_noise_is_decorrelated_right() -> None:
    """One joint update with a full covariance, by the textbook formula, gives the same covariance."""
    rng = np.random.default_rng(3)
    half = rng.normal(0, 1, (3, 3))
    noise = half @ half.T + 0.1 * ONE
    at = state(2)
    aid = Aid(5.0, position=Known(at.p.copy(), noise))
    (whitened,) = rows(aid, at, GYRO, Constants())
    H = np.linalg.cholesky(noise) @ whitened.H
    S = H @ at.P @ H.T + noise
    expected = at.P - at.P @ H.T @ np.linalg.solve(S, H @ at.P)
    take(aid, at, GYRO, Constants())
    np.testing.assert_allclose(at.P, expected, atol=1e-9)


def test_pose_and_velocity_of_one_message_equal_one_joint_update() -> None:
    """What the position moved, the velocity must not move again; innovations so small that all is linear."""
    rng, c = np.random.default_rng(5), Constants()
    before = state(3)
    before.P[:] = 1e-3 * before.P + 1e-4 * np.eye(SIZE)
    off = 1e-4 * rng.normal(0, 1, (3, 3))
    aid = Aid(
        5.0,
        Known(before.p + off[0], 1e-3 * ONE),
        Rotation.from_rotvec(off[1]).as_matrix() @ before.R,
        1e-3 * ONE,
        Known(before.R.T @ before.v + off[2], 1e-3 * ONE),
    )
    groups = list(rows(aid, before, GYRO, c))
    H = np.vstack([each.H for each in groups])
    innovation = np.concatenate([each.innovation for each in groups])
    gain = before.P @ H.T @ np.linalg.inv(H @ before.P @ H.T + np.eye(9))
    joint, one_by_one = moved(before, gain @ innovation), before.copy()
    take(aid, one_by_one, GYRO, c)
    for name in ("v", "p", "gyro_bias", "accel_bias", "lever"):
        expected = getattr(joint, name) - getattr(before, name)
        found = getattr(one_by_one, name) - getattr(before, name)
        np.testing.assert_allclose(found, expected, rtol=0.01, atol=1e-9, err_msg=name)


def test_an_unlikely_measurement_says_how_unlikely_it_is() -> None:
    at = state(4)
    at.P[:] = 1e-4 * np.eye(SIZE)
    at.p[:] = 0.0
    far = Aid(5.0, position=Known(np.array([100.0, 0.0, 0.0]), ONE))
    ratio, worst = take(far, at.copy(), GYRO, Constants())
    assert ratio > 100.0
    np.testing.assert_allclose(worst, [100.0, 0.0, 0.0])
    take(far, at, GYRO, Constants(), trusted=True)
    assert at.p[0] == pytest.approx(100.0, abs=0.1)


def test_what_cannot_be_compared_is_not_likely() -> None:
    at = state(6)
    at.P[0, 0] = np.nan
    sound = Known(np.zeros(3), ONE)
    ratio, _ = take(Aid(5.0, sound, ONE, ONE, sound), at, GYRO, Constants())
    assert not ratio <= 1.0


def test_a_trusted_measurement_leaves_a_covariance_that_explains_it() -> None:
    at = state(5)
    at.P[:] = 1e-4 * np.eye(SIZE)
    at.p[:] = 0.0
    take(Aid(5.0, position=Known(np.array([100.0, 0.0, 0.0]), ONE)), at, GYRO, Constants(), trusted=True)
    assert np.linalg.eigvalsh(at.P).min() > 0.0
    assert 0.5 < at.P[6, 6] < 1.5  # as well known as what was measured, not better


@pytest.mark.parametrize("away", [0.0, 5000.0])
def test_a_trusted_rotation_moves_nothing_however_far_from_the_origin(away: float) -> None:
    estimator = DeadReckoning(Constants())
    p, v = np.array([away, 0.0, 0.0]), np.array([3.0, 0.0, 0.0])
    estimator.start(0.0, p, ONE, v)
    at = estimator.state
    assert at is not None
    turned = Rotation.from_euler("z", 0.5)
    aid = Aid(0.0, R_world_imu=turned.as_matrix(), rotation_covariance=1e-4 * ONE)
    take(aid, at, np.zeros(3), Constants(), trusted=True)
    np.testing.assert_allclose(at.R, turned.as_matrix(), atol=1e-3)
    np.testing.assert_allclose(at.p, p, atol=1e-6)
    np.testing.assert_allclose(at.v, turned.apply(v), atol=1e-2)
    found = estimator.estimate()
    assert found is not None
    np.testing.assert_allclose(found.covariance[:3, :3], np.zeros((3, 3)), atol=1e-6)


def test_a_placed_pose_is_known_as_well_as_it_is_said() -> None:
    estimator = DeadReckoning(Constants())
    p, v = np.array([300.0, -200.0, 5.0]), np.array([3.0, 4.0, 0.0])
    estimator.start(0.0, p, Rotation.from_euler("z", 0.7).as_matrix(), v)
    rotation, position = np.diag([1e-4, 2e-4, 9e-4]), np.diag([4.0, 5.0, 6.0])
    velocity = np.diag([0.1, 0.2, 0.3])
    assert estimator.state is not None
    place(estimator.state, rotation, position, velocity)
    found = estimator.estimate()
    assert found is not None
    np.testing.assert_allclose(found.covariance[:3, :3], position, atol=1e-8)
    np.testing.assert_allclose(found.covariance[3:, 3:], rotation, atol=1e-12)
    np.testing.assert_allclose(found.velocity_covariance, velocity, atol=1e-9)

"""Claims about the inclination filter: its error model, what it calibrates, and that its errors are as it says."""

import math
from itertools import pairwise, starmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from nn_estimation.attitude import inclination
from nn_estimation.attitude.batch import Prepared, filtered
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.inclination import ACCEL_BIAS, BIAS, MATRIX, POSITION, SIZE, VELOCITY
from nn_estimation.attitude.simulation import SimulationParams, clock, inertial, move
from nn_estimation.attitude.state import State
from nn_estimation.filters import so3_exp

from .scene import GRAVITY

pytestmark = pytest.mark.once

UP = np.array([0.0, 0.0, GRAVITY])
# Neither noise nor anything measured.
SILENT = Constants(
    gyro=0.0, gyro_turn=0.0, gyro_walk=0.0, matrix_walk=0.0, accel=0.0, accel_walk=0.0,
    velocity=1e9, position=1e9, adapt=0.0,
)  # fmt: skip


def some_state(seed: int) -> State:
    rng = np.random.default_rng(seed)
    state = State()
    state.R[:] = Rotation.random(random_state=seed).as_matrix()
    for first, last, size in ((BIAS, MATRIX, 0.02), (MATRIX, ACCEL_BIAS, 0.01), (ACCEL_BIAS, SIZE, 0.1)):
        state.x[first:last] = size * rng.standard_normal(last - first)
    return state


def moved(state: State, error: np.ndarray) -> State:
    """The state that is `error` (22,) away."""
    out, turn = State(), np.empty((3, 3))
    so3_exp(error[:3], turn)
    out.R[:], out.x[:] = turn @ state.R, state.x + np.r_[np.zeros(3), error[3:]]
    return out


def error_between(true: State, estimate: State) -> np.ndarray:
    """(22,), the rotation about the axes of the world."""
    return np.r_[Rotation.from_matrix(true.R @ estimate.R.T).as_rotvec(), true.x[3:] - estimate.x[3:]]


def stepped(
    state: State, gyro: np.ndarray, accel: np.ndarray, dt: float, c: Constants, rest: bool = False
) -> int:
    """Samples (N, 3) through the filter; the number of blocks."""
    s, (E, T, *_) = state, state.packed["space"][0]
    work = E, T, *(state.packed[name][0] for name in ("w", "phi", "rows", "dx"))
    return sum(
        inclination.step(s.R, s.x, s.P, s.sums, s.memory, w, a, dt, rest, c, work)
        for w, a in zip(gyro, accel, strict=True)
    )


def block(seed: int, count: int, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a block: a turn rate of about `turn` [rad/s] and a push of about gravity that both change in it."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, count)[:, None]
    axes = rng.standard_normal((4, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return turn * (axes[0] + 0.05 * t * axes[1]), GRAVITY * (axes[2] + 0.05 * t * axes[3])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("turn", [0.0, 1.0, 4.0])
def test_the_covariance_of_a_block_is_carried_by_the_derivative_of_its_samples(
    seed: int, turn: float
) -> None:
    """For each of the 22 errors, by differences of what becomes of two states that are that far apart."""
    dt, count, h = 0.001, 35, 1e-6
    gyro, accel = block(seed, count, turn)
    carried, true = np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
    for i in range(SIZE):
        ends = [moved(some_state(seed), sign * h * np.eye(SIZE)[i]) for sign in (1.0, -1.0)]
        for end in ends:
            assert stepped(end, gyro, accel, dt, SILENT._replace(period=1.0)) == 0
        true[:, i] = error_between(*ends) / (2 * h)
        state = some_state(seed)
        state.P[i, i] = 1.0
        assert stepped(state, gyro, accel, dt, SILENT) == 1
        # The covariance is the product of the column with itself, and the error i stays itself.
        carried[:, i] = state.P[i] / math.sqrt(state.P[i, i])
    # Samples count at their ends, 1 / count late where they count twice; forces and turns of a block count by
    # their means.
    off = 2.0 / count + 0.05 * turn * dt * count
    edges = [0, BIAS, MATRIX, ACCEL_BIAS, VELOCITY, POSITION, SIZE]
    for rows in starmap(slice, pairwise(edges)):
        for columns in starmap(slice, pairwise(edges)):
            part = true[rows, columns]
            np.testing.assert_allclose(carried[rows, columns], part, atol=off * np.abs(part).max() + 1e-9)


@pytest.mark.parametrize("period", [0.035, 0.07])
def test_a_block_adds_the_noise_of_the_sensor(period: float) -> None:
    c = Constants(velocity=1e9, position=1e9, adapt=0.0, period=period)
    state, rate = some_state(0), np.array([0.0, 3.0, 4.0])
    state.x[:] = 0.0
    count = round(period / 0.001)
    assert stepped(state, np.tile(rate, (count, 1)), np.tile(UP, (count, 1)), 0.001, c) == 1
    turned = c.gyro_turn * 5.0 * period
    variances = np.r_[
        np.full(3, c.gyro**2 * period + turned**2),
        np.full(3, c.gyro_walk**2 * period),
        np.full(9, c.matrix_walk**2 * period),
        np.full(3, c.accel_walk**2 * period),
        np.full(2, c.accel**2 * period),
        np.zeros(2),
    ]
    np.testing.assert_allclose(state.P, np.diag(variances), rtol=1e-9, atol=1e-18)


@given(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_it_begins_with_gravity_upward_from_any_direction(direction: list[float]) -> None:
    up = np.array(direction) / np.linalg.norm(direction)
    state = State()
    state.begin(GRAVITY * up, Constants())
    np.testing.assert_allclose(state.R @ up, [0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(state.R @ state.R.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("up", [*np.eye(3), *-np.eye(3), (1e-13, 0.0, -1.0), (1e-7, 0.0, -1.0)])
def test_it_begins_along_the_axes_and_upside_down(up: tuple[float, ...]) -> None:
    state = State()
    state.begin(GRAVITY * np.array(up), Constants())
    np.testing.assert_allclose(state.R @ up, [0.0, 0.0, 1.0], atol=1e-12)
    assert np.linalg.det(state.R) == pytest.approx(1.0, abs=1e-12)


def over(
    gyro: np.ndarray, accel: np.ndarray, dt: float, c: Constants, every: int = 1, rest: bool = False
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """R (N, 3, 3), x (N, 22), and P at the ends of blocks near each `every`-th sample."""
    count = len(gyro)
    used = np.where(np.arange(count) % every == every - 1, 0, -1)
    fields = np.tile([0.0, 1.0, -2.0], (count, 1))
    times, peer = np.full(count, dt), np.zeros((count, 4))
    times[0] = 0.0
    found: list[np.ndarray] = []
    prepared = Prepared(times, fields, used, peer, np.full(count, rest))
    R, x, _, _ = filtered(prepared, gyro, accel, c, lambda state, _: found.append(state.P.copy()))
    return R, x, found


def simulated(rate: float, seed: int = 5, duration: float = 120.0) -> tuple[np.ndarray, ...]:
    """Perfect samples of a body in a hand, and its true rotations (N, 3, 3)."""
    params = SimulationParams(seed=seed, duration=duration, rate=rate)
    motion, stamp = move(params), clock(params)
    return *inertial(params, motion, stamp), motion.rotation[motion.rows(stamp)].as_matrix()


def tilt_error(R: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(..., 2) [rad] about the horizontal axes of the world of R."""
    up = R @ truth[..., 2, :, None]
    return np.stack([up[..., 1, 0], -up[..., 0, 0]], axis=-1)


def test_over_an_hour_the_covariance_stays_symmetric_and_positive() -> None:
    gyro, accel, _ = simulated(100.0, duration=60.0)
    rng = np.random.default_rng(0)
    gyro, accel = np.tile(gyro, (60, 1)), np.tile(accel, (60, 1))
    _, x, P = over(gyro + 2e-3 * rng.standard_normal(gyro.shape), accel, 0.01, Constants(), every=1000)
    assert len(P) > 3000 and np.isfinite(x).all()
    for found in P[:: len(P) // 300]:
        np.testing.assert_array_equal(found, found.T)
        sigma = np.sqrt(np.diag(found))
        inclined = np.delete(np.arange(SIZE), 2)  # the heading is free and grows
        assert np.linalg.eigvalsh((found / np.outer(sigma, sigma))[np.ix_(inclined, inclined)])[0] > 1e-9


def test_a_sensor_with_bias_scale_and_cross_axis_errors_is_calibrated_while_it_is_handled() -> None:
    rng = np.random.default_rng(2)
    c = Constants(gyro=3e-4, gyro_turn=0.0, gyro_walk=1e-5, matrix_walk=1e-7, matrix_0=0.01)
    gyro, accel, truth = simulated(200.0, duration=240.0)
    skew, bias = 0.01 * rng.standard_normal((3, 3)), 0.014 * rng.standard_normal(3)
    gyro = gyro @ (np.eye(3) + skew).T + bias + 2e-3 * rng.standard_normal(gyro.shape)
    accel = accel + 0.02 * rng.standard_normal(accel.shape)
    R, x, P = over(gyro, accel, 1 / 200, c)
    # The filter has it the other way round: true = gyro - b - M gyro.
    inverse = np.linalg.inv(np.eye(3) + skew)
    true = np.r_[inverse @ bias, (np.eye(3) - inverse).ravel()]
    found, sigma = x[-1, BIAS:ACCEL_BIAS], np.sqrt(np.diag(P[-1])[BIAS:ACCEL_BIAS])
    for part, factor in ((slice(0, 3), 0.1), (slice(3, 12), 0.4)):
        assert np.linalg.norm((found - true)[part]) < factor * np.linalg.norm(true[part])
    assert (np.abs(found - true) < 3.0 * sigma).all()
    plain, _, _ = over(gyro, accel, 1 / 200, c._replace(matrix_0=1e-9, gyro_bias_0=1e-9, gyro_walk=1e-12))
    half = len(R) // 2
    assert rms(tilt_error(R, truth)[half:]) < 0.5 * rms(tilt_error(plain, truth)[half:])


def rms(error: np.ndarray) -> float:
    """Of components (N, 2)."""
    return float(np.sqrt(np.mean(np.sum(error**2, axis=1))))


def test_the_errors_are_as_large_as_it_says_where_its_assumption_holds() -> None:
    """Bodies whose horizontal velocity is white noise from block to block, the only thing that is measured.

    No body has a place that is white noise as well, so the position is left out: its equations are those of the
    velocity, and the derivative above holds for both.
    """
    runs, blocks, dt, inside = 40, 800, 0.0175, 0.1
    c = Constants(
        accel_bias_0=0.002,
        velocity=inside,
        velocity_0=inside,
        position=1e6,
        adapt=0.0,
        tilt_0=0.02,
        gyro_turn=0.0,
        matrix_walk=0.0,
    )
    count = 2 * blocks + 1
    t = dt * np.arange(count)[:, None]
    turn = 1.5 * np.sin(t * [0.7, 1.1, 0.9] + [0.0, 1.0, 2.0])
    truth = np.empty((count, 3, 3))
    truth[0] = np.eye(3)
    for n, E in enumerate(Rotation.from_rotvec(turn[1:] * dt).as_matrix()):
        truth[n + 1] = truth[n] @ E
    middle = truth[:-1] @ Rotation.from_rotvec(0.5 * turn[1:] * dt).as_matrix()
    squares = np.zeros((runs, 2))
    for run in range(runs):
        rng = np.random.default_rng(run)
        velocity = np.pad(inside * rng.standard_normal((blocks + 1, 2)), ((0, 0), (0, 1)))
        push = np.repeat(np.diff(velocity, axis=0) / (2 * dt), 2, axis=0) + UP
        matrix = c.matrix_0 * rng.standard_normal((3, 3))
        walks = rng.standard_normal((2, count, 3)) * math.sqrt(dt)
        bias = c.gyro_bias_0 * rng.standard_normal(3) + c.gyro_walk * np.cumsum(walks[0], axis=0)
        off = c.accel_bias_0 * rng.standard_normal(3) + c.accel_walk * np.cumsum(walks[1], axis=0)
        noise = rng.standard_normal((2, count, 3)) / math.sqrt(dt)
        gyro = np.linalg.solve(np.eye(3) - matrix, (turn + bias).T).T + c.gyro * noise[0]
        accel = np.empty((count, 3))
        accel[1:] = (middle.mT @ push[..., None])[..., 0] + off[1:] + c.accel * noise[1, 1:]
        # The first sample is that of a body which is off by the tilt that it is said to be off.
        tilt = np.r_[c.tilt_0 * rng.standard_normal(2), 0.0]
        accel[0] = (Rotation.from_rotvec(tilt).as_matrix() @ truth[0]).T @ UP
        R, x, P = over(gyro, accel, dt, c, every=2)
        e = np.r_[
            tilt_error(R[-1], truth[-1]), bias[-1] - x[-1, BIAS:MATRIX], matrix.ravel() - x[-1, MATRIX:15]
        ]
        at = np.r_[0:2, 3:15]
        squares[run] = (
            e[:2] @ np.linalg.solve(P[-1][:2, :2], e[:2]),
            e @ np.linalg.solve(P[-1][np.ix_(at, at)], e),
        )
    for mean, size in zip(squares.mean(axis=0), (2, 14), strict=True):
        low, high = chi2.ppf([0.001, 0.999], runs * size) / runs
        assert low < mean < high


def test_the_rate_of_the_samples_does_not_count() -> None:
    """The same motion from 50 Hz to 2 kHz, seen by converters that integrate."""
    tilts = {}
    for rate in (50.0, 200.0, 1000.0, 2000.0):
        gyro, accel, truth = simulated(rate, duration=40.0)
        R, _, _ = over(gyro + 0.005, accel, 1 / rate, Constants(), every=10**6)
        tilts[rate] = tilt_error(R, truth)[:: round(rate / 10)]
    finest = tilts.pop(2000.0)
    assert math.degrees(rms(finest)) < 1.0
    for rate, tilt in tilts.items():
        n = min(len(tilt), len(finest))
        assert math.degrees(rms(tilt[:n] - finest[:n])) < 0.02, rate


def test_at_rest_the_gyro_shows_its_bias() -> None:
    bias = np.array([0.01, -0.02, 0.015])
    samples = np.tile(bias, (500, 1)), np.tile(UP, (500, 1))
    state = State()
    state.begin(UP, Constants())
    before = state.P[BIAS, BIAS]
    stepped(state, *samples, 0.01, Constants(), rest=True)
    np.testing.assert_allclose(state.x[BIAS:MATRIX], bias, atol=1e-3)
    assert math.sqrt(state.P[BIAS, BIAS]) < 0.1 * math.sqrt(before)


@pytest.mark.parametrize("gap", [0.3, 1.0, 9.0])
def test_a_gap_leaves_the_turn_in_it_unknown_and_what_was_calibrated_known(gap: float) -> None:
    c, state = Constants(), State()
    state.begin(UP, c)
    rng = np.random.default_rng(0)
    stepped(state, 0.3 * rng.standard_normal((1000, 3)), UP + rng.standard_normal((1000, 3)), 0.01, c)
    x, P = state.x.copy(), state.P.copy()
    inclination.bridge(state.x, state.P, state.sums, state.memory, gap, c)
    unknown = min((c.gap_rate * gap) ** 2, 1.0)
    np.testing.assert_allclose(np.diag(state.P)[:2] - np.diag(P)[:2], unknown)
    np.testing.assert_array_equal(state.P[3:18, 3:18], P[3:18, 3:18])
    np.testing.assert_array_equal(state.x, np.r_[x[:VELOCITY], np.zeros(4)])
    np.testing.assert_array_equal(
        state.P[VELOCITY:], np.diag([0.0] * 18 + [c.velocity_0**2] * 2 + [c.position_0**2] * 2)[VELOCITY:]
    )
    assert np.linalg.eigvalsh(state.P)[0] > -1e-12 and not state.sums.any() and POSITION == SIZE - 2
    assert state.memory[inclination.ASTRAY] == state.memory[inclination.LOST] == unknown

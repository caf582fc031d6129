"""Claims about the stream: starts of all kinds, and rates."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import EARTH_RATE
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.replay import encode_estimate
from nn_estimation.dead_reckoning.starting import LEVEL_ERROR, Start
from nn_estimation.dead_reckoning.stream import (
    FIX_TOPIC,
    FIX_VELOCITY_TOPIC,
    IMU_TOPIC,
    ODOMETRY_TOPIC,
    SET_POSE_TOPIC,
    DeadReckoningStream,
    StreamParams,
)
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.geodesy import LocalFrame
from nn_estimation.inference import Model

from .scene import ACCEL, BEGIN, DT, GYRO, SPEED, WIDE, imu, imu_at, odometry, stamp, true_pose
from .streams import (
    LATITUDE,
    LEVEL,
    aspect,
    fix_at,
    run,
    running,
    set_pose,
    stood,
    stream,
    twist,
    velocity_at,
)


def test_nothing_comes_out_without_a_start_and_health_says_so() -> None:
    found = stream()
    assert run(found, 0, 200) == [None] * 200
    assert "waits for a start" in aspect(found, "estimate")[0]


def test_an_odometry_starts_it_where_it_is() -> None:
    found = running()
    estimate = found.estimator.estimate()
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(99))[0], atol=0.05)


def test_an_odometry_has_the_stamp_of_its_sample_to_the_nanosecond() -> None:
    """Else a lookup of the transform at a sample is one into the future."""
    found, came = stream(start=Start()), []
    for n in range(300):
        ns = 1_700_000_000_000_000_789 + n * 9_999_999
        data = cdr.encode_imu(cdr.ImuMessage.of(ns, "imu_link", np.zeros(3), LEVEL))
        estimate = found.feed(IMU_TOPIC, data)
        if estimate is not None:
            came.append(cdr.decode_odometry(encode_estimate(estimate, found.stamp_ns)).stamp_ns == ns)
    assert len(came) > 200 and all(came)


def test_parameters_start_it_level_and_at_the_given_speed() -> None:
    found = stream(start=Start((1.0, 2.0, 3.0), math.pi / 2, 4.0))
    estimates = [found.feed(IMU_TOPIC, imu(n, np.zeros(3), LEVEL)) for n in range(120)]
    first = next(n for n, e in enumerate(estimates) if e is not None)
    assert 40 < first < 60  # half a second, in which it finds out where up is
    estimate = estimates[-1]
    assert estimate is not None
    np.testing.assert_allclose(estimate.velocity, [0.0, 4.0, 0.0], atol=0.01)
    np.testing.assert_allclose(estimate.position, [1.0, 2.0 + 4.0 * (119 - first) * DT, 3.0], atol=0.01)


def test_a_start_on_a_slope_takes_the_tilt_from_gravity() -> None:
    found = stream(start=Start())
    slope = Rotation.from_euler("YX", [-5.0, 3.0], degrees=True)
    for n in range(100):
        estimate = found.feed(IMU_TOPIC, imu(n, np.zeros(3), slope.inv().apply(LEVEL)))
    assert estimate is not None
    np.testing.assert_allclose(estimate.R_world_imu, slope.as_matrix(), atol=1e-3)


def test_set_pose_starts_it_and_moves_it_without_losing_its_speed() -> None:
    found = stream()
    found.feed(SET_POSE_TOPIC, set_pose(BEGIN, (5.0, 6.0, 0.0), 0.5))
    estimate = found.feed(IMU_TOPIC, imu(0, np.zeros(3), LEVEL))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, [5.0, 6.0, 0.0])
    moving = running()
    moving.feed(SET_POSE_TOPIC, set_pose(stamp(99), (500.0, 0.0, 0.0), -1.0))
    estimate = moving.feed(IMU_TOPIC, imu(100))
    assert estimate is not None
    assert np.linalg.norm(estimate.position - [500.0, 0.0, 0.0]) < 0.2
    np.testing.assert_allclose(np.linalg.norm(estimate.velocity), SPEED, atol=0.1)
    assert math.atan2(estimate.velocity[1], estimate.velocity[0]) == pytest.approx(-1.0, abs=0.05)


def at_pose(t: float, stamped: float, variance: float = 1e-4) -> bytes:
    """The true pose of the scene at a time, as a message with a stamp."""
    position, R, _ = true_pose(t)
    known = (variance * np.eye(6)).ravel()
    return cdr.encode_pose_covariance(
        cdr.PoseCovarianceMessage(
            round(stamped * 1e9), "odom", position, Rotation.from_matrix(R).as_quat(), known
        )
    )


def heading_off(R: np.ndarray, t: float) -> float:
    """[rad] from the true rotation of the scene."""
    return float(Rotation.from_matrix(R @ true_pose(t)[1].T).magnitude())


@pytest.mark.parametrize("late", [0.5, 0.0, -0.2])
def test_a_pose_that_is_set_counts_at_its_stamp(late: float) -> None:
    found = running()
    found.feed(SET_POSE_TOPIC, at_pose(stamp(99) - late, stamp(99) - late))
    estimate = found.feed(IMU_TOPIC, imu(100))
    assert estimate is not None
    assert heading_off(estimate.R_world_imu, stamp(100)) < 1e-3
    np.testing.assert_allclose(estimate.position, true_pose(stamp(100))[0], atol=0.02)
    np.testing.assert_allclose(estimate.velocity, true_pose(stamp(100))[2], atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(estimate.covariance)[3:]), 0.01, rtol=0.05)


def test_the_velocity_says_nothing_of_a_heading_that_is_set() -> None:
    """It was turned with the body: where the heading is off, so is the velocity, and no tyre slips."""
    found = running()
    before = found.estimator.estimate()
    found.feed(SET_POSE_TOPIC, at_pose(stamp(99), stamp(99), 0.01))
    after = found.estimator.estimate()
    assert before is not None and after is not None
    np.testing.assert_allclose(after.twist_covariance[:3, :3], before.twist_covariance[:3, :3], rtol=1e-3)
    assert after.velocity_covariance.trace() > 0.01 * SPEED**2  # across, by the heading of 0.1 rad
    for n in range(100, 600):
        estimate = found.feed(IMU_TOPIC, imu(n))
    assert estimate is not None
    assert np.sqrt(estimate.covariance[5, 5]) > 0.09


def test_a_pose_of_another_time_does_not_move_it_and_is_counted() -> None:
    found = running()
    for away in (-1.1, 1.1):
        found.feed(SET_POSE_TOPIC, at_pose(BEGIN, stamp(99) + away))
    assert found.counts["set_pose: more than 1 s from the newest sample"] == 2
    estimate = found.feed(IMU_TOPIC, imu(100))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(100))[0], atol=0.05)


@pytest.mark.parametrize("runs", [True, False])
def test_a_pose_with_a_zero_stamp_is_of_now(runs: bool) -> None:
    found = running() if runs else stream()
    if not runs:
        run(found, 0, 99)
        found.feed(SET_POSE_TOPIC, at_pose(stamp(99), 0.0))
        found.feed(IMU_TOPIC, imu(99))
    else:
        found.feed(SET_POSE_TOPIC, at_pose(stamp(99), 0.0))
    estimate = found.feed(IMU_TOPIC, imu(100))
    assert estimate is not None
    assert heading_off(estimate.R_world_imu, stamp(100)) < 1e-3


def test_a_pose_ahead_of_the_samples_is_said() -> None:
    found = stream()
    found.feed(SET_POSE_TOPIC, set_pose(stamp(250), (5.0, 6.0, 0.0), 0.5))
    assert run(found, 0, 100) == [None] * 100
    assert "its pose, which is stamped 1.5 s ahead" in aspect(found, "estimate")[0]
    assert all(estimate is not None for estimate in run(found, 250, 260))


@pytest.mark.parametrize("runs", [True, False])
def test_a_late_gyro_turns_no_pose_that_is_set(runs: bool) -> None:
    """The heading comes out as it was set, with the start itself and when it runs."""
    found = DeadReckoningStream(Setup("tuned", WIDE._replace(gyro_delay=0.05), False, None))
    found.feed(SET_POSE_TOPIC, at_pose(BEGIN, BEGIN))
    estimate = found.feed(IMU_TOPIC, imu(0))
    at = stamp(0)
    if runs:
        run(found, 1, 100)
        at = stamp(99)
        found.feed(SET_POSE_TOPIC, at_pose(at, at))
        estimate = found.estimator.estimate()
    assert estimate is not None
    assert heading_off(estimate.R_world_imu, at) < 1e-3
    np.testing.assert_allclose(estimate.angular_velocity, GYRO, atol=1e-3)


@pytest.mark.parametrize("with_velocity", [True, False])
def test_fixes_start_it_once_it_moves(with_velocity: bool) -> None:
    found = stream(aiding="fix")
    started = None
    for n in range(400):
        if n % 20 == 0:
            found.feed(FIX_TOPIC, fix_at(stamp(n)))
            if with_velocity:
                found.feed(FIX_VELOCITY_TOPIC, velocity_at(stamp(n)))
        estimate = found.feed(IMU_TOPIC, imu(n))
        if estimate is not None and started is None:
            started = n
    assert started is not None and started < 200
    assert estimate is not None
    position, _, velocity = true_pose(stamp(399))
    assert np.linalg.norm(estimate.position - position) < (0.5 if with_velocity else 2.0)
    assert np.linalg.norm(estimate.velocity - velocity) < 1.0


def test_fixes_of_a_vehicle_that_stands_wait_for_motion() -> None:
    found = stream(aiding="fix")
    for n in range(200):
        if n % 20 == 0:
            found.feed(FIX_TOPIC, stood(stamp(n)))
        assert found.feed(IMU_TOPIC, imu(n, np.zeros(3), LEVEL)) is None
    assert "motion above 2 m/s" in aspect(found, "estimate")[0]


class PullsAway:
    """Stands for some seconds, then accelerates northwards and noses up by 0.05 rad in its first half second."""

    def __init__(self, acceleration: float, stands: float, with_velocity: bool, speed: float = 0.0) -> None:
        self.stream = stream(aiding="fix")
        frame = LocalFrame(math.radians(LATITUDE), math.radians(8.4), 115.0)
        travelled, pitch, self.off = 0.0, 0.0, math.nan
        for n in range(3000):
            pushed = acceleration if stamp(n) > BEGIN + stands else 0.0
            rate = -0.1 if 0.0 < stamp(n) - BEGIN - stands < 0.5 else 0.0
            speed, travelled, pitch = speed + pushed * DT, travelled + speed * DT, pitch + rate * DT
            nose = Rotation.from_euler("ZY", [math.pi / 2, pitch])
            force = nose.inv().apply([0.0, pushed, GRAVITY])
            estimate = self.stream.feed(IMU_TOPIC, imu(n, np.array([0.0, rate, 0.0]), force))
            if estimate is not None:
                self.estimate = estimate
                self.off = Rotation.from_matrix(estimate.R_world_imu @ nose.as_matrix().T).magnitude()
                return
            if n % 20 == 0:
                place = frame.place(np.array([[0.0, travelled, 0.0]]))[0]
                place[:2] = np.degrees(place[:2])
                known = (0.04 * np.eye(3)).ravel()
                fix = cdr.FixMessage(round(stamp(n) * 1e9), "gps", 0, place, known, 2)
                if with_velocity:
                    self.stream.feed(FIX_VELOCITY_TOPIC, twist(stamp(n), np.array([0.0, speed, 0.0])))
                self.stream.feed(FIX_TOPIC, cdr.encode_fix(fix))


@pytest.mark.parametrize("with_velocity", [True, False])
@pytest.mark.parametrize("acceleration", [0.5, 1.5, 2.5])
def test_the_level_of_a_start_by_fixes_is_that_of_the_vehicle_that_stood(
    acceleration: float, with_velocity: bool
) -> None:
    assert PullsAway(acceleration, 8.0, with_velocity).off < 0.03


@pytest.mark.parametrize("with_velocity", [True, False])
@pytest.mark.parametrize("acceleration", [0.5, 2.5])
def test_the_level_of_a_vehicle_that_never_stood_is_as_unsure_as_it_accelerates(
    acceleration: float, with_velocity: bool
) -> None:
    found = PullsAway(acceleration, 0.0, with_velocity, speed=0.5)
    tilt = np.sqrt(np.diag(found.estimate.covariance)[3:5])
    assert found.off < 1.5 * tilt.min()
    if with_velocity:
        np.testing.assert_allclose(tilt, math.hypot(LEVEL_ERROR, acceleration / GRAVITY), rtol=0.1)


def test_a_level_is_not_carried_across_a_gap() -> None:
    found = stream(aiding="fix")
    for n in range(400):
        if n % 20 == 0:
            found.feed(FIX_VELOCITY_TOPIC, twist(stamp(n), np.zeros(3)))
        found.feed(IMU_TOPIC, imu(n, np.zeros(3), LEVEL))
    assert found.starter._stood is not None
    found.feed(IMU_TOPIC, imu(430, np.zeros(3), LEVEL))
    assert found.starter._stood is None


def test_the_first_fix_says_the_latitude() -> None:
    found = stream(aiding="fix")
    found.feed(FIX_TOPIC, fix_at(BEGIN))
    np.testing.assert_allclose(np.linalg.norm(found.estimator.earth), EARTH_RATE)
    assert math.atan2(found.estimator.earth[2], found.estimator.earth[1]) == pytest.approx(
        math.radians(LATITUDE)
    )


def test_a_mounted_imu_gives_the_same_odometry() -> None:
    mounting = Rotation.from_euler("xyz", [180.0, 0.0, 90.0], degrees=True)
    straight = running().estimator.estimate()
    found = stream(aiding="odometry", mounting=(math.pi, 0.0, math.pi / 2))
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    for n in range(100):
        turned = found.feed(IMU_TOPIC, imu(n, mounting.inv().apply(GYRO), mounting.inv().apply(ACCEL)))
    assert straight is not None and turned is not None
    np.testing.assert_allclose(turned.position, straight.position, atol=1e-9)


# Rates


def test_the_odometry_is_decimated_to_the_rate_that_is_asked_for() -> None:
    found = stream(aiding="odometry", publish_rate=20.0)
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    published = [e for e in run(found, 0, 1000) if e is not None]
    assert len(published) == pytest.approx(200, abs=2)


def test_a_rate_that_changes_under_way_is_followed() -> None:
    found = running()
    t = stamp(99)
    for dt in (0.0025,) * 400 + (0.05,) * 40:
        t += dt
        estimate = found.feed(IMU_TOPIC, imu_at(t))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(t)[0], atol=0.3)


@pytest.fixture
def learned() -> Setup:
    """The method `network` of the shipped model, for samples at 100 Hz."""
    pytest.importorskip("onnxruntime")
    model = Model.load(Path(__file__).resolve().parents[2] / "models" / "dead_reckoning.onnx")
    return load_setups(model)["network"]


def fed_at(found: DeadReckoningStream, rate: float, seconds: float, begin: float = BEGIN) -> float:
    """Samples at a rate [Hz]; the stamp of the last."""
    for n in range(1, round(seconds * rate)):
        found.feed(IMU_TOPIC, imu_at(begin + n / rate))
    return begin + n / rate


def test_a_network_for_another_rate_is_off_and_comes_back(learned: Setup) -> None:
    found = DeadReckoningStream(learned, StreamParams("odometry"))
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    last = fed_at(found, 200.0, 10.0)
    assert found.estimator.network is None
    problem, _ = aspect(found, "network")
    assert "the IMU runs at 200 Hz and the model was trained at 100 Hz; the constants hold" in problem
    fed_at(found, 100.0, 20.0, last)
    assert found.estimator.network is learned.network
    assert aspect(found, "network")[0] == "" or "out of range" in aspect(found, "network")[0]


def test_a_network_that_another_rate_turned_off_is_back_after_a_reset(learned: Setup) -> None:
    found = DeadReckoningStream(learned, StreamParams("odometry"))
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    last = fed_at(found, 200.0, 10.0)
    assert found.estimator.network is None
    found.reset()
    assert found.estimator.network is learned.network
    found.feed(ODOMETRY_TOPIC, odometry(last))
    fed_at(found, 100.0, 5.0, last)
    assert found.estimator.network is learned.network


def test_a_warmed_up_network_has_forgotten_the_warm_up(learned: Setup) -> None:
    warm_up(learned)
    assert learned.network is not None
    assert sum(learned.network.counts.values()) == 0
    found = DeadReckoningStream(learned, StreamParams("odometry"))
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    run(found, 0, 200)
    assert learned.network.counts["starting"] == 19


def test_constants_can_change_under_way() -> None:
    found = running()
    found.use(Setup("constant", Constants(), False, None))
    estimate = found.feed(IMU_TOPIC, imu(100))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(100))[0], atol=0.05)

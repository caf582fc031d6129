"""Claims about the stream: starts of all kinds, and bad input of all kinds."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.datasets.registry import import_set
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import EARTH_RATE, Estimate
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.health import health
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import (
    FIX_TOPIC,
    FIX_VELOCITY_TOPIC,
    IMU_TOPIC,
    ODOMETRY_TOPIC,
    SET_POSE_TOPIC,
    WHEEL_TOPIC,
    DeadReckoningStream,
    StreamParams,
)
from nn_estimation.dead_reckoning.warm_up import warm_up
from nn_estimation.imu_stream import INVALID_SAMPLE, INVALID_STAMP, JUMP, LATE, MALFORMED
from nn_estimation.inference import Model

from .scene import ACCEL, BEGIN, DT, GYRO, SPEED, WIDE, imu, imu_at, odometry, stamp, true_pose

LATITUDE, LONGITUDE, HEIGHT = 49.0, 8.4, 115.0
SETUP = Setup("tuned", WIDE, True, None)
SIDEWAYS = (0.0, -math.pi / 2, 0.0)  # of an IMU whose x axis looks up
LEVEL = np.array([0.0, 0.0, GRAVITY])


def stream(**params: object) -> DeadReckoningStream:
    return DeadReckoningStream(SETUP, StreamParams(**params))  # type: ignore[arg-type]


def run(found: DeadReckoningStream, first: int, last: int) -> list[Estimate | None]:
    return [found.feed(IMU_TOPIC, imu(n)) for n in range(first, last)]


def running() -> DeadReckoningStream:
    """Started by an Odometry at the true start, one second ago."""
    found = stream(aiding="odometry")
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    assert all(estimate is not None for estimate in run(found, 0, 100))
    return found


def aspect(found: DeadReckoningStream, name: str) -> tuple[str, dict[str, object]]:
    return next((problem, values) for aspect, problem, values in health(found) if aspect == name)


def fix_at(t: float, status: int = 0) -> bytes:
    """Of a vehicle that starts at the origin and drives as in the scene, by radii of curvature."""
    east, north, up = true_pose(t)[0]
    curved = 1.0 - 0.00669438 * math.sin(math.radians(LATITUDE)) ** 2
    meridian, normal = 6378137.0 * (1.0 - 0.00669438) / curved**1.5, 6378137.0 / math.sqrt(curved)
    place = np.array(
        [
            LATITUDE + math.degrees(north / (meridian + HEIGHT)),
            LONGITUDE + math.degrees(east / ((normal + HEIGHT) * math.cos(math.radians(LATITUDE)))),
            HEIGHT + up,
        ]
    )
    covariance = (0.04 * np.eye(3)).ravel()
    return cdr.encode_fix(cdr.FixMessage(round(t * 1e9), "gps", status, place, covariance, 2))


def stood(t: float) -> bytes:
    """A fix at the origin."""
    covariance = (0.04 * np.eye(3)).ravel()
    place = np.array([LATITUDE, LONGITUDE, HEIGHT])
    return cdr.encode_fix(cdr.FixMessage(round(t * 1e9), "gps", 0, place, covariance, 2))


def velocity_at(t: float) -> bytes:
    return twist(t, true_pose(t)[2])


def twist(t: float, velocity: np.ndarray, variance: float = 0.01) -> bytes:
    covariance = (variance * np.eye(6)).ravel()
    return cdr.encode_twist_covariance(
        cdr.TwistCovarianceMessage(round(t * 1e9), "gps", velocity, np.zeros(3), covariance)
    )


def set_pose(t: float, position: tuple[float, float, float], heading: float) -> bytes:
    quaternion = Rotation.from_euler("z", heading).as_quat()
    covariance = (0.01 * np.eye(6)).ravel()
    return cdr.encode_pose_covariance(
        cdr.PoseCovarianceMessage(round(t * 1e9), "odom", np.array(position), quaternion, covariance)
    )


# Starts


def test_nothing_comes_out_without_a_start_and_health_says_so() -> None:
    found = stream()
    assert run(found, 0, 200) == [None] * 200
    assert "waits for a start" in aspect(found, "estimate")[0]


def test_an_odometry_starts_it_where_it_is() -> None:
    found = running()
    estimate = found.estimator.estimate()
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(99))[0], atol=0.05)


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


# Bad input


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_counted_and_bridged(value: float) -> None:
    found = running()
    for n in (100, 101):
        assert found.feed(IMU_TOPIC, imu(n, np.array([0.0, value, 0.0]))) is None
        assert found.feed(IMU_TOPIC, imu(n, GYRO, np.array([value, 0.0, GRAVITY]))) is None
    estimate = found.feed(IMU_TOPIC, imu(102))
    assert found.counts[INVALID_SAMPLE] == 4
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(102))[0], atol=0.05)
    assert "4 with invalid sample" in aspect(found, "input")[0]
    assert "invalid" not in aspect(found, "input")[0]  # said once


def test_repeated_and_backward_stamps_are_left_out() -> None:
    found = running()
    before = found.estimator.estimate()
    assert found.feed(IMU_TOPIC, imu(99)) is None
    assert found.feed(IMU_TOPIC, imu(60)) is None
    after = found.estimator.estimate()
    assert found.counts[LATE] == 2
    assert before is not None and after is not None
    np.testing.assert_array_equal(before.position, after.position)


def test_a_bag_that_loops_starts_over() -> None:
    found = running()
    run(found, 100, 300)
    assert found.feed(IMU_TOPIC, imu(0)) is None
    assert found.counts[JUMP] == 1
    found.feed(ODOMETRY_TOPIC, odometry(stamp(1)))
    estimate = found.feed(IMU_TOPIC, imu(1))
    assert estimate is not None
    np.testing.assert_allclose(estimate.position, true_pose(stamp(1))[0], atol=0.05)


def test_a_gap_of_a_second_is_bridged_with_a_covariance_that_says_so() -> None:
    found = running()
    before = found.estimator.estimate()
    estimate = found.feed(IMU_TOPIC, imu(200))
    assert before is not None and estimate is not None
    assert np.trace(estimate.covariance[:3, :3]) > 10 * np.trace(before.covariance[:3, :3])
    error = np.linalg.norm(estimate.position - true_pose(stamp(200))[0])
    assert error < 3.0 * np.sqrt(np.trace(estimate.covariance[:3, :3]))


def test_a_gap_of_an_hour_ends_the_estimate_until_there_is_a_start() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.0)) is None
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.01)) is None
    assert "waits for" in aspect(found, "estimate")[0]
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN + 3600.02))
    assert found.feed(IMU_TOPIC, imu_at(BEGIN + 3600.02)) is not None


def test_a_start_by_parameters_does_not_come_back_after_a_gap_but_after_a_reset() -> None:
    found = stream(start=Start())
    assert any(e is not None for e in run(found, 0, 100))
    assert all(found.feed(IMU_TOPIC, imu_at(BEGIN + 100.0 + n * DT)) is None for n in range(100))
    found.reset()
    assert any(found.feed(IMU_TOPIC, imu_at(BEGIN + 102.0 + n * DT)) is not None for n in range(100))


def test_malformed_messages_and_zero_stamps_are_counted() -> None:
    found = running()
    assert found.feed(IMU_TOPIC, b"\x00\x01\x00\x00") is None
    assert found.feed(ODOMETRY_TOPIC, b"") is None
    assert found.feed(IMU_TOPIC, imu_at(0.0)) is None
    assert (found.counts[MALFORMED], found.counts[INVALID_STAMP]) == (2, 1)


@pytest.mark.parametrize("wrong", ["g", "deg/s", "axes"])
def test_wrong_units_and_axes_are_named_and_nothing_is_published(wrong: str) -> None:
    change: dict[str, Callable[[int], bytes]] = {
        "g": lambda n: imu(n, GYRO, ACCEL / 9.80665),
        "deg/s": lambda n: imu(n, np.degrees(GYRO), ACCEL),
        "axes": lambda n: imu(n, GYRO, ACCEL[[2, 0, 1]]),
    }
    found = stream(aiding="odometry")
    for n in range(600):
        if n % 10 == 0:
            found.feed(ODOMETRY_TOPIC, odometry(stamp(n)))
        estimate = found.feed(IMU_TOPIC, change[wrong](n))
    assert estimate is None
    problem, _ = aspect(found, "signals")
    assert {"g": "in g", "deg/s": "deg/s", "axes": "axes are swapped"}[wrong] in problem
    assert "nothing is published" in problem


def test_an_imu_in_g_never_starts() -> None:
    found = stream(start=Start())
    assert all(found.feed(IMU_TOPIC, imu(n, GYRO, ACCEL / 9.80665)) is None for n in range(300))


def test_a_saturated_axis_is_left_out_and_counted() -> None:
    found = running()
    clipped = np.array([0.0, 0.0, 4.36])
    out = [found.feed(IMU_TOPIC, imu(n, clipped)) for n in range(100, 110)]
    assert [e is None for e in out] == [False, False] + 8 * [True]
    assert found.checks.saturated == 8
    assert found.feed(IMU_TOPIC, imu(110)) is not None


def test_a_body_that_slides_sideways_is_noticed() -> None:
    found = running()
    for n in range(100, 1500):
        sideways = 15.0 * math.sin(0.02 * n)
        found.feed(IMU_TOPIC, imu(n, GYRO, ACCEL + np.array([0.0, sideways, 0.0])))
    problem, _ = aspect(found, "signals")
    assert "moves as no vehicle does" in problem


def test_odometry_that_is_flagged_unknown_or_no_number_is_not_used() -> None:
    found = running()
    bad = odometry(stamp(100), np.array([math.nan, 0.0, 0.0]))
    found.feed(ODOMETRY_TOPIC, bad)
    assert found.counts["odometry: invalid number"] == 1
    before = found.aided.source(ODOMETRY_TOPIC).counts.copy()
    found.feed(ODOMETRY_TOPIC, odometry(stamp(100), variance=1e6))
    assert found.aided.source(ODOMETRY_TOPIC).counts == before


def test_a_fix_without_a_fix_is_counted() -> None:
    found = stream(aiding="fix")
    found.feed(FIX_TOPIC, fix_at(BEGIN, status=-1))
    assert found.counts["fix: no fix"] == 1


def test_dead_reckoning_after_an_outage_is_said() -> None:
    found = running()
    run(found, 100, 500)
    assert "dead reckoning for 5 s: odometry is not heard" in aspect(found, "aiding")[0]


def test_wheel_speed_is_used_where_it_is_asked_for() -> None:
    found = stream(aiding="odometry", wheel_speed=True)
    found.feed(ODOMETRY_TOPIC, odometry(BEGIN))
    for n in range(100):
        found.feed(WHEEL_TOPIC, twist(stamp(n), np.array([SPEED, 0.0, 0.0])))
        found.feed(IMU_TOPIC, imu(n))
    assert found.aided.source(WHEEL_TOPIC).counts["accepted"] > 90
    assert WHEEL_TOPIC not in stream().topics


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


def test_a_drone_is_noticed_by_its_axes_or_by_its_innovations(data_root: Path, tmp_path: Path) -> None:
    ((_, bag),) = import_set("euroc", data_root / "euroc_imu", tmp_path, "V102")
    for mounting, words in (
        ((0.0, 0.0, 0.0), "gravity is measured along +x"),
        (SIDEWAYS, "moves as no vehicle"),
    ):
        found = stream(start=Start(), mounting=mounting)
        problems = ""
        with BagReader(bag) as reader:
            for topic, ns, data in reader.raw([IMU_TOPIC]):
                found.feed(topic, data)
                if ns * 1e-9 > reader.start + 30.0:
                    break
                problems += aspect(found, "signals")[0]
        assert words in problems

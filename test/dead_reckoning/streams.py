"""Streams that hear the car of the scene, and messages of what aids it: what several tests begin with."""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.estimator import Estimate
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.health import health
from nn_estimation.dead_reckoning.model import Setup
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, ODOMETRY_TOPIC, DeadReckoningStream, StreamParams

from .scene import BEGIN, WIDE, imu, odometry, true_pose

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

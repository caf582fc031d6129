"""A simulated drive with the errors of an automotive IMU, and with GNSS that drops out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from nn_estimation import __version__, cdr
from nn_estimation.bags import BagWriter
from nn_estimation.dead_reckoning.estimator import earth_rate
from nn_estimation.dead_reckoning.simulated_car import FINE, START, CarParams, Motion, drive
from nn_estimation.geodesy import LocalFrame

GRAVITY = np.array([0.0, 0.0, 9.80665])  # [m/s^2] what an accelerometer at rest feels
WHEEL_RADIUS = 0.31  # [m]
GEAR = 4.0  # turns of the engine by one of the wheels, times half the ignitions of four cylinders
IDLE = 22.0  # [Hz] of the engine at a standstill


@dataclass(frozen=True, slots=True)
class SimulationParams:
    """What is driven where, and how wrong it is measured. Noises of the IMU are of a good automotive MEMS."""

    seed: int = 0  # of the road, the traffic and the noise
    duration: float = 60.0  # [s]
    car: CarParams = field(default_factory=CarParams)
    latitude_deg: float = 49.0
    longitude_deg: float = 8.4
    height: float = 115.0  # [m] above the ellipsoid, of the start

    imu_rate: float = 100.0  # [Hz]
    mount_deg: tuple[float, float, float] = (0.3, -0.6, 0.4)  # rotation vector, car to IMU
    lever: tuple[float, float, float] = (
        -0.2,
        0.1,
        -0.4,
    )  # [m] from the IMU to where the car slips, IMU frame
    gyro_noise: float = 1.5e-4  # [rad/s/sqrt(Hz)]
    accel_noise: float = 1e-3  # [m/s^2/sqrt(Hz)]
    gyro_bias: float = 2e-4  # [rad/s] standard deviation at the start
    accel_bias: float = 0.03  # [m/s^2]
    gyro_walk: float = 3e-6  # [rad/s/sqrt(s)]
    accel_walk: float = 2e-4  # [m/s^2/sqrt(s)]
    warm_up: tuple[float, float] = (12.0, 300.0)  # [K] in all, [s] time constant
    gyro_temperature: float = 1e-5  # [rad/s/K] standard deviation of the drift
    accel_temperature: float = 5e-4  # [m/s^2/K]
    vibration: float = 1.0  # factor on all shaking
    gyro_delay: float = 0.03  # [s] by which the gyro's samples are older than their stamps

    gnss_rate: float = 5.0  # [Hz]
    gnss_noise: tuple[float, float] = (0.4, 0.8)  # [m] horizontal, vertical: white ...
    gnss_drift: tuple[float, float] = (0.5, 1.0)  # [m] ... and correlated over
    gnss_time: float = 60.0  # [s]
    gnss_velocity_noise: tuple[float, float] = (0.05, 0.1)  # [m/s] horizontal, vertical
    outage: tuple[float, float] = (0.0, 0.0)  # [s] from and until when no satellite is seen, after the start

    wheel_rate: float = 20.0  # [Hz] 0: no wheel speed
    wheel_scale: float = 1.015  # true speed by that of the wheels
    wheel_noise: float = 0.03  # [m/s]

    truth_rate: float = 100.0  # [Hz]

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be simulated."""
        for name in ("duration", "imu_rate", "gnss_rate", "gnss_time", "truth_rate", "wheel_scale"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        noises = ("gyro_noise", "accel_noise", "gyro_bias", "accel_bias", "gyro_walk", "accel_walk")
        drifts = ("gyro_temperature", "accel_temperature", "vibration", "gyro_delay", "wheel_rate")
        for name in (*noises, *drifts, "wheel_noise"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.imu_rate > FINE or FINE % self.imu_rate:
            raise ValueError(f"imu_rate is {self.imu_rate}: it must divide {FINE} Hz")
        if self.gyro_delay > 0.2:
            raise ValueError(f"gyro_delay is {self.gyro_delay}: it must be at most 0.2")


@dataclass(frozen=True)
class Drive:
    """Poses of the IMU in the world: east, north, up."""

    stamp: np.ndarray  # (N,) [s] at FINE
    position: np.ndarray  # (N, 3) [m]
    velocity: np.ndarray  # (N, 3) [m/s]
    R_world_imu: np.ndarray  # (N, 3, 3)
    speed: np.ndarray  # (N,) [m/s] of the wheels
    loose: np.ndarray  # (N,) 0 on a firm, 1 on a loose road

    def rows(self, stamp: np.ndarray) -> np.ndarray:
        """Nearest samples to stamps (M,)."""
        return np.round((stamp - self.stamp[0]) * FINE).astype(np.int64)


def simulate_drive(params: SimulationParams, out: str | Path) -> Path:
    """Write a drive as rosbag2 MCAP: IMU, GNSS fix and velocity, wheel speed and truth.

    Args:
        params: of the drive.
        out: folder of the bag, must not exist.

    Returns:
        The folder.

    Raises:
        BagError: it exists or cannot be written.
    """
    truth = drive_imu(params)
    custom = {
        "source": f"simulated drive, seed {params.seed}",
        "licence": "Apache-2.0",
        "latitude_deg": f"{params.latitude_deg}",
        "origin": yaml.safe_dump([params.latitude_deg, params.longitude_deg, params.height]),
        "scored": yaml.safe_dump({"intervals": [[START, START + params.duration]]}),
        "outage": yaml.safe_dump([START + at for at in params.outage]),
        "importer": f"nn_estimation {__version__}",
    }
    events = _imu_events(params, truth) + _gnss_events(params, truth)
    events += _wheel_events(params, truth) + _truth_events(params, truth)
    events.sort(key=lambda event: event[:2])
    with BagWriter(out, custom_data=custom) as bag:
        for stamp, _, topic, msgtype, data in events:
            bag.write(topic, msgtype, stamp, data)
    return Path(out)


def drive_imu(params: SimulationParams) -> Drive:
    """Where the IMU is: on a car that drives as the seed says, beside the point that slips, and a little askew."""
    car: Motion = drive(params.car, params.seed, params.duration)
    mount = Rotation.from_rotvec(np.radians(params.mount_deg)).as_matrix()
    R = car.R_world_car @ mount.T
    position = car.position - R @ np.array(params.lever)
    velocity = np.gradient(position, 1.0 / FINE, axis=0)
    return Drive(car.stamp, position, velocity, R, car.speed, car.loose)


def inertial(params: SimulationParams, truth: Drive, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a perfect IMU says: turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2].

    Each a mean over the sampling interval before its stamp (N,) [s], as converters with integrators give it. The
    world turns with the Earth.
    """
    step = round(FINE / params.imu_rate)
    now = truth.rows(stamp)
    before, dt = now - step, step / FINE
    earth = earth_rate(math.radians(params.latitude_deg))
    R0, R1 = Rotation.from_matrix(truth.R_world_imu[before]), Rotation.from_matrix(truth.R_world_imu[now])
    gyro = (R0.inv() * Rotation.from_rotvec(earth * dt) * R1).as_rotvec() / dt
    middle = R0 * Rotation.from_rotvec(0.5 * dt * gyro)
    moved = (truth.velocity[now] - truth.velocity[before]) / dt
    coriolis = 2.0 * np.cross(earth, 0.5 * (truth.velocity[now] + truth.velocity[before]))
    return gyro, middle.inv().apply(moved + coriolis + GRAVITY)


def world(params: SimulationParams) -> LocalFrame:
    """Where on the Earth the world of the drive is."""
    return LocalFrame(math.radians(params.latitude_deg), math.radians(params.longitude_deg), params.height)


def shaking(params: SimulationParams, truth: Drive, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the road and the engine add to turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2].

    It grows with speed and on a loose road. The bracket of an IMU that shakes stays where it is, so it integrates to
    nothing: differences of white noise, and lines at the frequencies of wheels and engine.
    """
    rng = np.random.default_rng((params.seed, 4))
    rows = truth.rows(stamp)
    speed, loose = truth.speed[rows], truth.loose[rows]
    road = params.vibration * (0.02 + speed / 20.0 * (0.25 + 0.75 * loose))
    white = np.diff(rng.standard_normal((len(stamp) + 1, 6)), axis=0) / math.sqrt(2.0)
    turns = np.cumsum(speed) / params.imu_rate / (2.0 * math.pi * WHEEL_RADIUS)
    engine = np.cumsum(np.maximum(IDLE, GEAR * speed / (2.0 * math.pi * WHEEL_RADIUS))) / params.imu_rate
    lines = [(turns, 0.03 * speed / 20.0), (engine, np.full(len(stamp), 0.04 * params.vibration))]
    phase = rng.uniform(0.0, 2.0 * math.pi, (len(lines), 6))
    out = road[:, None] * white
    for (turned, size), at in zip(lines, phase, strict=True):
        out += size[:, None] * np.sin(2.0 * math.pi * turned[:, None] + at)
    return 0.02 * out[:, :3], out[:, 3:] * np.array([0.7, 0.7, 1.0])


def imu_errors(params: SimulationParams, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias and noise of gyro (N, 3) [rad/s] and accelerometer (N, 3) [m/s^2] at regular stamps (N,) [s].

    A bias starts somewhere, walks, and drifts while the unit warms up.
    """
    rng = np.random.default_rng((params.seed, 3))
    count, rate = len(stamp), params.imu_rate
    warmer, warming = params.warm_up
    kelvin = warmer * (1.0 - np.exp(-(stamp - START) / warming))[:, None]

    def wrong(bias: float, walk: float, drift: float, noise: float) -> np.ndarray:
        walked = walk * np.cumsum(rng.standard_normal((count, 3)), axis=0) / math.sqrt(rate)
        started, drifting = bias * rng.standard_normal(3), drift * kelvin * rng.standard_normal(3)
        return started + drifting + walked + noise * math.sqrt(rate) * rng.standard_normal((count, 3))

    p = params
    return (
        wrong(p.gyro_bias, p.gyro_walk, p.gyro_temperature, p.gyro_noise),
        wrong(p.accel_bias, p.accel_walk, p.accel_temperature, p.accel_noise),
    )


_Event = tuple[int, int, str, str, bytes]  # stamp [ns], order within it, topic, type, CDR


def _clock(params: SimulationParams, rate: float) -> np.ndarray:
    return START + np.arange(int(params.duration * rate)) / rate


def _nanoseconds(stamps: np.ndarray) -> list[int]:
    return np.round(stamps * 1e9).astype(np.int64).tolist()


def _imu_events(params: SimulationParams, truth: Drive) -> list[_Event]:
    stamps, rate = _clock(params, params.imu_rate), params.imu_rate
    shaken, wrong = shaking(params, truth, stamps), imu_errors(params, stamps)
    gyro = inertial(params, truth, stamps - params.gyro_delay)[0] + shaken[0] + wrong[0]
    accel = inertial(params, truth, stamps)[1] + shaken[1] + wrong[1]
    gyro_covariance = (params.gyro_noise**2 * rate * np.eye(3)).ravel()
    accel_covariance = (params.accel_noise**2 * rate * np.eye(3)).ravel()
    events: list[_Event] = []
    for stamp, w, f in zip(_nanoseconds(stamps), gyro, accel, strict=True):
        message = cdr.ImuMessage.of(stamp, "imu_link", w, f, gyro_covariance, accel_covariance)
        events.append((stamp, 1, "imu/data_raw", cdr.IMU, cdr.encode_imu(message)))
    return events


def _gnss_events(params: SimulationParams, truth: Drive) -> list[_Event]:
    """A receiver whose antenna sits on the IMU: `fix`, and the velocity east, north and up on `fix_velocity`."""
    rng = np.random.default_rng((params.seed, 5))
    stamps = _clock(params, params.gnss_rate)
    rows = truth.rows(stamps)
    flat_up = np.array([0, 0, 1])
    white, drift, fast = (
        np.array(sizes)[flat_up]
        for sizes in (params.gnss_noise, params.gnss_drift, params.gnss_velocity_noise)
    )
    keep = math.exp(-1.0 / (params.gnss_time * params.gnss_rate))
    wander = rng.standard_normal((len(stamps), 3))
    for i in range(1, len(stamps)):
        wander[i] = keep * wander[i - 1] + math.sqrt(1.0 - keep**2) * wander[i]
    position = truth.position[rows] + drift * wander + white * rng.standard_normal((len(stamps), 3))
    place = world(params).place(position)
    place[:, :2] = np.degrees(place[:, :2])
    velocity = truth.velocity[rows] + fast * rng.standard_normal((len(stamps), 3))
    covariance = np.diag(white**2 + drift**2).ravel()
    of_twist = np.zeros((6, 6))
    of_twist[:3, :3] = np.diag(fast**2)
    of_twist[3:, 3:] = 1e6 * np.eye(3)  # not measured
    begin, end = (START + at for at in params.outage)
    events: list[_Event] = []
    nothing = np.full(3, math.nan)
    for at, stamp, where, v in zip(stamps.tolist(), _nanoseconds(stamps), place, velocity, strict=True):
        if begin <= at < end:
            fix = cdr.FixMessage(stamp, "imu_link", -1, nothing, np.zeros(9), 0)
        else:
            fix = cdr.FixMessage(stamp, "imu_link", 0, where, covariance, 2)
            twist = cdr.TwistCovarianceMessage(stamp, "map", v, np.zeros(3), of_twist.ravel())
            data = cdr.encode_twist_covariance(twist)
            events.append((stamp, 3, "fix_velocity", cdr.TWIST_COVARIANCE, data))
        events.append((stamp, 2, "fix", cdr.FIX, cdr.encode_fix(fix)))
    return events


def _wheel_events(params: SimulationParams, truth: Drive) -> list[_Event]:
    if not params.wheel_rate:
        return []
    rng = np.random.default_rng((params.seed, 6))
    stamps = _clock(params, params.wheel_rate)
    speed = truth.speed[truth.rows(stamps)]
    noise = params.wheel_noise * np.minimum(speed, 1.0) * rng.standard_normal(len(stamps))
    covariance = 1e6 * np.eye(6)  # not measured, but for
    covariance[0, 0] = params.wheel_noise**2
    events: list[_Event] = []
    for stamp, v in zip(_nanoseconds(stamps), speed / params.wheel_scale + noise, strict=True):
        forward = np.array([v, 0.0, 0.0])
        message = cdr.TwistCovarianceMessage(stamp, "base_link", forward, np.zeros(3), covariance.ravel())
        data = cdr.encode_twist_covariance(message)
        events.append((stamp, 4, "wheel/twist", cdr.TWIST_COVARIANCE, data))
    return events


def _truth_events(params: SimulationParams, truth: Drive) -> list[_Event]:
    stamps = _clock(params, params.truth_rate)
    rows = truth.rows(stamps)
    R = truth.R_world_imu[rows]
    velocity = np.einsum("nji,nj->ni", R, truth.velocity[rows])
    turn = Rotation.from_matrix(np.swapaxes(truth.R_world_imu[rows - 1], 1, 2) @ R)
    exact = np.zeros(36)
    events: list[_Event] = []
    columns = truth.position[rows], Rotation.from_matrix(R).as_quat(), velocity, turn.as_rotvec() * FINE
    for stamp, p, q, v, w in zip(_nanoseconds(stamps), *columns, strict=True):
        message = cdr.OdometryMessage(stamp, "map", "imu_link", p, q, exact, v, w, exact)
        events.append((stamp, 0, "ground_truth/odometry", cdr.ODOMETRY, cdr.encode_odometry(message)))
    return events

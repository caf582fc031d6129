"""A simulated nine-axis IMU, handled or flown, that errs, is knocked and passes magnets, beside the exact truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import Recording, intervals

FINE = 2000  # [Hz] at which the motion is made
START = 1.0  # [s] stamp of the first sample
BEFORE = 0.1  # [s] of motion before it
GRAVITY = np.array([0.0, 0.0, 9.80665])  # [m/s^2] what an accelerometer at rest feels
CARRIERS = ("hand", "drone")
EASE = 0.6  # [s] in which a motion begins and ends
TAP_TIME, TAP_FREQUENCY = 0.008, 40.0  # [s], [Hz] in which a knock dies, and at which it rings
DIPOLE = 1e-7  # [T m/A] mu_0 / 4 pi
NEAREST = 0.1  # [m] to which a magnet is passed: its case


@dataclass(frozen=True, slots=True)
class SimulationParams:
    """How the IMU is moved, and how wrong it measures. Errors are of a good consumer MEMS after its calibration."""

    seed: int = 0  # of the motion, the magnets and the errors
    duration: float = 60.0  # [s]
    carrier: str = "hand"  # one of CARRIERS; a drone leans as its thrust must, hovers, and its rotors shake
    rate: float = FINE / 7  # [Hz] of all sensors and of the truth

    pace: float = 1.0  # how fast all goes
    swing: float = 1.5  # [rad] amplitude of the angles, of a drone that of its heading
    reach: float = 0.3  # [m] amplitude of the path, four times as wide for a drone
    first_rest: float = 4.0  # [s]
    moving: tuple[float, float] = (8.0, 15.0)  # [s] at least and at most between two rests
    resting: tuple[float, float] = (2.0, 4.0)  # [s]

    gyro_noise: float = 1e-4  # [rad/s/sqrt(Hz)]
    accel_noise: float = 1.5e-3  # [m/s^2/sqrt(Hz)]
    mag_noise: float = 4e-7  # [T]
    gyro_bias: float = 5e-3  # [rad/s] standard deviation at the start
    accel_bias: float = 0.03  # [m/s^2]
    gyro_walk: float = 3e-5  # [rad/s/sqrt(s)]
    scale: float = 3e-3  # standard deviation of the scale of each gyro
    misalignment: float = 3e-3  # [rad] of each gyro against each other axis
    delay: float = 0.0025  # [s] by which samples of gyro and accelerometer are older than their stamps
    taps: float = 0.0  # [1/s] knocks while it moves
    vibration: float = 1.0  # factor on the shaking by the rotors of a drone

    field: float = 4.9e-5  # [T] of the Earth
    dip_deg: float = 67.0  # by which it points below the horizon
    magnets: int = 0  # that stand where it passes
    moment: float = 0.5  # [A m^2] of each
    attached: float = 0.0  # [T] of a magnet that moves with the IMU

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be simulated."""
        for name in ("duration", "rate", "pace"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        moves = (
            "swing",
            "reach",
            "first_rest",
            "taps",
            "vibration",
            "field",
            "magnets",
            "moment",
            "attached",
        )
        errors = ("gyro_noise", "accel_noise", "mag_noise", "gyro_bias", "accel_bias", "gyro_walk")
        for name in (*moves, *errors, "scale", "misalignment", "delay"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        for name in ("moving", "resting"):
            least, most = getattr(self, name)
            if not 2.0 * EASE <= least <= most < math.inf:
                raise ValueError(f"{name} is {least}, {most}: it must rise, from {2.0 * EASE} s on")
        if self.carrier not in CARRIERS:
            raise ValueError(f"carrier is {self.carrier}: it must be one of {', '.join(CARRIERS)}")
        if self.delay > BEFORE / 2.0:
            raise ValueError(f"delay is {self.delay}: it must be at most {BEFORE / 2.0}")
        if self.rate > FINE or abs(FINE / self.rate - round(FINE / self.rate)) > 1e-6:
            raise ValueError(f"rate is {self.rate}: it must divide {FINE} Hz")


@dataclass(frozen=True)
class Motion:
    """Poses of the IMU in the world: east, north, up."""

    stamp: np.ndarray  # (N,) [s] at FINE
    activity: np.ndarray  # (N,) 0 at rest to 1
    position: np.ndarray  # (N, 3) [m]
    velocity: np.ndarray  # (N, 3) [m/s]
    rotation: Rotation  # N, IMU to world

    def rows(self, stamp: np.ndarray) -> np.ndarray:
        """Nearest samples to stamps (M,)."""
        return np.round((stamp - self.stamp[0]) * FINE).astype(np.int64)


def simulate_handling(params: SimulationParams, out: str | Path) -> Path:
    """Write a recording as rosbag2 MCAP: IMU, magnetic field and true orientation. Its motions are scored.

    Args:
        params: of the recording.
        out: folder of the bag, must not exist.

    Returns:
        The folder.

    Raises:
        BagError: it exists or cannot be written.
    """
    motion, stamp = move(params), clock(params)
    rows = motion.rows(stamp)
    gyro, accel = inertial(params, motion, stamp - params.delay)
    shaken, knocked = shaking(params, motion, stamp), tapping(params, motion, stamp)
    gyro, accel = measured(params, stamp, gyro + shaken[0] + knocked[0], accel + shaken[1] + knocked[1])
    recording = Recording(Path(out).name, f"simulated {params.carrier}, seed {params.seed}", "Apache-2.0")
    recording.scored["intervals"] = intervals(np.round(stamp, 6), motion.activity[rows] > 0.0)
    recording.add_mag("imu/mag", stamp, magnetic(params, motion, stamp))
    recording.add_imu("imu/data_raw", stamp, gyro, accel)
    turn = motion.rotation[rows]
    velocity = turn.inv().apply(motion.velocity[rows])
    recording.add_truth(stamp, motion.position[rows], turn.as_quat(), velocity, child="imu_link")
    return recording.write(Path(out).parent)


def clock(params: SimulationParams) -> np.ndarray:
    """(N,) [s] stamps of the samples."""
    return START + np.arange(int(params.duration * params.rate)) / params.rate


def move(params: SimulationParams) -> Motion:
    """Smooth turns and paths that pause: sums of sines, over a time that stands still at rests."""
    rng = np.random.default_rng((params.seed, 1))
    count = int((BEFORE + params.duration) * FINE) + FINE // 10
    activity = _activity(params, rng, count)
    phase = params.pace * np.cumsum(activity) / FINE

    def sines(size: float, shortest: float, longest: float) -> np.ndarray:
        found = np.zeros(count)
        for part in (0.6, 0.3, 0.2):
            angle = 2.0 * math.pi * (phase / rng.uniform(shortest, longest) + rng.uniform())
            found += part * size * np.sin(angle)
        return found

    flies = params.carrier == "drone"
    reach, periods = (4.0 * params.reach, (4.0, 9.0)) if flies else (params.reach, (1.5, 4.0))
    path = np.column_stack([sines(reach, *periods) for _ in range(3)])
    path -= path[0]
    velocity = np.gradient(path, 1.0 / FINE, axis=0)
    heading = sines(params.swing, 4.0, 9.0) + rng.uniform(-math.pi, math.pi) + 0.2 * phase
    if flies:
        rotation = _leaning(np.gradient(velocity, 1.0 / FINE, axis=0), heading)
    else:
        angles = np.column_stack([heading, *(sines(params.swing, 3.0, 8.0) for _ in range(2))])
        rotation = Rotation.from_euler("ZYX", angles)
    return Motion(START - BEFORE + np.arange(count) / FINE, activity, path, velocity, rotation)


def _activity(params: SimulationParams, rng: np.random.Generator, count: int) -> np.ndarray:
    """(N,) 0 at rests to 1, with a rest first."""
    moves = np.zeros(count)
    at = BEFORE + params.first_rest
    while at * FINE < count:
        end = at + rng.uniform(*params.moving)
        moves[round(at * FINE) : round(end * FINE)] = 1.0
        at = end + rng.uniform(*params.resting)
    ease = np.hanning(round(EASE * FINE) + 2)
    return np.convolve(moves, ease / ease.sum(), "same")


def _leaning(acceleration: np.ndarray, heading: np.ndarray) -> Rotation:
    """Of a drone, whose thrust points along what it feels (Mellinger and Kumar 2011, section III)."""
    z = acceleration + GRAVITY
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    side = np.column_stack([-np.sin(heading), np.cos(heading), np.zeros_like(heading)])
    x = np.cross(side, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=2))


def inertial(params: SimulationParams, motion: Motion, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a perfect IMU says: turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2].

    Each a mean over the sampling interval before its stamp (N,) [s], as converters with integrators give it.
    """
    step = round(FINE / params.rate)
    now = motion.rows(stamp)
    before, dt = now - step, step / FINE
    gyro = (motion.rotation[before].inv() * motion.rotation[now]).as_rotvec() / dt
    middle = motion.rotation[before] * Rotation.from_rotvec(0.5 * dt * gyro)
    return gyro, middle.inv().apply((motion.velocity[now] - motion.velocity[before]) / dt + GRAVITY)


def shaking(params: SimulationParams, motion: Motion, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rotors add to turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2], once a drone took off.

    An IMU that shakes stays where it is, so this integrates to nothing: differences of white noise, and lines at the
    turn of the rotors and of their blades.
    """
    rng = np.random.default_rng((params.seed, 2))
    out = np.zeros((len(stamp), 6))
    if params.carrier == "drone":
        out += np.diff(rng.standard_normal((len(stamp) + 1, 6)), axis=0) / math.sqrt(2.0)
        turns = rng.uniform(75.0, 100.0) * stamp
        for blades in (1.0, 2.0):
            out += np.sin(2.0 * math.pi * (blades * turns[:, None] + rng.uniform(size=6)))
        out *= params.vibration * np.maximum.accumulate(motion.activity)[motion.rows(stamp), None]
    return 0.03 * out[:, :3], out[:, 3:]


def tapping(params: SimulationParams, motion: Motion, stamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What knocks add to turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2]; means over sampling intervals.

    The case rings for some milliseconds and is then where it was.
    """
    rng = np.random.default_rng((params.seed, 3))
    at = stamp[rng.random(len(stamp)) < params.taps / params.rate]
    at = at[motion.activity[motion.rows(at)] > 0.0]
    rung = np.zeros((len(stamp) + 1, 6))  # angle [rad] and velocity [m/s]
    edges = np.r_[stamp[0] - 1.0 / params.rate, stamp]
    for knock in at:
        since = np.clip(edges - knock, 0.0, None)
        ring = np.exp(-since / TAP_TIME) * np.sin(2.0 * math.pi * TAP_FREQUENCY * since)
        direction = rng.standard_normal(6)
        rung += ring[:, None] * direction * np.repeat([0.004, 0.15], 3)
    out = np.diff(rung, axis=0) * params.rate
    return out[:, :3], out[:, 3:]


def measured(
    params: SimulationParams, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """True turn rate (N, 3) [rad/s] and specific force (N, 3) [m/s^2] with the errors of the sensors."""
    rng = np.random.default_rng((params.seed, 4))
    skew = params.misalignment * rng.standard_normal((3, 3))
    np.fill_diagonal(skew, params.scale * rng.standard_normal(3))
    bias = params.gyro_bias * rng.standard_normal(3), params.accel_bias * rng.standard_normal(3)
    dense = math.sqrt(params.rate)
    walked = params.gyro_walk / dense * np.cumsum(rng.standard_normal(gyro.shape), axis=0)
    noise = (
        size * dense * rng.standard_normal(gyro.shape) for size in (params.gyro_noise, params.accel_noise)
    )
    return gyro + gyro @ skew.T + bias[0] + walked + next(noise), accel + bias[1] + next(noise)


def magnetic(params: SimulationParams, motion: Motion, stamp: np.ndarray) -> np.ndarray:
    """Magnetic field (N, 3) [T] in the IMU: of the Earth, of magnets that stand around, of one that is attached."""
    rng = np.random.default_rng((params.seed, 5))
    rows = motion.rows(stamp)
    dip = math.radians(params.dip_deg)
    world = np.tile(params.field * np.array([0.0, math.cos(dip), -math.sin(dip)]), (len(stamp), 1))
    away = np.linalg.norm(motion.position - motion.position[0], axis=1)
    passed = np.flatnonzero(away >= 0.5 * away.max())  # not where it starts
    for _ in range(params.magnets):
        beside = motion.position[rng.choice(passed)] + 0.15 * rng.standard_normal(3)
        world += dipole(motion.position[rows] - beside, params.moment * _direction(rng))
    attached = params.attached * _direction(rng)
    noise = params.mag_noise * rng.standard_normal(world.shape)
    return motion.rotation[rows].inv().apply(world) + attached + noise


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def dipole(away: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Field (N, 3) [T] at places (N, 3) [m] from a magnet of moment (3,) [A m^2]."""
    distance = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), NEAREST)
    along = (away @ moment)[:, None]
    return DIPOLE * (3.0 * along * away / distance**5 - moment / distance**3)

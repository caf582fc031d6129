"""A simulated car: the road it drives, how fast, and how its body moves on tyres and springs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

START = 1000.0  # [s] first stamp: a simulated clock at zero counts as not set in ROS
FINE = 1000  # [Hz] at which the motion is computed
BEFORE = 0.5  # [s] of standing before the first stamp, for sensors that are late
_STEP = 0.25  # [m] of the road


@dataclass(frozen=True, slots=True)
class CarParams:
    """A car of the size of a family estate, and how it is driven."""

    acceleration: float = 1.8  # [m/s^2] at most, forward
    braking: float = 2.2  # [m/s^2]
    cornering: float = 2.5  # [m/s^2] lateral
    town_speed: float = 13.9  # [m/s]
    country_speed: float = 22.0  # [m/s]
    loose_speed: float = 11.0  # [m/s] on a loose road
    loose: float = 0.4  # share of the road that is loose: gravel, snow
    stop_time: float = 4.0  # [s] the shortest stop

    slip: float = -0.05  # [m/rad] lateral velocity = yaw rate x speed x this ...
    slip_speed: float = -0.0006  # [s/rad] ... + yaw rate x speed^2 x this
    slip_noise: tuple[float, float] = (0.015, 0.5)  # [m/s] beyond that, on a firm and on a loose road
    slip_time: float = 1.0  # [s] it is correlated over
    squat: float = 0.005  # [rad s^2/m] the nose rises with forward acceleration
    lean: float = 0.008  # [rad s^2/m] the body leans out of a curve
    spring_time: float = 0.25  # [s] in which it does
    heave: tuple[float, float] = (0.002, 0.006)  # [m] of the body over the road, firm and loose
    nod: tuple[float, float] = (0.0005, 0.002)  # [rad] of its pitch and roll
    heave_time: float = 0.1  # [s] both are correlated over

    def __post_init__(self) -> None:
        """Raises ValueError for what no car can do."""
        positive = ("acceleration", "braking", "cornering", "town_speed", "country_speed", "loose_speed")
        for name in (*positive, "stop_time", "slip_time", "spring_time", "heave_time"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        for name in ("slip_noise", "heave", "nod"):
            if not all(0.0 <= value < math.inf for value in getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if not 0.0 <= self.loose <= 1.0:
            raise ValueError(f"loose is {self.loose}: it must be between 0 and 1")


@dataclass(frozen=True)
class Motion:
    """N samples of the car, at FINE from BEFORE the first stamp on. Its frame: forward, left, up."""

    stamp: np.ndarray  # (N,) [s]
    position: np.ndarray  # (N, 3) [m] of the point that slips as the parameters say; world: east, north, up
    R_world_car: np.ndarray  # (N, 3, 3) body on its springs
    speed: np.ndarray  # (N,) [m/s] along the road
    loose: np.ndarray  # (N,) between 0, firm, and 1, loose road


@dataclass(frozen=True)
class _Road:
    """By way driven, every _STEP."""

    curvature: np.ndarray  # (S,) [1/m] to the left
    slope: np.ndarray  # (S,) [rad] upwards
    loose: np.ndarray  # (S,)
    limit: np.ndarray  # (S,) [m/s] zero where the car stops


def drive(params: CarParams, seed: int, duration: float) -> Motion:
    """A car that starts at a standstill and stops, turns and climbs as its seed says, for `duration` [s]."""
    count = round((BEFORE + duration) * FINE) + 1
    rng = np.random.default_rng((seed, 1))
    road = _road(params, rng, duration * params.country_speed + 100.0)
    speed = _speed(params, road, rng, count)
    way = cumulative_trapezoid(speed, dx=1 / FINE, initial=0.0)

    def here(values: np.ndarray) -> np.ndarray:
        return np.interp(way, _STEP * np.arange(len(values)), values)

    curvature, slope, loose = here(road.curvature), here(road.slope), here(road.loose)
    yaw = rng.uniform(-math.pi, math.pi) + cumulative_trapezoid(curvature * speed, dx=1 / FINE, initial=0.0)
    rate = np.gradient(yaw, 1 / FINE)
    road_axes = Rotation.from_euler("ZY", np.column_stack([yaw, -slope]))

    rng = np.random.default_rng((seed, 2))
    moving = np.minimum(speed / 5.0, 1.0)

    def shaken(sizes: tuple[float, float], time: float) -> np.ndarray:
        return moving * (sizes[0] + (sizes[1] - sizes[0]) * loose) * _smooth_noise(rng, count, time)

    forward = np.gradient(speed, 1 / FINE)
    pitch = -params.squat * _lagged(forward, params.spring_time) + shaken(params.nod, params.heave_time)
    roll = params.lean * _lagged(rate * speed, params.spring_time) + shaken(params.nod, params.heave_time)
    lateral = (params.slip + params.slip_speed * speed) * rate * speed
    lateral += shaken(params.slip_noise, params.slip_time)
    velocity = road_axes.apply(np.column_stack([speed, lateral, np.zeros(count)]))
    position = cumulative_trapezoid(velocity, dx=1 / FINE, axis=0, initial=0.0)
    position[:, 2] += shaken(params.heave, params.heave_time)
    body = road_axes * Rotation.from_euler("YX", np.column_stack([pitch, roll]))
    stamp = START - BEFORE + np.arange(count) / FINE
    return Motion(stamp, position, body.as_matrix(), speed, loose)


def _road(params: CarParams, rng: np.random.Generator, length: float) -> _Road:
    """Straights, bends and corners in turn, firm or loose, with stops before some corners."""
    size = int(length / _STEP)
    curvature, limit, loose = np.zeros(size), np.full(size, params.town_speed), np.zeros(size)
    at = int(60.0 / _STEP)
    while at < size:
        kind = rng.choice(("straight", "bend", "corner"), p=(0.4, 0.35, 0.25))
        radius, metres = math.inf, rng.uniform(60.0, 220.0)
        if kind == "bend":
            radius = rng.uniform(60.0, 250.0)
        elif kind == "corner":
            radius = rng.uniform(11.0, 18.0)
            metres = 0.5 * math.pi * radius
        piece = slice(at, at + int(metres / _STEP))
        curvature[piece] = rng.choice((-1.0, 1.0)) / radius
        limit[piece] = params.country_speed if rng.random() < 0.4 else params.town_speed
        if kind == "corner" and rng.random() < 0.5:
            limit[at] = 0.0
        at = piece.stop
    at = 0
    while at < size:
        piece = slice(at, at + int(rng.uniform(80.0, 300.0) / _STEP))
        loose[piece] = rng.random() < params.loose
        at = piece.stop
    curvature = uniform_filter1d(uniform_filter1d(curvature, int(8.0 / _STEP)), int(8.0 / _STEP))
    loose = uniform_filter1d(loose, int(5.0 / _STEP))
    limit = np.minimum(limit, np.where(loose > 0.0, params.loose_speed, math.inf))
    limit = np.minimum(limit, np.sqrt(params.cornering / np.maximum(np.abs(curvature), 1e-6)))
    way = _STEP * np.arange(size)
    waves = zip(rng.uniform(250.0, 900.0, 3), rng.uniform(0.0, 2.0 * math.pi, 3), strict=True)
    slope = sum((0.02 * np.sin(2.0 * math.pi * way / wave + phase) for wave, phase in waves), np.zeros(size))
    return _Road(curvature, slope, loose, limit)


def _speed(params: CarParams, road: _Road, rng: np.random.Generator, count: int) -> np.ndarray:
    """(count,) [m/s] at FINE: the fastest that limits, engine and brakes allow, from a standstill, without jerks."""
    speed = road.limit.copy()
    speed[0] = 0.0
    for i in range(len(speed) - 2, -1, -1):
        speed[i] = min(speed[i], math.sqrt(speed[i + 1] ** 2 + 2.0 * params.braking * _STEP))
    for i in range(1, len(speed)):
        speed[i] = min(speed[i], math.sqrt(speed[i - 1] ** 2 + 2.0 * params.acceleration * _STEP))
    stops = np.flatnonzero(speed == 0.0)
    wait = np.zeros(len(speed))
    wait[stops] = params.stop_time + rng.uniform(0.0, 4.0, len(stops))
    wait[0] = BEFORE + params.stop_time
    arrive = np.r_[0.0, np.cumsum(2.0 * _STEP / (speed[1:] + speed[:-1]))] + np.cumsum(wait) - wait
    stamp = np.r_[arrive, arrive[stops] + wait[stops]]
    order = np.argsort(stamp, kind="stable")
    speed = np.interp(np.arange(count) / FINE, stamp[order], np.r_[speed, speed[stops]][order])
    for _ in range(2):
        speed = uniform_filter1d(speed, int(0.6 * FINE))
    return np.where(speed > 1e-9, speed, 0.0)


def _lagged(values: np.ndarray, time: float) -> np.ndarray:
    """`values` (N,) at FINE behind two first-order lags of `time` [s] each."""
    keep = math.exp(-1.0 / (time * FINE))
    for _ in range(2):
        values = lfilter([1.0 - keep], [1.0, -keep], values)
    return values


def _smooth_noise(rng: np.random.Generator, count: int, time: float) -> np.ndarray:
    """(count,) noise of unit variance at FINE, correlated over `time` [s], that can be differentiated twice."""
    settle = int(20 * time * FINE)
    noise = _lagged(_lagged(rng.standard_normal(settle + count), 0.5 * time), 0.1 * time)
    return noise[settle:] / noise.std()

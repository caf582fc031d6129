"""A simulated drone flight with ultra-wideband ranging errors of the kinds that real antennas make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from nn_estimation import __version__, cdr
from nn_estimation.bags import BagWriter
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Anchor, Layout, Tag

GRAVITY = np.array([0.0, 0.0, 9.80665])  # [m/s^2] what an accelerometer at rest feels
START = 1000.0  # [s] first stamp: a simulated clock at zero counts as not set in ROS
ROOM = (8.0, 7.0, 2.7)  # [m] the anchors stand along its walls
MAX_SCORED_ERROR = 0.8  # [m] beyond are blocked lines of sight, which the gate is for


@dataclass(frozen=True, slots=True)
class SimulationParams:
    """What flies where, and how wrong it is measured."""

    seed: int = 0  # of the flight, the people and the noise
    hardware_seed: int = 2017  # of the radios: flights that share it share their antennas
    duration: float = 60.0  # [s]
    range_rate: float = 50.0  # [Hz] epochs of all tags to all anchors
    imu_rate: float = 200.0  # [Hz]
    truth_rate: float = 100.0  # [Hz]
    range_noise: float = 0.03  # [m] at strong signals, twice that at weak ones
    multipath_noise: float = 0.02  # [m] correlated over `multipath_time`
    multipath_time: float = 0.3  # [s]
    dropout: float = 0.02  # share of ranges lost with a clear line of sight
    people: int = 2  # who walk along the walls and block the line of sight
    gyro_noise: float = 0.004  # [rad/s] per sample
    accel_noise: float = 0.08  # [m/s^2] per sample, propellers running
    gyro_bias: float = 0.003  # [rad/s] standard deviation of its constant value
    accel_bias: float = 0.05  # [m/s^2]

    def __post_init__(self) -> None:
        rates = ("duration", "range_rate", "imu_rate", "truth_rate", "multipath_time")
        noises = ("range_noise", "multipath_noise", "gyro_noise", "accel_noise", "gyro_bias", "accel_bias")
        for name in rates:
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        for name in (*noises, "people"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}: it must be at least 0 and below 1")


@dataclass(frozen=True)
class Flight:
    """Poses of base_link in the map frame."""

    position: np.ndarray  # (N, 3) [m]
    R_world_body: np.ndarray  # (N, 3, 3)
    velocity: np.ndarray  # (N, 3) [m/s], map frame
    acceleration: np.ndarray  # (N, 3) [m/s^2], map frame
    angular_velocity: np.ndarray  # (N, 3) [rad/s], body frame


def simulate_flight(params: SimulationParams, out: str | Path) -> Path:
    """Write a flight as rosbag2 MCAP: ranges, received power, IMU and truth.

    Args:
        params: of the flight.
        out: folder of the bag, must not exist.

    Returns:
        The folder.

    Raises:
        BagError: it exists or cannot be written.
    """
    layout = room_layout()
    custom = {
        "source": f"simulated flight, seed {params.seed}, radios {params.hardware_seed}",
        "licence": "Apache-2.0",
        "layout": layout.to_yaml(),
        "scored": yaml.safe_dump({"max_abs_error_m": MAX_SCORED_ERROR}),
        "importer": f"nn_estimation {__version__}",
    }
    events = _range_events(params, layout) + _imu_events(params) + _truth_events(params)
    events.sort(key=lambda event: event[:2])
    with BagWriter(out, custom_data=custom) as bag:
        for stamp, _, topic, msgtype, data in events:
            bag.write(topic, msgtype, stamp, data)
    return Path(out)


def room_layout() -> Layout:
    """Eight anchors along the walls, high and low in turn, facing the middle; two tags on the drone's arms."""
    x, y, top = ROOM[0] / 2, ROOM[1] / 2, ROOM[2]
    places = [(-x, -y), (0.0, -y), (x, -y), (x, 0.0), (x, y), (0.0, y), (-x, y), (-x, 0.0)]
    anchors = []
    for i, (px, py) in enumerate(places):
        facing = Rotation.from_euler("z", math.atan2(-py, -px)).as_matrix()
        anchors.append(Anchor(f"a{i}", np.array([px, py, 0.3 if i % 2 else top]), facing))
    turned = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    tags = (Tag("tag0", np.array([0.22, 0.18, 0.04])), Tag("tag1", np.array([-0.22, -0.18, 0.04]), turned))
    return Layout(tuple(anchors), tags)


def fly(params: SimulationParams, stamps: np.ndarray) -> Flight:
    """The flight at stamps (N,) [s]: slow sums of sines; thrust points along the specific force.

    The attitude follows from acceleration and heading as for any quadrotor (Mellinger and Kumar 2011, section III).
    """
    rng = np.random.default_rng((params.seed, 1))
    t = stamps - START
    reach = np.array([[2.0, 0.6], [1.6, 0.5], [0.6, 0.2]])  # [m]
    period = np.stack([rng.uniform((9.0, 9.0, 8.0), (14.0, 14.0, 12.0)), rng.uniform(5.0, 7.0, 3)], axis=1)
    phase = rng.uniform(0.0, 2.0 * math.pi, (3, 2))
    turn = rng.choice((-1.0, 1.0)) * 2.0 * math.pi / rng.uniform(15.0, 25.0)
    heading, nod = rng.uniform(-math.pi, math.pi, 2)

    def pose(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Rotation]:
        omega = 2.0 * math.pi / period
        angle = omega * at[:, None, None] + phase
        p = (reach * np.sin(angle)).sum(axis=2) + np.array([0.0, 0.0, 1.3])
        v = (reach * omega * np.cos(angle)).sum(axis=2)
        a = -(reach * omega**2 * np.sin(angle)).sum(axis=2)
        yaw = heading + turn * at + 0.8 * np.sin(0.9 * at + nod)
        up = a + GRAVITY
        z = up / np.linalg.norm(up, axis=1, keepdims=True)
        side = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros_like(yaw)], axis=1)
        x = np.cross(side, z)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return p, v, a, Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=2))

    p, v, a, R = pose(t)
    step = 1e-4  # [s]
    omega = (pose(t - step)[3].inv() * pose(t + step)[3]).as_rotvec() / (2.0 * step)
    return Flight(p, R.as_matrix(), v, a, omega)


@dataclass(frozen=True)
class Radios:
    """The hidden hardware: delays and patterns of the antennas.

    A two-way range is wrong by the uncalibrated delays of both ends, by the direction-dependent group delay of both
    antennas (Ledergerber and D'Andrea 2017), and by the received power, as a weak pulse crosses the detector's
    threshold later than a strong one (Sidorenko et al. 2020). All antennas are of one type, with small deviations.
    """

    tag_delay: np.ndarray  # (T,) [m]
    anchor_delay: np.ndarray  # (A,) [m]
    pattern: np.ndarray  # (6, 2) amplitude [m] and phase [rad] of the type
    tag_deviation: np.ndarray  # (T, 2, 2) the same of azimuth harmonics 1, 2
    anchor_deviation: np.ndarray  # (A, 2, 2)
    gain: np.ndarray  # (2, 2) [dB, rad] azimuth ripple of the gain

    @classmethod
    def built(cls, seed: int, tags: int, anchors: int) -> Radios:
        """Radios of a seed."""
        rng = np.random.default_rng((seed, 2))

        def ripple(sizes: np.ndarray, *shape: int) -> np.ndarray:
            phase = rng.uniform(-math.pi, math.pi, (*shape, len(sizes)))
            return np.stack([np.broadcast_to(sizes, phase.shape), phase], axis=-1)

        return cls(
            0.10 + 0.03 * rng.standard_normal(tags),
            0.05 * rng.standard_normal(anchors),
            ripple(np.array([0.08, 0.06, 0.03, 0.02, 0.05, 0.04])),
            ripple(np.array([0.01, 0.01]), tags),
            ripple(np.array([0.015, 0.01]), anchors),
            ripple(np.array([1.5, 1.0])),
        )

    def delay(self, azimuth: np.ndarray, elevation: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """(N,) [m] group delay in directions (N,) [rad] of antennas with deviations (N, 2, 2)."""
        size, phase = self.pattern.T
        flat, steep = np.cos(elevation), np.sin(elevation)
        out = size[4] * steep + size[5] * steep * np.cos(azimuth - phase[5])
        for k in range(4):
            out += flat * size[k] * np.cos((k + 1) * azimuth - phase[k])
        for k in range(2):
            out += flat * deviation[:, k, 0] * np.cos((k + 1) * azimuth - deviation[:, k, 1])
        return out

    def antenna_gain(self, azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
        """(N,) [dB] of an upright dipole, with some ripple over azimuth."""
        out = 20.0 * np.log10(np.maximum(np.cos(elevation), 0.15))
        for k, (size, phase) in enumerate(self.gain):
            out += size * np.cos((k + 1) * azimuth - phase)
        return out

    def error(
        self, geometry: np.ndarray, power: np.ndarray, tag: np.ndarray, anchor: np.ndarray
    ) -> np.ndarray:
        """(N,) [m] systematic error of links with geometry (N, 10) and received power (N,) [dBm]."""
        fixed = self.tag_delay[tag] + self.anchor_delay[anchor]
        at_tag = self.delay(geometry[:, 1], geometry[:, 2], self.tag_deviation[tag])
        at_anchor = 0.4 * self.delay(geometry[:, 3], geometry[:, 4], self.anchor_deviation[anchor])
        return fixed + at_tag + at_anchor + power_error(power)


def power_error(power: np.ndarray) -> np.ndarray:
    """(N,) [m] error at received powers (N,) [dBm], in the shape of Decawave APS011 for 500 MHz channels."""
    return 0.1 * np.tanh((-77.0 - np.asarray(power)) / 8.0)


def received_power(radios: Radios, geometry: np.ndarray) -> np.ndarray:
    """(N,) [dBm] over free space at 6.5 GHz (Friis), transmitted with the legal -14.3 dBm."""
    loss = 48.7 + 20.0 * np.log10(np.maximum(geometry[:, 0], 0.1))
    at_tag = radios.antenna_gain(geometry[:, 1], geometry[:, 2])
    return -14.3 - loss + at_tag + radios.antenna_gain(geometry[:, 3], geometry[:, 4])


def blocked_by_people(
    params: SimulationParams, stamps: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """(N,) bool: does someone stand between `start` (N, 3) and `end` (N, 3) [m] at stamps (N,)?

    People are cylinders, 0.5 m wide and 1.8 m high, that walk around the room between the flight and the walls.
    """
    rng = np.random.default_rng((params.seed, 3))
    blocked = np.zeros(len(stamps), dtype=bool)
    way = end - start
    length = np.maximum((way[:, :2] ** 2).sum(axis=1), 1e-9)
    for _ in range(params.people):
        angle = rng.uniform(0, 2 * math.pi) + rng.choice((-1, 1)) * 2 * math.pi / 30.0 * (stamps - START)
        person = np.stack([3.3 * np.cos(angle), 2.9 * np.sin(angle)], axis=1)
        along = np.clip(((person - start[:, :2]) * way[:, :2]).sum(axis=1) / length, 0.0, 1.0)
        nearest = start + along[:, None] * way
        near = np.linalg.norm(nearest[:, :2] - person, axis=1) < 0.25
        blocked |= near & (nearest[:, 2] < 1.8)
    return blocked


_Event = tuple[int, int, str, str, bytes]  # stamp [ns], order within it, topic, type, CDR


def _clock(params: SimulationParams, rate: float) -> np.ndarray:
    return START + np.arange(int(params.duration * rate)) / rate


def _range_events(params: SimulationParams, layout: Layout) -> list[_Event]:
    """Ranges and their received power, all links of an epoch at one stamp."""
    rng = np.random.default_rng((params.seed, 4))
    stamps = _clock(params, params.range_rate)
    flight = fly(params, stamps)
    tags, anchors = len(layout.tags), len(layout.anchors)
    links = tags * anchors
    tag = np.tile(np.repeat(np.arange(tags), anchors), len(stamps))
    anchor = np.tile(np.arange(anchors), tags * len(stamps))
    epoch = np.repeat(np.arange(len(stamps)), links)
    one_way = np.full(len(tag), NO_ANCHOR)
    geometry = link_geometry(layout, flight.position, flight.R_world_body, tag, anchor, one_way, epoch)

    lever = np.einsum("nij,tj->nti", flight.R_world_body, layout.tag_positions)
    antenna = np.repeat(flight.position[:, None] + lever, anchors, axis=1).reshape(-1, 3)
    blocked = blocked_by_people(params, stamps[epoch], antenna, layout.anchor_positions[anchor])
    radios = Radios.built(params.hardware_seed, tags, anchors)
    rx = received_power(radios, geometry) - 8.0 * blocked
    slow = _correlated(rng, len(stamps), links, params.multipath_time * params.range_rate).reshape(-1)
    fading = _correlated(rng, len(stamps), links, 0.5 * params.range_rate).reshape(-1)
    weak = 1.0 + np.clip((-75.0 - rx) / 15.0, 0.0, 1.0)
    measured = (
        geometry[:, 0]
        + radios.error(geometry, rx, tag, anchor)
        + blocked * (0.2 + 0.35 * np.abs(fading))
        + params.multipath_noise * slow
        + params.range_noise * weak * rng.standard_normal(len(tag))
    )
    first = rx - 2.0 - 7.0 * blocked - np.abs(1.0 * fading) + 0.4 * rng.standard_normal(len(tag))
    rx = rx + 0.4 * rng.standard_normal(len(tag))
    heard = rng.random(len(tag)) >= np.where(blocked, max(0.3, params.dropout), params.dropout)

    events: list[_Event] = []
    names = [a.name for a in layout.anchors]
    range_topics = [layout.tag_topic(t.name, "range") for t in layout.tags]
    power_topics = [layout.tag_topic(t.name, "power") for t in layout.tags]
    ns = np.round(stamps * 1e9).astype(np.int64)[epoch].tolist()
    for n in np.flatnonzero(heard).tolist():
        name, t = names[anchor[n]], tag[n]
        power = cdr.Vector3Message(ns[n], name, rx[n], first[n], math.nan)
        events.append((ns[n], 0, power_topics[t], cdr.VECTOR3, cdr.encode_vector3(power)))
        message = cdr.RangeMessage(ns[n], name, max(measured[n], 0.01), 0.0)
        events.append((ns[n], 1, range_topics[t], cdr.RANGE, cdr.encode_range(message)))
    return events


def _correlated(rng: np.random.Generator, steps: int, links: int, memory: float) -> np.ndarray:
    """(steps, links) first-order Gauss-Markov noise of unit variance that forgets in `memory` steps."""
    keep = math.exp(-1.0 / memory)
    white = rng.standard_normal((steps, links))
    white[1:] *= math.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], white, axis=0))


def _imu_events(params: SimulationParams) -> list[_Event]:
    rng = np.random.default_rng((params.seed, 5))
    stamps = _clock(params, params.imu_rate)
    flight = fly(params, stamps)
    up = flight.acceleration + GRAVITY
    force = np.einsum("nji,nj->ni", flight.R_world_body, up)
    gyro = flight.angular_velocity + params.gyro_bias * rng.standard_normal(3)
    accel = force + params.accel_bias * rng.standard_normal(3)
    gyro += params.gyro_noise * rng.standard_normal(gyro.shape)
    accel += params.accel_noise * rng.standard_normal(accel.shape)
    gyro_covariance = (params.gyro_noise**2 * np.eye(3)).ravel()
    accel_covariance = (params.accel_noise**2 * np.eye(3)).ravel()
    events: list[_Event] = []
    for stamp, w, f in zip(np.round(stamps * 1e9).astype(np.int64).tolist(), gyro, accel, strict=True):
        message = cdr.ImuMessage.of(stamp, "base_link", w, f, gyro_covariance, accel_covariance)
        events.append((stamp, 2, "imu/data_raw", cdr.IMU, cdr.encode_imu(message)))
    return events


def _truth_events(params: SimulationParams) -> list[_Event]:
    stamps = _clock(params, params.truth_rate)
    flight = fly(params, stamps)
    quaternion = Rotation.from_matrix(flight.R_world_body).as_quat()
    velocity = np.einsum("nji,nj->ni", flight.R_world_body, flight.velocity)
    exact = np.zeros(36)
    events: list[_Event] = []
    for i, stamp in enumerate(np.round(stamps * 1e9).astype(np.int64).tolist()):
        message = cdr.OdometryMessage(
            stamp,
            "map",
            "base_link",
            flight.position[i],
            quaternion[i],
            exact,
            velocity[i],
            flight.angular_velocity[i],
            exact,
        )
        events.append((stamp, 3, "ground_truth/odometry", cdr.ODOMETRY, cdr.encode_odometry(message)))
    return events

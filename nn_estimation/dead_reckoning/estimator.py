"""The online algorithm: an IMU sample in, pose and velocity with their covariance out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning import filter as layout
from nn_estimation.dead_reckoning import output, vehicle
from nn_estimation.dead_reckoning.constants import Constants, packed
from nn_estimation.dead_reckoning.kernel import BLOCK, advance, current, parts
from nn_estimation.dead_reckoning.learned_covariance import LearnedCovariance
from nn_estimation.imu_checks import beyond

EARTH_RATE = 7.292115e-5  # [rad/s]
GIVE_UP = 10.0  # [s] of silence after which a pose is no longer worth keeping


class State:
    """State, covariance and memory of the filter; see `filter`.

    The arrays are views on one block: write into them.
    """

    __slots__ = ("C", "P", "R", "accel_bias", "block", "gyro_bias", "lever", "memory", "p", "stamp", "v")

    def __init__(self, stamp: float = math.nan, block: np.ndarray | None = None) -> None:
        self.stamp = stamp  # [s]
        self.block = np.zeros(BLOCK) if block is None else block
        self.R: np.ndarray
        self.R, self.v, self.p, self.gyro_bias, self.accel_bias, self.C, self.lever, self.P, self.memory = (
            parts.py_func(self.block)
        )
        if block is None:
            self.R[:] = self.C[:] = np.eye(3)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """In the order the compiled filter takes them; changed by it."""
        filtered = self.R, self.v, self.p, self.gyro_bias, self.accel_bias, self.C, self.lever, self.P
        return *filtered, self.memory

    def copy(self) -> State:
        """An independent one."""
        return State(self.stamp, self.block.copy())


@dataclass(frozen=True, slots=True)
class Estimate:
    """Pose and velocity of the IMU at a stamp."""

    stamp: float  # [s]
    values: np.ndarray  # (106,), in the order of `output`

    @property
    def position(self) -> np.ndarray:
        """(3,) [m], world: east, north, up."""
        return self.values[output.POSITION]

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) x, y, z, w; IMU to world."""
        return self.values[output.QUATERNION]

    @property
    def R_world_imu(self) -> np.ndarray:
        """(3, 3)."""
        return self.values[output.R_WORLD_IMU].reshape(3, 3)

    @property
    def velocity(self) -> np.ndarray:
        """(3,) [m/s], world."""
        return self.values[output.VELOCITY]

    @property
    def angular_velocity(self) -> np.ndarray:
        """(3,) [rad/s], IMU frame."""
        return self.values[output.TURN]

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) position and rotation about the world axes [m^2, rad^2]."""
        return self.values[output.POSE_COVARIANCE].reshape(6, 6)

    @property
    def velocity_covariance(self) -> np.ndarray:
        """(3, 3) [m^2/s^2], world."""
        return self.values[output.VELOCITY_COVARIANCE].reshape(3, 3)

    @property
    def twist_covariance(self) -> np.ndarray:
        """(6, 6) velocity and angular velocity, IMU frame [m^2/s^2, rad^2/s^2]."""
        return self.values[output.TWIST_COVARIANCE].reshape(6, 6)

    @property
    def odometry(self) -> np.ndarray:
        """(85,) the values of a nav_msgs/Odometry in their order, velocities in the IMU frame."""
        return self.values[: output.MESSAGE]


class DeadReckoning:
    """Integrates the IMU of a wheeled vehicle from a known start.

    Args:
        constants: of the vehicle and its unit.
        latitude: [rad], of which the Earth's rate is taken off the gyro; None leaves it in.
        network: says mean and variance of the pseudo-measurement; None: those of the constants.
    """

    def __init__(
        self,
        constants: Constants | None = None,
        latitude: float | None = None,
        network: LearnedCovariance | None = None,
    ) -> None:
        self.earth = earth_rate(latitude)
        self.use(constants or Constants(), network)
        self.state: State | None = None
        self.counts = dict.fromkeys(("sample", "invalid", "repeated or backward", "gap", "standstill"), 0)
        self.nis = math.nan  # of the last sample, see `vehicle.step`
        self._gyro, self._dt = np.zeros(3), math.inf

    def use(self, constants: Constants, network: LearnedCovariance | None) -> None:
        """Change to other constants and another network, or none, under way."""
        self.constants, self.network, self._packed = constants, network, packed(constants)
        self._mean, self._variance = np.zeros(2), np.array([constants.lateral, constants.vertical])
        if network is not None:
            network.reset()

    @property
    def expected(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (2,) [m/s] and variance (2,) [m^2/s^2] of the pseudo-measurement now."""
        if self.network is not None:
            return self.network.mean, self.network.variance
        return self._mean, self._variance

    def reset(self) -> None:
        """Forget the pose; the counts stay."""
        self.state = None
        if self.network is not None:
            self.network.reset()

    def start(
        self,
        stamp: float,
        position: np.ndarray,
        R_world_imu: np.ndarray,
        velocity: np.ndarray,
        gyro: np.ndarray | None = None,
    ) -> None:
        """Begin at a known pose.

        Args:
            stamp: [s].
            position: (3,) [m], world.
            R_world_imu: (3, 3).
            velocity: (3,) [m/s], world.
            gyro: (3,) [rad/s] at the stamp, by which a late gyro is taken back; None: not turning.
        """
        if self.network is not None:
            self.network.reset()
        c = self.constants
        self.state = first_state(c, stamp, position, R_world_imu, velocity, gyro)
        self._gyro = np.zeros(3) if gyro is None else gyro

    def update(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> Estimate | None:
        """Take in a sample; None without a start, or where the sample is of no use.

        Args:
            stamp: [s].
            gyro: (3,) [rad/s].
            accel: (3,) [m/s^2], +g up at rest.
        """
        state = self.state
        if state is None:
            return None
        if beyond(gyro, accel):
            self.counts["invalid"] += 1
            return None
        dt = stamp - state.stamp
        if not dt > 0.0:
            self.counts["repeated or backward"] += 1
            return None
        if dt > GIVE_UP:
            self.counts["gap"] += 1
            self.reset()
            return None
        if self.network is not None:
            self.network.update(gyro, accel, dt)
        mean, variance = self.expected
        values = np.empty(output.VALUES)
        self.nis = advance(state.block, gyro, accel, dt, self.earth, mean, variance, self._packed, values)
        state.stamp = stamp
        self.counts["sample"] += 1
        if self.nis == -1.0:
            self.counts["standstill"] += 1
        elif self.nis == -2.0:
            self.counts["gap"] += 1
        self._gyro, self._dt = gyro, dt
        return Estimate(stamp, values)

    def think(self) -> None:
        """Let the network look, where that is due: the estimate of the sample did not wait for it."""
        if self.network is not None:
            self.network.think()

    def estimate(self) -> Estimate | None:
        """The present one; None before the start."""
        if self.state is None:
            return None
        values = np.empty(output.VALUES)
        current(self.state.block, self._gyro, self._dt, self._packed, values)
        return Estimate(self.state.stamp, values)


@dataclass(frozen=True, slots=True)
class Track:
    """N estimates of a whole recording."""

    stamp: np.ndarray  # (N,) [s]
    R: np.ndarray  # (N, 3, 3) IMU to world
    velocity: np.ndarray  # (N, 3) [m/s], world
    position: np.ndarray  # (N, 3) [m], world
    nis: np.ndarray  # (N,) of the pseudo-measurement; -1 standstill, -2 gap, NaN left out
    P: np.ndarray  # (N, 21, 21) of the error state, or (0, 21, 21)
    mean: np.ndarray  # (N, 2) [m/s] of the pseudo-measurement, lateral and vertical
    variance: np.ndarray  # (N, 2) [m^2/s^2]


def track(
    constants: Constants,
    stamp: np.ndarray,
    gyro: np.ndarray,
    accel: np.ndarray,
    start: State,
    latitude: float | None = None,
    covariances: bool = False,
    network: LearnedCovariance | None = None,
) -> Track:
    """`DeadReckoning` over N samples at once, in one compiled loop: the same numbers.

    Args:
        constants: of the vehicle and its unit.
        stamp: (N,) [s], float64.
        gyro: (N, 3) [rad/s].
        accel: (N, 3) [m/s^2].
        start: state at stamp[0]; left as it is.
        latitude: [rad].
        covariances: whether to keep them all.
        network: see `DeadReckoning`.
    """
    count = len(stamp)
    state = start.copy()
    R, v, p, bias = np.empty((count, 3, 3)), *(np.empty((count, 3)) for _ in range(3))
    P = np.empty((count if covariances else 0, layout.SIZE, layout.SIZE))
    nis = np.empty(count)
    if network is None:
        mean, variance = np.zeros((count, 2)), np.tile([constants.lateral, constants.vertical], (count, 1))
    else:
        mean, variance, _ = network.batch(stamp, gyro, accel)
    model = earth_rate(latitude), mean, variance, packed(constants)[0]
    vehicle.run(*(stamp, gyro, accel, *state.arrays(), *model, R, v, p, bias, P, nis))
    if constants.gyro_delay:
        R = R @ Rotation.from_rotvec((gyro - bias) * constants.gyro_delay).as_matrix()
    return Track(stamp, R, v, p, nis, P, mean, variance)


def first_state(
    c: Constants,
    stamp: float,
    position: np.ndarray,
    R_world_imu: np.ndarray,
    velocity: np.ndarray,
    gyro: np.ndarray | None = None,
) -> State:
    """State at a known pose, with the first uncertainties of the constants; see `DeadReckoning.start`."""
    state = State(stamp)
    back = np.zeros(3) if gyro is None else -np.asarray(gyro) * c.gyro_delay
    state.R[:] = R_world_imu @ Rotation.from_rotvec(back).as_matrix()
    state.v[:], state.p[:] = velocity, position
    state.C[:] = Rotation.from_rotvec([c.mount_roll, c.mount_pitch, c.mount_yaw]).as_matrix()
    state.lever[:] = c.lever_x, c.lever_y, c.lever_z
    P = np.zeros((layout.SIZE, layout.SIZE))
    P[layout.ROTATION, layout.ROTATION] = np.diag([c.tilt_0, c.tilt_0, c.heading_0])
    P[layout.VELOCITY, layout.VELOCITY] = np.diag([c.velocity_0, c.velocity_0, 0.0])
    for part, variance in (
        (layout.GYRO_BIAS, c.gyro_bias_0),
        (layout.ACCEL_BIAS, c.accel_bias_0),
        (layout.MOUNT, c.mount_0),
        (layout.LEVER, c.lever_0),
    ):
        P[part, part] = variance * np.eye(3)
    # Where the vehicle starts is exact, however far from the origin: the invariant error is p x that of the rotation.
    lift = skew(state.p)
    P[layout.POSITION, layout.ROTATION] = lift @ P[layout.ROTATION, layout.ROTATION]
    P[layout.ROTATION, layout.POSITION] = P[layout.POSITION, layout.ROTATION].T
    P[layout.POSITION, layout.POSITION] = lift @ P[layout.ROTATION, layout.ROTATION] @ lift.T
    state.P[:] = P
    return state


def earth_rate(latitude: float | None) -> np.ndarray:
    """(3,) [rad/s] in east, north, up; zeros for None."""
    if latitude is None:
        return np.zeros(3)
    return EARTH_RATE * np.array([0.0, math.cos(latitude), math.sin(latitude)])


def skew(a: np.ndarray) -> np.ndarray:
    """(3, 3) matrix of the cross product with a (3,)."""
    return np.array([[0.0, -a[2], a[1]], [a[2], 0.0, -a[0]], [-a[1], a[0], 0.0]])

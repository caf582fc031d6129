"""What others measure of the vehicle: pose, velocity and wheel speed, told to the filter behind a gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning import linearised
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.estimator import State, skew
from nn_estimation.dead_reckoning.filter import (
    ACCEL_BIAS,
    GYRO_BIAS,
    LEVER,
    MOUNT,
    POSITION,
    ROTATION,
    SIZE,
    VELOCITY,
    gather,
    retract,
)
from nn_estimation.dead_reckoning.linearised import between, compare, predict
from nn_estimation.dead_reckoning.vehicle import vehicle_velocity

GATES = {1: 16.0, 3: 24.0}  # innovation squared by its variance, by degrees of freedom: one sound one in 10^4
_PARTS = {  # of the error state, by kind
    linearised.POSITION: POSITION,
    linearised.ROTATION: ROTATION,
    linearised.WORLD_VELOCITY: VELOCITY,
    linearised.VELOCITY: VELOCITY,
}
NO_ARM = np.zeros(3)


class Known(NamedTuple):
    """Three values and their covariance (3, 3)."""

    value: np.ndarray
    covariance: np.ndarray


class Aid:
    """What a source says of itself at a stamp; nothing where None.

    Args:
        stamp: [s].
        position: [m], world.
        R_world_imu: (3, 3).
        rotation_covariance: (3, 3) [rad^2] about the world axes, with a rotation.
        velocity: [m/s], IMU frame.
        world_velocity: [m/s], world.
        stated: whether the source gave the covariances itself.
        arm: (3,) [m] from the IMU to the source, IMU frame.

    Attributes:
        given: (4,) bool, of the kinds in `linearised`, those that it says.
        said: (4, 4, 3) of each its value and, below, its covariance; of a rotation the covariance alone.
        R: (3, 3) the rotation.
    """

    __slots__ = ("R", "arm", "given", "said", "stamp", "stated")

    def __init__(
        self,
        stamp: float,
        position: Known | None = None,
        R_world_imu: np.ndarray | None = None,
        rotation_covariance: np.ndarray | None = None,
        velocity: Known | None = None,
        world_velocity: Known | None = None,
        stated: bool = True,
        arm: np.ndarray = NO_ARM,
    ) -> None:
        self.stamp, self.stated, self.arm = stamp, stated, arm
        self.given, self.said = np.zeros(len(_PARTS), dtype=np.bool_), np.zeros((len(_PARTS), 4, 3))
        self.R = np.eye(3)
        if position is not None:
            self._say(linearised.POSITION, *position)
        if velocity is not None:
            self._say(linearised.VELOCITY, *velocity)
        if world_velocity is not None:
            self._say(linearised.WORLD_VELOCITY, *world_velocity)
        if R_world_imu is not None and rotation_covariance is not None:
            self._say(linearised.ROTATION, 0.0, rotation_covariance)
            self.R[:] = R_world_imu

    def _say(self, kind: int, value: np.ndarray | float, covariance: np.ndarray) -> None:
        self.given[kind] = True
        self.said[kind, 0], self.said[kind, 1:] = value, covariance

    def _known(self, kind: int) -> Known | None:
        return Known(self.said[kind, 0], self.said[kind, 1:]) if self.given[kind] else None

    @property
    def position(self) -> Known | None:
        """[m], world."""
        return self._known(linearised.POSITION)

    @property
    def velocity(self) -> Known | None:
        """[m/s], IMU frame."""
        return self._known(linearised.VELOCITY)

    @property
    def world_velocity(self) -> Known | None:
        """[m/s], world."""
        return self._known(linearised.WORLD_VELOCITY)

    @property
    def R_world_imu(self) -> np.ndarray | None:
        """(3, 3)."""
        return self.R if self.given[linearised.ROTATION] else None

    @property
    def rotation_covariance(self) -> np.ndarray | None:
        """(3, 3) [rad^2] about the world axes."""
        return self.said[linearised.ROTATION, 1:] if self.given[linearised.ROTATION] else None


@dataclass(frozen=True, slots=True)
class Speed:
    """Forward speed by the wheels."""

    stamp: float  # [s]
    speed: float  # [m/s]
    variance: float  # [m^2/s^2]; 0: that of the constants


@dataclass(frozen=True, slots=True)
class Rows:
    """N linearised values of one kind, decorrelated: innovation = H error + noise of variance 1."""

    H: np.ndarray  # (N, 21)
    innovation: np.ndarray  # (N,)
    part: slice  # of the error that takes what is left unexplained
    unexplained: np.ndarray  # (3,) innovation in the units and axes of that part


@njit(cache=True)
def fuse(R, v, p, gyro_bias, accel_bias, C, lever, P, H, innovation, gate):  # type: ignore[no-untyped-def]
    """N measurements of variance 1 at once, unless they are too unlikely together.

    Args:
        R, v, p, gyro_bias, accel_bias, C, lever, P: state and covariance; changed.
        H: (N, 21).
        innovation: (N,).
        gate: above which nothing is changed.

    Returns:
        Normalised innovation squared, N degrees of freedom.
    """
    trial = P.copy()
    dx = np.zeros(SIZE)
    total = 0.0
    for n in range(innovation.shape[0]):
        left = innovation[n]
        for j in range(SIZE):
            left -= H[n, j] * dx[j]
        total += left * left / gather(trial, H[n], innovation[n], 1.0, dx)
    if total <= gate:
        P[:] = trial
        retract(R, v, p, gyro_bias, accel_bias, C, lever, dx)
    return total


@njit(cache=True)
def fuse_aid(  # type: ignore[no-untyped-def]
    R, v, p, gyro_bias, accel_bias, C, lever, P,
    gyro, arm, ahead, delay,
    given, said, measured, gate, unexplained,
):  # fmt: skip
    """All that an `Aid` says, kind by kind; the state is spoilt where one is too unlikely.

    Args:
        R, v, p, gyro_bias, accel_bias, C, lever, P: state and covariance; changed.
        gyro, arm, ahead, delay: see `predict`.
        given: (4,) bool, the kinds it says.
        said: (4, 4, 3) of each its value and, below, its covariance; that of a rotation is changed.
        measured: (3, 3) its rotation.
        gate: see `fuse`.
        unexplained: (3,) receives the worst difference, see `compare`.

    Returns:
        Normalised innovation squared of that one, 3 degrees of freedom; NaN where the state or one of them is none.
    """
    turned, at, moves = np.empty((3, 3)), np.empty(3), np.empty(3)
    H, innovation, left = np.empty((3, SIZE)), np.empty(3), np.empty(3)
    worst = -1.0
    for kind in range(len(given)):
        if not given[kind]:
            continue
        predict(R, v, p, gyro_bias, gyro, arm, ahead, delay, turned, at, moves)
        if kind == linearised.ROTATION:
            between(measured, turned, said[kind, 0])
        compare(kind, turned, at, moves, said[kind, 0], said[kind, 1:], H, innovation, left)
        found = fuse(R, v, p, gyro_bias, accel_bias, C, lever, P, H, innovation, gate)
        if not found <= worst:
            worst = found
            unexplained[:] = left
        if math.isnan(worst):
            break
    return worst


def rows(measured: Aid | Speed, state: State, gyro: np.ndarray, c: Constants) -> Iterator[Rows]:
    """The measurement linearised about the state of a sample at its stamp or just before, kind by kind.

    Each kind about the state as it is then: the one before may have moved it.

    Args:
        measured: what was measured.
        state: of the filter.
        gyro: (3,) [rad/s] of that sample.
        c: of the filter.
    """
    if isinstance(measured, Speed):
        yield _speed(measured, state, gyro, c)
        return
    turned, at, moves = np.empty((3, 3)), np.empty(3), np.empty(3)
    moving = state.R, state.v, state.p, state.gyro_bias
    said = measured.said.copy()
    for kind in np.flatnonzero(measured.given).tolist():
        predict(*moving, gyro, measured.arm, measured.stamp - state.stamp, c.gyro_delay, turned, at, moves)
        if kind == linearised.ROTATION:
            between(measured.R, turned, said[kind, 0])
        H, innovation, unexplained = np.empty((3, SIZE)), np.empty(3), np.empty(3)
        compare(kind, turned, at, moves, said[kind, 0], said[kind, 1:], H, innovation, unexplained)
        yield Rows(H, innovation, _PARTS[kind], unexplained)


def _speed(measured: Speed, state: State, gyro: np.ndarray, c: Constants) -> Rows:
    out, jacobian = np.empty(4), np.empty((4, SIZE))
    vehicle_velocity(state.R, state.v, state.gyro_bias, state.C, state.lever, gyro, jacobian, out)
    std = math.sqrt(measured.variance or c.wheel_speed)
    innovation = c.speed_scale * measured.speed - out[0]
    forward = state.R @ state.C[:, 0]
    return Rows(jacobian[:1] / std, np.array([innovation / std]), VELOCITY, forward * innovation)


def take(
    measured: Aid | Speed, state: State, gyro: np.ndarray, c: Constants, trusted: bool = False
) -> tuple[float, np.ndarray]:
    """A measurement into a state, which is spoilt where it was too unlikely.

    Args:
        measured: what was measured.
        state: of the filter, of the last sample up to its stamp; changed.
        gyro: (3,) [rad/s] of that sample.
        c: of the filter.
        trusted: whether it is believed whatever it says: the covariance then grows first by what it cannot explain.

    Returns:
        Ratio of the worst innovation to its gate, above 1 where it was too unlikely, and what that one leaves
        unexplained (3,).
    """
    if trusted:
        for each in rows(measured, state, gyro, c):
            more = np.zeros(SIZE)
            more[each.part] = each.unexplained
            if each.part == ROTATION:  # it turns where it is, see `first_state`
                more[POSITION] = np.cross(state.p, each.unexplained)
            state.P += np.outer(more, more)
    *filtered, _ = state.arrays()
    gate = GATES[1 if isinstance(measured, Speed) else 3]
    limit = math.inf if trusted else gate
    if isinstance(measured, Speed):
        row = _speed(measured, state, gyro, c)
        return fuse(*(*filtered, row.H, row.innovation, limit)) / gate, row.unexplained
    unexplained = np.empty(3)
    moving = gyro, measured.arm, measured.stamp - state.stamp, c.gyro_delay
    says = measured.given, measured.said, measured.R
    found = fuse_aid(*(*filtered, *moving, *says, limit, unexplained))
    return found / gate, unexplained


def place(
    state: State,
    rotation: np.ndarray | None = None,
    position: np.ndarray | None = None,
    velocity: np.ndarray | None = None,
) -> None:
    """Say how well the pose of a state is known, about the world axes; biases, mount and lever arm stay.

    Args:
        state: its rotation, position and velocity are set already.
        rotation: (3, 3) [rad^2] covariance; None, like the others: as before.
        position: (3, 3) [m^2].
        velocity: (3, 3) [m^2/s^2]; None: as before along the body, with whose heading it turns.
    """
    motion = np.r_[ROTATION, VELOCITY, POSITION]
    turned = np.eye(9)
    turned[6:9, :3] = skew(state.p)
    if velocity is not None:
        turned[3:6, :3] = skew(state.v)
    back = np.linalg.inv(turned)
    world = back @ state.P[np.ix_(motion, motion)] @ back.T
    blocks = [world[i : i + 3, i : i + 3] for i in (0, 3, 6)]
    given = (rotation, velocity, position)
    world = np.zeros((9, 9))
    for n, (old, new) in enumerate(zip(blocks, given, strict=True)):
        world[3 * n : 3 * n + 3, 3 * n : 3 * n + 3] = old if new is None else new
    kept = np.r_[GYRO_BIAS, ACCEL_BIAS, MOUNT, LEVER]
    state.P[np.ix_(motion, motion)] = turned @ world @ turned.T
    state.P[np.ix_(motion, kept)] = 0.0
    state.P[np.ix_(kept, motion)] = 0.0

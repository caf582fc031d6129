"""The start: where the vehicle is, how it stands and how fast it goes, put together from what there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.estimator import DeadReckoning, State
from nn_estimation.dead_reckoning.filter import GRAVITY, POSITION, VELOCITY
from nn_estimation.dead_reckoning.measurements import Aid, Known, place
from nn_estimation.imu_stream import UnusableError

LEVEL_WATCH = 0.5  # [s] time constant of the mean acceleration that says where up is
LEVEL_ERROR = 0.03  # [rad] of it, in a vehicle that may be accelerating by .3 m/s^2
STANDING = 0.3  # [m/s] of a fix's velocity up to which it stands: the noise of a receiver
CARRIED = 15.0  # [s] that the level of then is carried on: a gyro off by .1 deg/s turns it by .026 rad
LIVELY = 2.0  # [m/s^2] that a vehicle may accelerate by where nothing says how much
MOVING = 2.0  # [m/s] from which on the course of a vehicle is its heading
COURSE_ERROR = 0.05  # [rad] between the two: slip, and how the IMU is mounted
BASELINE = 5.0  # [m] between two fixes that say the course where nothing else does
TOGETHER = 0.5  # [s] between a fix and its velocity
LATE = 1.0  # [s] that a pose is carried on for at most
WAITED = 5.0  # [s] between two fixes that say the course
A_START = "a start: set_pose, aiding, or the parameter start"


@dataclass(slots=True)
class _Level:
    """Where up is, by the accelerometer of a vehicle that stands or may stand."""

    stamp: float  # [s]
    up: np.ndarray  # (3,) IMU frame of now; its length says nothing


@dataclass(frozen=True, slots=True)
class Start:
    """A pose by parameters: level, at a place, heading and speed."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m], world
    heading: float = 0.0  # [rad] of the x axis from east, counter-clockwise
    speed: float = 0.0  # [m/s] along the x axis


class Starter:
    """Gathers a start for an estimator that has none.

    Args:
        estimator: to be started.
        given: a start that holds wherever the vehicle is; None: wait for a pose.
    """

    def __init__(self, estimator: DeadReckoning, given: Start | None = None) -> None:
        self.estimator = estimator
        self._parameters = given
        self.reset()

    def reset(self) -> None:
        """Forget all that was gathered; a start by parameters holds again."""
        self._given = self._parameters
        self._up = np.zeros(3)  # along the mean acceleration; its length says nothing
        self._age = 0.0
        self._stamp = -math.inf  # [s] of the newest sample
        self._gyro = np.zeros(3)
        self._forget()
        self.waits_for = A_START

    def _forget(self) -> None:
        """Nothing is gathered but what the samples say."""
        self._pending: Aid | None = None
        self._velocity: tuple[float, Known] | None = None
        self._acceleration: np.ndarray | None = None  # (2,) [m/s^2] east, north, mean as of the samples'
        self._first_fix: Aid | None = None
        self._noted: _Level | None = None  # it seemed to stand
        self._stood: _Level | None = None  # and still did later: it was not about to pull away

    def update(self, stamp: float, gyro: np.ndarray, accel: np.ndarray, dt: float) -> bool:
        """Take in a sample; True where it gives the start."""
        share = min(dt / LEVEL_WATCH, 1.0)
        self._up += share * (accel - self._up) if self._age else accel
        self._age += dt
        passed = stamp - self._stamp
        self._stamp, self._gyro = stamp, gyro
        if self.estimator.state is not None:
            return False
        self._turn_levels(gyro, passed)
        if self._pending is not None:
            return self._begin(stamp, self._pending)
        if self._given is not None and self._level:
            g = self._given
            R = Rotation.from_euler("z", g.heading) * self._levelled(self._up)
            self._start(
                stamp, np.array(g.position), R, R.apply([g.speed, 0.0, 0.0]), LEVEL_ERROR**2 * np.eye(3)
            )
            return True
        return False

    def pose(self, aid: Aid) -> None:
        """A pose that somebody sets; a running estimate keeps its speed along the body. A stamp of zero is now.

        Raises:
            UnusableError: it runs, and its newest sample is of another time.
        """
        if self.estimator.state is None:
            self._pending = aid
        else:
            self._jump(self.estimator.state, aid)

    def aid(self, aid: Aid) -> None:
        """What a source of aiding says, while there is no start."""
        if aid.position is None:
            if aid.world_velocity is not None:
                self._moves(aid.stamp, aid.world_velocity)
            return
        if aid.R_world_imu is not None:
            self._pending = aid
        elif (complete := self._with_course(aid)) is not None:
            self._pending = complete

    @property
    def _level(self) -> bool:
        return self._age >= LEVEL_WATCH

    def _moves(self, stamp: float, velocity: Known) -> None:
        """Take in the velocity of a fix."""
        if self._velocity is not None and 0.0 < (passed := stamp - self._velocity[0]) < WAITED:
            change = (velocity.value[:2] - self._velocity[1].value[:2]) / passed
            if self._acceleration is None:
                self._acceleration = change
            else:
                self._acceleration += min(passed / LEVEL_WATCH, 1.0) * (change - self._acceleration)
        self._velocity = stamp, velocity
        if np.linalg.norm(velocity.value[:2]) < STANDING:
            self._stands(stamp)
        else:
            self._noted = None

    def _stands(self, stamp: float) -> None:
        """A measurement of a stamp says that it stands, and so do the samples up to the one before."""
        if self._noted is not None and self._noted.stamp > stamp:
            return
        if self._noted is not None:
            self._stood = self._noted
        self._noted = _Level(self._stamp, self._up.copy()) if self._level else None

    def _from_here(self, fix: Aid) -> None:
        """The course is looked for from another fix on; it stands where that is not far from the one before."""
        before, self._first_fix = self._first_fix, fix
        if before is not None:
            assert fix.position is not None and before.position is not None
            if np.linalg.norm(fix.position.value - before.position.value) >= BASELINE:
                self._noted = None
        self._stands(fix.stamp)

    def _turn_levels(self, gyro: np.ndarray, passed: float) -> None:
        """Over a sample; not across a gap, and not for long."""
        if passed > self.estimator.constants.longest_step:
            self._noted = self._stood = None
        if self._stood is not None and self._stamp - self._stood.stamp > CARRIED:
            self._stood = None
        for level in (self._noted, self._stood):
            if level is not None:
                level.up = Rotation.from_rotvec(-passed * gyro).apply(level.up)

    def _levelled(self, up: np.ndarray) -> Rotation:
        """Roll and pitch by what is up in the IMU frame (3,), heading east."""
        x, y, z = up.tolist()
        return Rotation.from_euler("ZYX", [0.0, math.atan2(-x, math.hypot(y, z)), math.atan2(y, z)])

    def _with_course(self, fix: Aid) -> Aid | None:
        """A fix with the heading that its course gives; None while it stands or nothing says its velocity."""
        if not self._level or fix.position is None:
            self.waits_for = "half a second of IMU samples"
            return None
        velocity = None
        if self._velocity is not None and abs(fix.stamp - self._velocity[0]) < TOGETHER:
            velocity = self._velocity[1]
        elif (first := self._first_fix) is not None and 0.0 < fix.stamp - first.stamp < WAITED:
            assert first.position is not None
            moved = fix.position.value - first.position.value
            passed = fix.stamp - first.stamp
            if np.linalg.norm(moved) >= BASELINE:
                both = (fix.position.covariance + first.position.covariance) / passed**2
                velocity = Known(moved / passed, both + np.eye(3))
        else:
            self._from_here(fix)
        if velocity is None or np.linalg.norm(velocity.value[:2]) < MOVING:
            self.waits_for = f"motion above {MOVING:g} m/s, whose course gives the heading; or set_pose"
            return None
        up, pushed = self._up, LIVELY
        if self._stood is not None:
            up, pushed = self._stood.up, 0.0
        elif self._acceleration is not None:
            pushed = float(np.linalg.norm(self._acceleration))
        R = Rotation.from_euler("z", math.atan2(velocity.value[1], velocity.value[0])) * self._levelled(up)
        speed = float(np.linalg.norm(velocity.value[:2]))
        across = float(velocity.covariance[:2, :2].trace()) / speed**2
        tilt = LEVEL_ERROR**2 + (pushed / GRAVITY) ** 2
        unsure = np.diag([tilt, tilt, COURSE_ERROR**2 + across])
        return Aid(fix.stamp, fix.position, R.as_matrix(), unsure, world_velocity=velocity, arm=fix.arm)

    def _begin(self, stamp: float, aid: Aid) -> bool:
        """Start at a sample with a pose that is not newer than it."""
        late = _late(aid, stamp)
        if late < 0.0:
            self.waits_for = f"a sample of the time of its pose, which is stamped {-late:.1f} s ahead"
            return False
        assert aid.R_world_imu is not None and aid.position is not None
        R = Rotation.from_matrix(aid.R_world_imu)
        velocity, velocity_covariance = np.zeros(3), None
        if aid.velocity is not None:
            velocity = R.apply(aid.velocity.value)
            velocity_covariance = R.as_matrix() @ aid.velocity.covariance @ R.as_matrix().T
        elif aid.world_velocity is not None:
            velocity, velocity_covariance = aid.world_velocity.value, aid.world_velocity.covariance
        passed = min(late, LATE)
        position = aid.position.value - R.apply(aid.arm) + passed * velocity
        R = R * Rotation.from_rotvec(passed * self._gyro)
        if aid.stated:
            self._start(
                stamp,
                position,
                R,
                velocity,
                aid.rotation_covariance,
                aid.position.covariance,
                velocity_covariance,
            )
        else:
            self._start(stamp, position, R, velocity)
        return True

    def _start(
        self, stamp: float, position: np.ndarray, R: Rotation, velocity: np.ndarray, *known: np.ndarray | None
    ) -> None:
        self.estimator.start(stamp, position, R.as_matrix(), velocity, self._gyro)
        state = self.estimator.state
        assert state is not None
        place(state, *known)
        self._given = None
        self._forget()
        self.waits_for = A_START

    def _jump(self, state: State, aid: Aid) -> None:
        """A running state to another pose, carried on to it."""
        assert aid.R_world_imu is not None and aid.position is not None
        late = _late(aid, state.stamp)
        if abs(late) > LATE:
            raise UnusableError(f"more than {LATE:g} s from the newest sample")
        omega = self._gyro - state.gyro_bias
        delayed = Rotation.from_rotvec(-omega * self.estimator.constants.gyro_delay)
        half = Rotation.from_rotvec(0.5 * late * omega)
        before = Rotation.from_matrix(aid.R_world_imu)
        now = before * half * half
        body = (Rotation.from_matrix(state.R) * delayed.inv()).inv().apply(state.v)
        turned = (now * delayed).as_matrix() @ state.R.T
        state.P[VELOCITY, VELOCITY] = turned @ state.P[VELOCITY, VELOCITY] @ turned.T
        state.R[:] = (now * delayed).as_matrix()
        state.v[:], state.p[:] = now.apply(body), aid.position.value - before.apply(aid.arm)
        place(state, aid.rotation_covariance, aid.position.covariance)
        state.p += late * (before * half).apply(body)
        state.P[POSITION] += late * state.P[VELOCITY]
        state.P[:, POSITION] += late * state.P[:, VELOCITY]


def _late(aid: Aid, stamp: float) -> float:
    """[s] from a pose to a stamp; 0 where it has no stamp of its own."""
    return stamp - aid.stamp if aid.stamp else 0.0

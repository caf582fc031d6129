"""From the CDR bytes of topics to samples and measurements to estimates: the one path of the node and the replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nn_estimation import cdr
from nn_estimation.dead_reckoning import sources
from nn_estimation.dead_reckoning.aiding import Aided
from nn_estimation.dead_reckoning.checks import SignalChecks
from nn_estimation.dead_reckoning.estimator import GIVE_UP, DeadReckoning, Estimate, earth_rate
from nn_estimation.dead_reckoning.measurements import Aid, Speed
from nn_estimation.dead_reckoning.model import Setup
from nn_estimation.dead_reckoning.starting import Start, Starter
from nn_estimation.geodesy import LocalFrame
from nn_estimation.imu_checks import beyond
from nn_estimation.imu_stream import INVALID_SAMPLE, ImuStream
from nn_estimation.recorded import IMU_TOPIC

SET_POSE_TOPIC, ODOMETRY_TOPIC = "set_pose", "odometry"
FIX_TOPIC, FIX_VELOCITY_TOPIC, WHEEL_TOPIC = "fix", "fix_velocity", "wheel/twist"
AIDING = ("none", "odometry", "fix")
OTHER_RATE = 1.5  # times the rate a network was trained at, from which on it is off


@dataclass(frozen=True, slots=True)
class StreamParams:
    """What the stream listens to and how the IMU sits."""

    aiding: str = "none"  # one of AIDING
    wheel_speed: bool = False
    start: Start | None = None  # by parameters; None: wait for a pose
    latitude: float | None = None  # [rad]; None: that of the first fix, else the Earth's rate is left in
    publish_rate: float = 0.0  # [Hz]; 0: every sample
    mounting: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [rad] roll, pitch, yaw of the IMU in the vehicle
    antenna: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m] from the IMU, vehicle axes
    rejoin_after: float = 5.0  # [s] after which a source that insists is believed again


class DeadReckoningStream(ImuStream[Estimate]):
    """Feeds an estimator from topics.

    Args:
        setup: constants and network.
        params: of the stream.
        clock: see `ImuStream`.

    Attributes:
        stamp_ns: of the newest sample that was used.
    """

    def __init__(
        self, setup: Setup, params: StreamParams = StreamParams(), clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(clock, params.mounting, params.publish_rate)
        self.params, self.setup = params, setup
        self.estimator = DeadReckoning(
            setup.constants, params.latitude if setup.earth else None, setup.network
        )
        self.aided = Aided(self.estimator, params.rejoin_after)
        self.starter = Starter(self.estimator, params.start)
        self.checks = SignalChecks()
        self._antenna = np.array(params.antenna)
        self._frame: LocalFrame | None = None
        self._rated, self._other_rate = 0.0, False
        self.stamp_ns = 0
        self._listen(IMU_TOPIC, cdr.IMU, self._imu)
        self._listen(SET_POSE_TOPIC, cdr.POSE_COVARIANCE, self._set_pose)
        if params.aiding == "odometry":
            self._listen(ODOMETRY_TOPIC, cdr.ODOMETRY, self._odometry)
        if params.aiding == "fix":
            self._listen(FIX_TOPIC, cdr.FIX, self._fix)
            self._listen(FIX_VELOCITY_TOPIC, cdr.TWIST_COVARIANCE, self._fix_velocity)
        if params.wheel_speed:
            self._listen(WHEEL_TOPIC, cdr.TWIST_COVARIANCE, self._wheels)
        for topic in self.topics:
            if topic not in (IMU_TOPIC, SET_POSE_TOPIC):
                self.aided.source(topic)

    @property
    def other_rate(self) -> bool:
        """Whether the network is off because the IMU runs at another rate than in its training."""
        return self._other_rate

    @property
    def waits_for(self) -> str:
        """What there is no start without."""
        sampled = math.isfinite(self._last)  # means of no samples are no finding
        return (self.checks.suspicion if sampled else "") or self.starter.waits_for

    def reset(self) -> None:
        """See `ImuStream`."""
        super().reset()
        self.estimator.reset()
        self.estimator.use(self.setup.constants, self.setup.network)  # which another rate may have turned off
        self.starter.reset()
        self.aided.forget()
        self.checks.reset()
        self._frame = None
        self._rated, self._other_rate = 0.0, False

    def use(self, setup: Setup) -> None:
        """Change to another method under way."""
        self.setup, self._other_rate = setup, False
        self.estimator.use(setup.constants, setup.network)

    def think(self) -> None:
        """See `ImuStream`."""
        self.estimator.think()

    def _imu(self, data: bytes) -> Estimate | None:
        message = cdr.decode_imu(data)
        self._heard()
        if not self._stamped(message.stamp_ns):
            return None
        stamp, gyro, accel = message.stamp_ns * 1e-9, message.gyro, message.accel
        if beyond(gyro, accel):
            self._refuse(INVALID_SAMPLE)
            return None
        dt = self._since_last(stamp)
        if dt is None:
            return None
        self.stamp_ns = message.stamp_ns
        if self._mounting is not None:
            gyro, accel = self._mounting @ gyro, self._mounting @ accel
        if dt > GIVE_UP:
            self.checks.reset()
            dt = 0.0
        return self._sample(stamp, gyro, accel, dt)

    def _sample(self, stamp: float, gyro: np.ndarray, accel: np.ndarray, dt: float) -> Estimate | None:
        if not self.checks.update(gyro, accel, dt):
            return None
        if self.checks.fault:
            if self.estimator.state is not None:
                self.estimator.reset()
                self.aided.forget()
            return None
        if self.estimator.state is None and self.checks.suspicion:
            return None
        estimate = self.aided.update(stamp, gyro, accel)
        if estimate is not None:
            self.checks.judge(self.estimator.nis, dt)
        if self.starter.update(stamp, gyro, accel, dt):
            self.aided.forget()
            if self.params.aiding != "none":
                self.aided.source(self.params.aiding).last = stamp
            estimate = self.estimator.estimate()
        self._watch_rate(dt)
        return estimate if estimate is not None and self._pace.due(estimate.stamp, dt) else None

    def _watch_rate(self, dt: float) -> None:
        network = self.setup.network
        self._rated += dt
        if network is None or network.rate is None or self._rated < 1.0:
            return
        self._rated = 0.0
        ratio = self.checks.rate / network.rate
        other = math.isfinite(ratio) and not 1.0 / OTHER_RATE < ratio < OTHER_RATE
        if other != self._other_rate:
            self._other_rate = other
            self.estimator.use(self.setup.constants, None if other else network)

    def _set_pose(self, data: bytes) -> None:
        message = cdr.decode_pose_covariance(data)
        if message.stamp_ns and not self._stamped(message.stamp_ns):
            return
        aid = sources.of_pose(message)
        if aid.position is None or aid.R_world_imu is None:
            raise sources.SourceError("unknown pose")
        self.starter.pose(aid)
        self.aided.forget()

    def _odometry(self, data: bytes) -> None:
        message = cdr.decode_odometry(data)
        if self._stamped(message.stamp_ns):
            self._aid(ODOMETRY_TOPIC, sources.of_odometry(message))

    def _fix(self, data: bytes) -> None:
        message = cdr.decode_fix(data)
        if not self._stamped(message.stamp_ns):
            return
        if self._frame is None:
            self._set_frame(message)
        assert self._frame is not None
        self._aid(FIX_TOPIC, sources.of_fix(message, self._frame, self._antenna))

    def _set_frame(self, message: cdr.FixMessage) -> None:
        """The first fix is the origin, and says the latitude."""
        sources.of_fix(message, LocalFrame(0.0, 0.0, 0.0), self._antenna)  # raises where it is none
        latitude, longitude = (float(angle) for angle in np.radians(message.place[:2]))
        self._frame = LocalFrame(latitude, longitude, float(message.place[2]))
        if self.params.latitude is None and self.setup.earth:
            self.estimator.earth = earth_rate(latitude)

    def _fix_velocity(self, data: bytes) -> None:
        message = cdr.decode_twist_covariance(data)
        if self._stamped(message.stamp_ns):
            self._aid(FIX_VELOCITY_TOPIC, sources.of_velocity(message, self._antenna))

    def _aid(self, topic: str, aid: Aid) -> None:
        if self.estimator.state is None:
            self.starter.aid(aid)
        else:
            self.aided.measure(topic, aid)

    def _wheels(self, data: bytes) -> None:
        message = cdr.decode_twist_covariance(data)
        if self._stamped(message.stamp_ns) and self.estimator.state is not None:
            speed: Speed = sources.of_wheels(message)
            self.aided.measure(WHEEL_TOPIC, speed)

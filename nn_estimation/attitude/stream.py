"""From the CDR bytes of topics to samples and fields to attitudes: the one path of the node and the replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from nn_estimation import cdr
from nn_estimation.attitude.checks import FieldChecks, SignalChecks, take
from nn_estimation.attitude.estimator import GIVE_UP, Attitude, AttitudeEstimator
from nn_estimation.attitude.frames import World
from nn_estimation.attitude.kernel import update
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.state import GYRO_BIAS
from nn_estimation.attitude.trial import MAG_TOPIC
from nn_estimation.imu_checks import FASTEST, beyond
from nn_estimation.imu_checks import GAP as WATCHED_GAP
from nn_estimation.imu_stream import INVALID_SAMPLE, ImuStream
from nn_estimation.messages import ACCEL, GYRO, ImuMessage
from nn_estimation.pace import Pace
from nn_estimation.recorded import IMU_TOPIC

NO_ACCELERATION, GAP = "zero acceleration", "long gap"
INVALID_FIELD, LATE_FIELD, FAR_FIELD = (
    "invalid field",
    "field repeated or backward",
    "field far from the samples",
)
REASONS = (NO_ACCELERATION, GAP, INVALID_FIELD, LATE_FIELD, FAR_FIELD)
UNUSUAL = -1  # beside what kernel.update says
_PROBLEMS = "", INVALID_SAMPLE, NO_ACCELERATION
FAR = 1.0  # [s] between a field and the newest sample: a clock of its own
BIAS_RATE = 10.0  # [Hz] at most at which the gyro's bias, which is slow, is published
ZERO = np.zeros(3)
SMALLEST, LARGEST = 1e-12, 1e6  # of what can be a field in any unit; the first of a force too


@dataclass(frozen=True, slots=True)
class StreamParams:
    """What the stream listens to, how the IMU sits, and the world of what comes out."""

    world_frame: str = "enu"  # one of frames.FROM_ENU
    declination: float = 0.0  # [rad] of magnetic north from true north, positive to the east
    mounting: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [rad] roll, pitch, yaw of the IMU in the body
    use_mag: bool = True
    publish_rate: float = 0.0  # [Hz]; 0: every sample


class AttitudeStream(ImuStream[Attitude]):
    """Feeds an estimator from topics.

    Args:
        setup: constants and network.
        params: of the stream.
        clock: see `ImuStream`.

    Attributes:
        imu: with the newest attitude that was due, as REP-145 has it. The angular velocity is without bias, scale and
            cross-axis errors; it, the specific force and their covariances are along the axes of the body, the
            covariance of the orientation is about those of the world.
        bias_due: whether the gyro's bias is to be published with the newest attitude that was due.
    """

    def __init__(
        self, setup: Setup, params: StreamParams = StreamParams(), clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(clock, params.mounting, params.publish_rate, REASONS)
        self.params, self.setup = params, setup
        self.estimator = AttitudeEstimator(setup)
        self.checks = SignalChecks()
        self.fields = FieldChecks(self.checks)
        self._saturated = 0, 0  # at the last call but one, at the last
        self._bias_pace, self.bias_due = Pace(BIAS_RATE), False
        self._world = World(params.world_frame, params.declination)
        self._listen(IMU_TOPIC, cdr.IMU, self._imu)
        if params.use_mag:
            self._listen(MAG_TOPIC, cdr.MAG, self._mag)
        self.imu: ImuMessage | None = None
        self._attitude: Attitude | None = None

    @property
    def field_age(self) -> float:
        """[s] from the last field to the last sample, by their stamps; NaN before the first of either."""
        return self._last - self.fields.last if math.isfinite(self._last) else math.nan

    @property
    def attitude(self) -> Attitude | None:
        """The newest one, published or not."""
        return self._attitude

    def reset(self) -> None:
        """See `ImuStream`."""
        super().reset()
        self.estimator.reset()
        self.checks.reset()
        self.fields.reset()
        self._bias_pace.reset()
        self._attitude = None

    def use(self, setup: Setup) -> None:
        """Change to another method under way."""
        self.setup = setup
        self.estimator.use(setup)

    def think(self) -> None:
        """See `ImuStream`."""
        self.estimator.think()

    def take_saturated(self) -> int:
        """Number of samples at the limit of the sensor since the last call but one."""
        before, self._saturated = self._saturated[0], (self._saturated[1], self.checks.watch.saturated)
        return self._saturated[1] - before

    def _imu(self, data: bytes) -> Attitude | None:
        message = cdr.decode_imu(data)
        self._heard()
        if self._mounting is not None:
            message = _mounted(message, self._mounting)
        stamp = message.stamp_ns * 1e-9
        if self._attitude is None:
            return self._unusual(message, stamp)
        checks, estimator, setup = self.checks, self.estimator, self.setup
        estimator.think()
        ended = _usual(
            checks.memory,
            estimator.state.packed,
            setup.packed,
            setup.filtered,
            message.values,
            stamp,
            self._last,
        )
        if ended == UNUSUAL:
            return self._unusual(message, stamp)
        dt, self._last = stamp - self._last, stamp
        checks.look()
        if checks.fault:
            self._suspend()
            return None
        return self._made(estimator.made(ended, stamp), message, stamp, dt)

    def _unusual(self, message: ImuMessage, stamp: float) -> Attitude | None:
        """`_imu` of any sample, whatever is wrong with it or the stream; what is right comes out the same."""
        if not self._stamped(message.stamp_ns):
            return None
        gyro, accel = message.gyro, message.accel
        problem = _problem(gyro, accel)
        if problem:
            self._refuse(_PROBLEMS[problem])
            self._watch_refused(stamp, gyro, accel)
            return None
        dt = self._since_last(stamp)
        if dt is None:
            return None
        if self.fields.last > stamp + FAR:
            self._drop_far_fields(stamp)
        if GIVE_UP < dt < math.inf:
            self.reset()
            self._refuse(GAP)
            self._last = stamp
        dt = dt if dt <= GIVE_UP else 0.0
        checks = self.checks
        checks.update(gyro, accel, dt)
        if checks.fault or (self._attitude is None and checks.suspicion):
            self._suspend()
            return None
        found = self.estimator.update(stamp, gyro, accel)
        return None if found is None else self._made(found, message, stamp, dt)

    def _watch_refused(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> None:
        """Let a sample count for the units alone: a gyro in deg/s says more than any measures where it turns fast."""
        turn, dt = _size(gyro), stamp - self._last
        if FASTEST <= turn < math.inf and not beyond(ZERO, accel) and 0.0 < dt <= WATCHED_GAP:
            self._last = stamp
            self.checks.watch.update(gyro * (FASTEST / turn), accel, dt)
            self.checks.look()
            if self.checks.fault:
                self._suspend()

    def _drop_far_fields(self, stamp: float) -> None:
        """Leave out fields that waited for the first sample, of `stamp` [s], and turn out to be far from it."""
        self.fields.reset()
        for _ in range(self.estimator.drop_fields(stamp + FAR)):
            self._refuse(FAR_FIELD)

    def _suspend(self) -> None:
        """No attitude while the samples are of no use."""
        if self._attitude is not None:
            self.estimator.reset()
        self._attitude = None

    def _made(self, attitude: Attitude, message: ImuMessage, stamp: float, dt: float) -> Attitude | None:
        self._attitude = attitude
        if not self._pace.due(stamp, dt):
            return None
        self.bias_due = self._bias_pace.due(stamp, dt)
        turned = self._world.turn(attitude)
        message.values[:GYRO_BIAS] = turned.values[:GYRO_BIAS]  # both begin alike
        self.imu = message
        return turned

    def _mag(self, data: bytes) -> None:
        message = cdr.decode_mag(data)
        stamp, field = message.stamp_ns * 1e-9, message.field
        if not self._stamped(message.stamp_ns):
            return
        if not SMALLEST < _size(field) < LARGEST:
            self._refuse(INVALID_FIELD)
        elif abs(stamp - self._last) > FAR and math.isfinite(self._last):
            self._refuse(FAR_FIELD)
        elif stamp <= self.fields.last:
            self._refuse(LATE_FIELD)
        else:
            if self._mounting is not None:
                field = self._mounting @ field
            self.fields.update(stamp, field)
            self.estimator.magnetic(stamp, field)


@njit(cache=True)
def _usual(memory, states, constants, filtered, values, stamp, last):  # type: ignore[no-untyped-def]
    """Checks and estimator at a sample with which nothing is wrong.

    Args:
        memory: of the checks; changed.
        states: of the estimator; changed.
        constants: see `kernel.update`.
        filtered: see `kernel.update`.
        values: (37,) of the message.
        stamp: [s] of it.
        last: [s] of the sample before.

    Returns:
        What `kernel.update` says; UNUSUAL, and nothing is changed, where something may be wrong.
    """
    gyro, accel, dt = values[GYRO : GYRO + 3], values[ACCEL : ACCEL + 3], stamp - last
    if _problem(gyro, accel) or not 0.0 < dt <= GIVE_UP or states[0].stamp != last:
        return UNUSUAL
    take(memory, gyro, accel, dt)
    return update(states, constants, filtered, stamp, gyro, accel)


@njit(cache=True)
def _problem(gyro, accel):  # type: ignore[no-untyped-def]
    """Index into _PROBLEMS of a sample, (3,) and (3,)."""
    if beyond(gyro, accel):
        return 1
    return 2 if _size(accel) < SMALLEST else 0


@njit(cache=True)
def _size(vector):  # type: ignore[no-untyped-def]
    """Length of a vector (3,); NaN or infinite where it is no number."""
    return math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])


def _mounted(message: ImuMessage, R: np.ndarray) -> ImuMessage:
    """The message of an IMU along the axes of the body; R (3, 3) turns those of the IMU into them."""
    mounted = message._replace(values=message.values.copy())
    mounted.gyro[:], mounted.accel[:] = R @ message.gyro, R @ message.accel
    for covariance in (mounted.gyro_covariance, mounted.accel_covariance):
        if covariance[0] >= 0.0:  # -1 says that there is none
            covariance[:] = (R @ covariance.reshape(3, 3) @ R.T).ravel()
    return mounted

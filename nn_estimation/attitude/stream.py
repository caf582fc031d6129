"""From the CDR bytes of topics to samples and fields to attitudes: the one path of the node and the replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from nn_estimation import cdr
from nn_estimation.attitude.checks import FieldChecks, SignalChecks
from nn_estimation.attitude.estimator import GIVE_UP, Attitude, AttitudeEstimator
from nn_estimation.attitude.frames import World
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.trial import MAG_TOPIC
from nn_estimation.imu_stream import INVALID_SAMPLE, ImuStream
from nn_estimation.messages import ImuMessage
from nn_estimation.pace import Pace
from nn_estimation.recorded import IMU_TOPIC

NO_ACCELERATION, GAP = "zero acceleration", "long gap"
INVALID_FIELD, LATE_FIELD, FAR_FIELD = (
    "invalid field",
    "field repeated or backward",
    "field far from the samples",
)
REASONS = (NO_ACCELERATION, GAP, INVALID_FIELD, LATE_FIELD, FAR_FIELD)
_PROBLEMS = "", INVALID_SAMPLE, NO_ACCELERATION
FAR = 1.0  # [s] between a field and the newest sample: a clock of its own
BIAS_RATE = 10.0  # [Hz] at most at which the gyro's bias, which is slow, is published
SMALLEST, LARGEST = 1e-12, 1e6  # of what can be a sample or field in any unit; squares stay in range


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
        sample: the IMU message of the newest attitude, along the axes of the body.
        bias_due: whether the gyro's bias is to be published with the newest attitude that was due.
    """

    def __init__(
        self, setup: Setup, params: StreamParams = StreamParams(), clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(clock, params.mounting, params.publish_rate, REASONS)
        self.params, self.setup = params, setup
        self.estimator = AttitudeEstimator(setup)
        self.fields = FieldChecks()
        self.checks = SignalChecks(self.fields)
        self._saturated = 0
        self._bias_pace, self.bias_due = Pace(BIAS_RATE), False
        self._world = World(params.world_frame, params.declination)
        self._listen(IMU_TOPIC, cdr.IMU, self._imu)
        if params.use_mag:
            self._listen(MAG_TOPIC, cdr.MAG, self._mag)
        self.sample: ImuMessage | None = None
        self._attitude: Attitude | None = None

    @property
    def field_age(self) -> float:
        """[s] from the last field to the last sample, by their stamps; NaN before the first field."""
        return self._last - self.fields.last

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
        """Number of samples at the limit of the sensor since the last call."""
        before, self._saturated = self._saturated, self.checks.watch.saturated
        return self._saturated - before

    def _imu(self, data: bytes) -> Attitude | None:
        message = cdr.decode_imu(data)
        self._heard()
        if not self._stamped(message.stamp_ns):
            return None
        problem = _problem(message.gyro, message.accel)
        if problem:
            self._refuse(_PROBLEMS[problem])
            return None
        stamp = message.stamp_ns * 1e-9
        dt = self._since_last(stamp)
        if dt is None:
            return None
        if GIVE_UP < dt < math.inf:
            self.reset()
            self._refuse(GAP)
            self._last = stamp
        if self._mounting is not None:
            message = _mounted(message, self._mounting)
        return self._sample(message, stamp, dt if dt <= GIVE_UP else 0.0)

    def _sample(self, message: ImuMessage, stamp: float, dt: float) -> Attitude | None:
        gyro, accel = message.gyro, message.accel
        checks = self.checks
        checks.update(gyro, accel, dt)
        if checks.fault or (self._attitude is None and checks.suspicion):
            if self._attitude is not None:
                self.estimator.reset()
            self._attitude = None
            return None
        found = self.estimator.take(stamp, gyro, accel)
        if found is None:
            return None
        self._attitude, self.sample = found, message
        if not self._pace.due(stamp, dt):
            return None
        self.bias_due = self._bias_pace.due(stamp, dt)
        return self._world.turn(found)

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
def _problem(gyro, accel):  # type: ignore[no-untyped-def]
    """Index into _PROBLEMS of a sample, (3,) and (3,)."""
    pull = _size(accel)
    if not (_size(gyro) < LARGEST and pull < LARGEST):
        return 1
    return 2 if pull < SMALLEST else 0


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

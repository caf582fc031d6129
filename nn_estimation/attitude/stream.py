"""From the CDR bytes of topics to samples and fields to attitudes: the one path of the node and the replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.checks import FieldChecks, SignalChecks
from nn_estimation.attitude.estimator import GIVE_UP, Attitude, AttitudeEstimator
from nn_estimation.attitude.frames import World
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.trial import MAG_TOPIC
from nn_estimation.messages import ImuMessage
from nn_estimation.pace import Pace
from nn_estimation.recorded import IMU_TOPIC

MALFORMED, INVALID_STAMP, INVALID_SAMPLE, NO_ACCELERATION, LATE, JUMP, GAP = (
    "malformed message",
    "invalid stamp",
    "invalid sample",
    "zero acceleration",
    "repeated or backward",
    "jump back",
    "long gap",
)
INVALID_FIELD, LATE_FIELD, FAR_FIELD = (
    "invalid field",
    "field repeated or backward",
    "field far from the samples",
)
REASONS = (
    *(MALFORMED, INVALID_STAMP, INVALID_SAMPLE, NO_ACCELERATION, LATE, JUMP, GAP),
    *(INVALID_FIELD, LATE_FIELD, FAR_FIELD),
)
BACKWARD_JUMP = 1.0  # [s] from which on time has begun anew, as in a bag that loops
FAR = 1.0  # [s] between a field and the newest sample: a clock of its own
SMALLEST, LARGEST = 1e-12, 1e6  # of what can be a sample or field in any unit; squares stay in range


@dataclass(frozen=True, slots=True)
class StreamParams:
    """What the stream listens to, how the IMU sits, and the world of what comes out."""

    world_frame: str = "enu"  # one of frames.FROM_ENU
    declination: float = 0.0  # [rad] of magnetic north from true north, positive to the east
    mounting: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [rad] roll, pitch, yaw of the IMU in the body
    use_mag: bool = True
    publish_rate: float = 0.0  # [Hz]; 0: every sample


class AttitudeStream:
    """Feeds an estimator from topics.

    Args:
        setup: constants and network.
        params: of the stream.
        clock: [s] steady, when messages arrive; None where they do not come live.

    Attributes:
        topics: topic -> message type that `feed` understands.
        counts: messages that were not used, by reason.
        sample: the IMU message of the newest attitude, along the axes of the body.
    """

    def __init__(
        self, setup: Setup, params: StreamParams = StreamParams(), clock: Callable[[], float] | None = None
    ) -> None:
        self.params, self.setup = params, setup
        self._clock, self._arrived = clock, math.nan
        self.estimator = AttitudeEstimator(setup)
        self.checks, self.fields = SignalChecks(), FieldChecks()
        self.counts: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._recent: dict[str, int] = {}
        self._saturated = 0
        self._world = World(params.world_frame, params.declination)
        self._pace = Pace(params.publish_rate)
        self._mounting = (
            Rotation.from_euler("xyz", params.mounting).as_matrix() if any(params.mounting) else None
        )
        self._handlers: dict[str, tuple[str, Callable[[bytes], Attitude | None]]] = {
            IMU_TOPIC: (cdr.IMU, self._imu)
        }
        if params.use_mag:
            self._handlers[MAG_TOPIC] = cdr.MAG, self._mag
        self.topics = {topic: msgtype for topic, (msgtype, _) in self._handlers.items()}
        self.sample: ImuMessage | None = None
        self._forget()

    @property
    def silence(self) -> float:
        """[s] since the last sample by the clock; NaN before the first, and where there is no clock."""
        return math.nan if self._clock is None else self._clock() - self._arrived

    @property
    def field_age(self) -> float:
        """[s] from the last field to the last sample, by their stamps; NaN before the first field."""
        return self._last - self.fields.last

    @property
    def attitude(self) -> Attitude | None:
        """The newest one, published or not."""
        return self._attitude

    def reset(self) -> None:
        """Forget the attitude and all that is in flight; the counts stay."""
        self.estimator.reset()
        self.checks.reset()
        self.fields.reset()
        self._recent = {}
        self._forget()

    def use(self, setup: Setup) -> None:
        """Change to another method under way."""
        self.setup = setup
        self.estimator.use(setup)

    def feed(self, topic: str, data: bytes) -> Attitude | None:
        """Take in a message; whatever is wrong with it is counted, never raised.

        Returns:
            An attitude, where one is due.
        """
        try:
            return self._handlers[topic][1](data)
        except cdr.CdrError:
            self._refuse(MALFORMED)
        return None

    def take_recent(self) -> dict[str, int]:
        """What was not used since the last call, or the last reset, by reason."""
        recent, self._recent = self._recent, {}
        return recent

    def take_saturated(self) -> int:
        """Number of samples at the limit of the sensor since the last call."""
        before, self._saturated = self._saturated, self.checks.watch.saturated
        return self._saturated - before

    def _forget(self) -> None:
        self._last = -math.inf
        self._attitude: Attitude | None = None
        self._pace.reset()

    def _imu(self, data: bytes) -> Attitude | None:
        message = cdr.decode_imu(data)
        if self._clock is not None:
            self._arrived = self._clock()
        if not self._usable(message):
            return None
        stamp = message.stamp_ns * 1e-9
        dt = stamp - self._last
        if dt < -BACKWARD_JUMP:
            self.reset()
            self._refuse(JUMP)
        elif dt <= 0.0:
            self._refuse(LATE)
            return None
        elif GIVE_UP < dt < math.inf:
            self.reset()
            self._refuse(GAP)
        dt = 0.0 if math.isinf(self._last) else dt
        self._last = stamp
        if self._mounting is not None:
            message = _mounted(message, self._mounting)
        return self._sample(message, stamp, dt)

    def _usable(self, message: ImuMessage) -> bool:
        pull = _size(message.accel)
        if message.stamp_ns <= 0:
            self._refuse(INVALID_STAMP)
        elif not (_size(message.gyro) < LARGEST and pull < LARGEST):
            self._refuse(INVALID_SAMPLE)
        elif pull < SMALLEST:
            self._refuse(NO_ACCELERATION)
        else:
            return True
        return False

    def _sample(self, message: ImuMessage, stamp: float, dt: float) -> Attitude | None:
        self.checks.update(message.gyro, message.accel, dt)
        if self.params.use_mag:
            self.fields.turn(message.gyro, dt)
        if self.checks.fault or (self._attitude is None and self.checks.suspicion):
            if self._attitude is not None:
                self.estimator.reset()
            self._attitude = None
            return None
        found = self.estimator.update(stamp, message.gyro, message.accel)
        if found is None:
            return None
        self._attitude, self.sample = found, message
        return self._world.turn(found) if self._pace.due(stamp, dt) else None

    def _mag(self, data: bytes) -> None:
        message = cdr.decode_mag(data)
        stamp, field = message.stamp_ns * 1e-9, message.field
        if message.stamp_ns <= 0:
            self._refuse(INVALID_STAMP)
        elif not SMALLEST < _size(field) < LARGEST:
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

    def _refuse(self, reason: str) -> None:
        self.counts[reason] += 1
        self._recent[reason] = self._recent.get(reason, 0) + 1


def _size(vector: np.ndarray) -> float:
    """Length of a vector (3,); NaN or infinite where it is no number."""
    return math.hypot(*vector.tolist())


def _mounted(message: ImuMessage, R: np.ndarray) -> ImuMessage:
    """The message of an IMU along the axes of the body; R (3, 3) turns those of the IMU into them."""
    return message._replace(
        gyro=R @ message.gyro,
        accel=R @ message.accel,
        gyro_covariance=_turned(message.gyro_covariance, R),
        accel_covariance=_turned(message.accel_covariance, R),
    )


def _turned(covariance: np.ndarray, R: np.ndarray) -> np.ndarray:
    """(9,); one whose first entry is -1 says that there is none, and stays."""
    if covariance[0] < 0.0:
        return covariance
    return (R @ covariance.reshape(3, 3) @ R.T).ravel()

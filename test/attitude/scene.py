"""A body that is turned by hand in the Earth's field, seen by exact sensors: what several tests move."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.messages import ImuMessage, MagneticFieldMessage

GRAVITY = 9.81  # [m/s^2]
FIELD = np.array([0.0, 20e-6, -45e-6])  # [T] east, north, up
BEGIN = 1000.0  # [s]
FRAME = "imu_link"


@dataclass(frozen=True)
class Motion:
    """N samples, and the true rotation of the sensor."""

    stamp: np.ndarray  # (N,) [s]
    gyro: np.ndarray  # (N, 3) [rad/s]
    accel: np.ndarray  # (N, 3) [m/s^2]
    field: np.ndarray  # (N, 3) [T]
    truth: Rotation  # N, sensor to world

    @property
    def dt(self) -> float:
        return float(self.stamp[1] - self.stamp[0])


def turned_by_hand(
    seconds: float = 20.0, rate: float = 100.0, still: float = 2.0, scale: float = 1.0
) -> Motion:
    """At rest for `still` [s], then turned about all axes by up to a radian and more, times `scale`."""
    t = np.arange(round(seconds * rate)) / rate
    begun = np.clip(t - still, 0.0, None)
    ramp = 1.0 - np.exp(-((begun / 1.5) ** 2))
    angles = ramp[:, None] * np.column_stack(
        [
            1.2 * np.sin(1.3 * begun),
            0.9 * np.sin(1.9 * begun + 0.4) - 0.9 * np.sin(0.4),
            1.5 * np.sin(0.8 * begun),
        ]
    )
    return seen(BEGIN + t, Rotation.from_euler("ZYX", scale * angles[:, ::-1]))


def at_rest(seconds: float = 5.0, rate: float = 100.0) -> Motion:
    """A sensor that lies level and looks east."""
    n = round(seconds * rate)
    return seen(BEGIN + np.arange(n) / rate, Rotation.from_quat(np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))))


def seen(stamp: np.ndarray, truth: Rotation) -> Motion:
    """What exact sensors see of N rotations; the gyro that of the step that led to each."""
    dt = stamp[1] - stamp[0]
    gyro = np.zeros((len(stamp), 3))
    gyro[1:] = (truth[:-1].inv() * truth[1:]).as_rotvec() / dt
    back = truth.inv()
    return Motion(stamp, gyro, back.apply([0.0, 0.0, GRAVITY]), back.apply(FIELD), truth)


def imu(
    t: float,
    gyro: np.ndarray,
    accel: np.ndarray,
    frame: str = FRAME,
    variances: tuple[float | tuple[float, ...], float] = (0.0, 0.0),
) -> bytes:
    """A sample as a message; variances of gyro, one or by axis, and accelerometer."""
    w, a = (np.diag(variance * np.ones(3)).ravel() for variance in variances)
    return cdr.encode_imu(ImuMessage.of(round(t * 1e9), frame, gyro, accel, w, a))


def mag(t: float, field: np.ndarray) -> bytes:
    """A field as a message."""
    return cdr.encode_mag(MagneticFieldMessage(round(t * 1e9), FRAME, field, np.zeros(9)))

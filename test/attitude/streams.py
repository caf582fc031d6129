"""Streams that hear the bodies of the scene: what several tests of the running part begin with."""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.estimator import Attitude
from nn_estimation.attitude.health import health
from nn_estimation.attitude.model import classical_setup
from nn_estimation.attitude.stream import IMU_TOPIC, MAG_TOPIC, AttitudeStream, StreamParams

from .scene import Motion, at_rest, imu, mag, turned_by_hand

SETUP = classical_setup("filter")
MOTION = turned_by_hand()
REST = at_rest(8.0)
UP = np.array([0.0, 0.0, 9.81])


def stream(**params: object) -> AttitudeStream:
    """Of the filter, without a model."""
    return AttitudeStream(SETUP, StreamParams(**params))  # type: ignore[arg-type]


def run(
    found: AttitudeStream, motion: Motion, first: int = 0, last: int | None = None, field: bool = True
) -> list[Attitude | None]:
    """Samples of a motion, each after the field of its stamp."""
    out = []
    for n in range(first, len(motion.stamp) if last is None else last):
        if field:
            found.feed(MAG_TOPIC, mag(motion.stamp[n], motion.field[n]))
        out.append(found.feed(IMU_TOPIC, imu(motion.stamp[n], motion.gyro[n], motion.accel[n])))
    return out


def running() -> AttitudeStream:
    """Four seconds at rest."""
    found = stream()
    assert run(found, REST, 0, 400)[-1] is not None
    return found


def off(attitude: Attitude | None, truth: Rotation) -> float:
    """[deg] between an attitude and the truth."""
    assert attitude is not None
    return math.degrees((Rotation.from_quat(attitude.quaternion) * truth.inv()).magnitude())


def aspect(found: AttitudeStream, name: str) -> tuple[str, dict[str, object]]:
    """What health says of one: problem and values."""
    return next((problem, values) for aspect, problem, values in health(found) if aspect == name)

"""Compile and load everything attitude needs before the first message arrives."""

from __future__ import annotations

import numpy as np

from nn_estimation import cdr
from nn_estimation.attitude.checks import GRAVITY
from nn_estimation.attitude.heading import REASONS
from nn_estimation.attitude.model import Setup
from nn_estimation.attitude.replay import outputs
from nn_estimation.attitude.stream import IMU_TOPIC, MAG_TOPIC, AttitudeStream
from nn_estimation.messages import UNKNOWN, ImuMessage, MagneticFieldMessage

RATE = 100  # [Hz]
SECONDS = 5.0


def warm_up(setup: Setup) -> None:
    """Run made-up samples of a sensor that lies still in the Earth's field."""
    stream = AttitudeStream(setup)
    nothing, up, field = np.zeros(3), np.array([0.0, 0.0, GRAVITY]), np.array([0.0, 20e-6, -45e-6])
    for n in range(1, round(SECONDS * RATE)):
        ns = 10**9 + n * 10**9 // RATE
        stream.feed(MAG_TOPIC, cdr.encode_mag(MagneticFieldMessage(ns, "", field, UNKNOWN)))
        imu = ImuMessage.of(ns, "", nothing, up)
        attitude = stream.feed(IMU_TOPIC, cdr.encode_imu(imu))
        if attitude is not None and stream.imu is not None:
            outputs(attitude, stream.imu, rpy=True)
    if setup.network is not None:
        setup.network.reset()
        setup.network.counts = dict.fromkeys(REASONS, 0)

"""Compile and load everything dead reckoning needs before the first message arrives."""

from __future__ import annotations

import numpy as np

from nn_estimation import cdr
from nn_estimation.dead_reckoning import sources
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.learned_covariance import REASONS
from nn_estimation.dead_reckoning.model import Setup
from nn_estimation.dead_reckoning.replay import encode_estimate
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import (
    IMU_TOPIC,
    ODOMETRY_TOPIC,
    WHEEL_TOPIC,
    DeadReckoningStream,
    StreamParams,
)

RATE = 100  # [Hz]


def warm_up(setup: Setup) -> None:
    """Run made-up samples of a vehicle that stands, with all that may aid it, until the network has spoken."""
    stream = DeadReckoningStream(setup, StreamParams("odometry", wheel_speed=True, start=Start()))
    seconds = 3.0 if setup.network is None else setup.network.bank.settles + 1.0
    nothing, up, before = np.zeros(3), np.array([0.0, 0.0, GRAVITY]), None
    for n in range(1, round(seconds * RATE)):
        ns = 10**9 + n * 10**9 // RATE
        imu = cdr.ImuMessage.of(ns, "", nothing, up)
        estimate = stream.feed(IMU_TOPIC, cdr.encode_imu(imu))
        if estimate is not None and before is not None and n % RATE == 0:
            # Late by a sample, which is then gone through again.
            stream.feed(ODOMETRY_TOPIC, before)
            wheels = cdr.TwistCovarianceMessage(ns, "", nothing, nothing, np.zeros(36))
            sources.of_velocity(wheels, nothing)  # where fixes aid, not an odometry
            stream.feed(WHEEL_TOPIC, cdr.encode_twist_covariance(wheels))
        before = None if estimate is None else encode_estimate(estimate, ns)
    if setup.network is not None:
        setup.network.reset()
        setup.network.counts = dict.fromkeys(REASONS, 0)

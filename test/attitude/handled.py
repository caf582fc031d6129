"""Simulated trials without a bag: the noisy samples of a body in a hand, with its truth."""

from typing import Any

import numpy as np

from nn_estimation.attitude.simulation import SimulationParams, clock, inertial, magnetic, measured, move
from nn_estimation.attitude.trial import Trial


def handled(seed: int = 0, duration: float = 25.0, rate: float = 100.0, **params: Any) -> Trial:
    """Scored where it moves."""
    p = SimulationParams(seed=seed, duration=duration, rate=rate, **params)
    motion, stamp = move(p), clock(p)
    rows = motion.rows(stamp)
    gyro, accel = measured(p, stamp, *inertial(p, motion, stamp - p.delay))
    return Trial(
        f"handled_{seed}",
        stamp,
        gyro,
        accel,
        stamp,
        magnetic(p, motion, stamp),
        motion.rotation[rows].as_quat(),
        np.asarray(motion.activity[rows] > 0.0),
    )

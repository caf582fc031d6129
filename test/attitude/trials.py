"""Trials by hand and as bags: the scene with noise, biases and its truth."""

from pathlib import Path

import numpy as np

from nn_estimation.attitude.trial import Trial
from nn_estimation.datasets.recording import Recording

from .scene import turned_by_hand


def trial(
    name: str = "hand", seed: int = 0, seconds: float = 30.0, rate: float = 100.0, mag_every: int = 1
) -> Trial:
    """A sensor turned by hand, with the noise of a small IMU and a gyro bias of half a degree a second."""
    rng = np.random.default_rng(seed)
    motion = turned_by_hand(seconds, rate)
    shape = motion.gyro.shape
    return Trial(
        name,
        np.round(motion.stamp, 6),
        motion.gyro + 0.01 * rng.standard_normal(3) + 0.002 * rng.standard_normal(shape),
        motion.accel + 0.05 * rng.standard_normal(shape),
        np.round(motion.stamp[::mag_every], 6),
        motion.field[::mag_every] + 2e-7 * rng.standard_normal(motion.field[::mag_every].shape),
        motion.truth.as_quat(),
        np.ones(len(motion.stamp), dtype=bool),
    )


def write_bag(found: Trial, folder: Path, **facts: str) -> Path:
    """The trial as a bag; what is not scored is left to the end of the intervals."""
    made = Recording(found.name, "simulated", "CC0-1.0", facts=facts)
    if not found.scored.all():
        inside = found.stamp[found.scored]
        made.scored["intervals"] = [[float(inside[0]), float(inside[-1])]]
    if len(found.mag):
        made.add_mag("imu/mag", found.mag_stamp, found.mag)
    made.add_imu("imu/data_raw", found.stamp, found.gyro, found.accel)
    made.add_truth(found.stamp, None, found.truth, child="imu_link")
    return made.write(folder)

"""The constants of the filter: noises, first uncertainties, and what one vehicle and unit are like."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Constants(NamedTuple):
    """Defaults are those of Brossard et al. 2020, at 100 Hz; a model file brings those of its vehicle.

    Noise densities are variances per second. The pseudo-measurements say that a wheeled vehicle slips neither
    sideways nor upwards; their variances hold for one every 0.01 s and are scaled for other rates.
    """

    gyro: float = 2e-6  # [rad^2/s] white noise
    accel: float = 1e-5  # [m^2/s^3]
    gyro_walk: float = 1e-10  # [rad^2/s^3] of the bias
    accel_walk: float = 1e-8  # [m^2/s^5]
    mount_walk: float = 1e-10  # [rad^2/s] of the IMU-to-vehicle rotation
    lever_walk: float = 1e-10  # [m^2/s] of the lever arm

    tilt_0: float = 1e-6  # [rad^2] variance of roll and pitch at the start
    heading_0: float = 0.0  # [rad^2]
    velocity_0: float = 1e-1  # [m^2/s^2] of the horizontal velocity
    gyro_bias_0: float = 1e-8  # [rad^2/s^2]
    accel_bias_0: float = 1e-3  # [m^2/s^4]
    mount_0: float = 1e-5  # [rad^2]
    lever_0: float = 1e-2  # [m^2]

    lateral: float = 1.0  # [m^2/s^2] variance of the lateral pseudo-measurement
    vertical: float = 10.0  # [m^2/s^2]

    slip: float = 0.0  # [m/rad] lateral velocity = yaw rate x speed x this ...
    slip_speed: float = 0.0  # [s/rad] ... + yaw rate x speed^2 x this
    squat: float = 0.0  # [s^2/m] vertical velocity = forward acceleration x speed x this ...
    lift: float = 0.0  # [s^2/rad^2] ... + yaw rate^2 x speed x this

    mount_roll: float = 0.0  # [rad] rotation vector of the IMU-to-vehicle rotation at the start
    mount_pitch: float = 0.0  # [rad]
    mount_yaw: float = 0.0  # [rad]
    lever_x: float = 0.0  # [m] from the IMU to the point that does not slip, IMU frame
    lever_y: float = 0.0  # [m]
    lever_z: float = 0.0  # [m]

    still_velocity: float = 1e-2  # [m^2/s^2] variance of a zero-velocity update
    still_gyro: float = 1e-4  # [rad^2/s^2] variance of a zero-rotation update
    quiet_gyro: float = 0.0  # [rad^2/s^2] spread of the gyro below which the vehicle may stand; 0: never
    quiet_accel: float = 0.0  # [m^2/s^4] the same of the accelerometer
    quiet_speed: float = 1.0  # [m/s] estimated speed above which it does not stand
    quiet_for: float = 0.5  # [s] both must have been quiet

    longest_step: float = 0.25  # [s] between two samples; longer is a gap
    gap_turn: float = 0.3  # [rad/s] that a vehicle may turn during a gap
    gap_accel: float = 2.0  # [m/s^2] that it may accelerate

    gyro_delay: float = 0.0  # [s] by which the gyro's samples are older than their stamps

    speed_scale: float = 1.0  # true forward speed by that of the wheels
    wheel_speed: float = 0.01  # [m^2/s^2] variance of a wheel speed that comes without one


@lru_cache(maxsize=16)
def packed(constants: Constants) -> np.ndarray:
    """(1,) record array, read-only: what compiled code takes in three microseconds less than forty numbers."""
    kinds = np.dtype([(name, np.float64) for name in Constants._fields])
    out = np.array([tuple(constants)], dtype=kinds)
    out.flags.writeable = False
    return out

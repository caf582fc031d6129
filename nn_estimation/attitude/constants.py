"""The constants of the attitude filter: noises, first uncertainties, pseudo-measurements, trust, heading, latency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Constants(NamedTuple):
    """Standard deviations unless said; a model file brings those of its sensor.

    Defaults are of an ordinary MEMS sensor, found on the training trials of BROAD.
    Noise densities are per root second, those of the pseudo-measurements hold for one every 0.035 s.
    """

    latency: float = 0.0  # [s] by which the output is carried forward: what the sensor's own filters take
    period: float = 0.035  # [s] of a block, between two pseudo-measurements

    gyro: float = 0.0022  # [rad/sqrt(s)] angle random walk
    gyro_turn: float = 7e-4  # [rad/rad] angle error of a block by the angle turned in it
    gyro_walk: float = 2.5e-4  # [rad/s/sqrt(s)] of the bias
    matrix_walk: float = 2.3e-5  # [1/sqrt(s)] of scale and cross-axis sensitivity
    accel: float = 0.02  # [m/s/sqrt(s)]
    accel_walk: float = 4e-4  # [m/s^2/sqrt(s)] of the bias

    tilt_0: float = 0.07  # [rad] at the start
    gyro_bias_0: float = 0.014  # [rad/s]
    matrix_0: float = 0.0025
    accel_bias_0: float = 0.014  # [m/s^2]
    velocity_0: float = 1.0  # [m/s]
    position_0: float = 1.0  # [m]
    gap_rate: float = 0.5  # [rad/s] of unknown turns in a gap

    velocity: float = 1.85  # [m/s] the horizontal velocity is zero
    position: float = 4.5  # [m] the horizontal position is zero
    adapt: float = 0.38  # by which these grow with the mean normalised innovation squared
    memory: float = 3.0  # [s] over which that is averaged
    rest_velocity: float = 0.1  # [m/s] at rest
    rest_gyro: float = 0.0085  # [rad/s] the gyro shows its bias at rest

    peer_memory: float = 3.0  # [s] in which VQF corrects by gravity, its tauAcc
    peer_field: float = 9.0  # [s] in which it corrects by the field, its tauMag
    peer_tilt: float = 0.007  # [rad] inclination error of VQF on a calibrated gyro
    doubt: float = 10.0  # by which our own variance counts more with the mean normalised innovation squared

    tilt_scale: float = 1.0  # of the reported inclination
    tilt_floor: float = 0.003  # [rad]
    heading: float = 0.05  # [rad] of VQF's heading

    heading_drift: float = 1e-3  # [rad/s] of the heading without a field

    look: float = 0.4  # [s] between two looks of the network, at the mean of the fields between them
    heading_walk: float = 0.003  # [rad/sqrt(s)] of the gyro's heading, calibrated
    heading_0: float = 0.05  # [rad] of the first fields
    correlation: float = 2.0  # times the variance of a field, as errors of fields last
    blend: float = 0.5  # share of the learned heading, the rest is VQF's
    heading_scale: float = 1.0  # of the deviation of the learned heading in that of the blend
    heading_floor: float = 0.02  # [rad] of the blend, beside that


def packed(constants: Constants) -> np.ndarray:
    """(1,) record array: what compiled code takes in a microsecond less than forty numbers."""
    kinds = np.dtype([(name, np.float64) for name in Constants._fields])
    return np.array([tuple(constants)], dtype=kinds)

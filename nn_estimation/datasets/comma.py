"""comma2k19: a car with a phone-grade IMU at 104 Hz and a 20 Hz pose from GNSS and vision (MIT licence).

Looked for below the source folder: example_*.npz with accelerometer_t, accelerometer_value, gyro_t, gyro_value, the
speed_t, speed_value of its CAN bus, and the frame_times, frame_positions, frame_velocities, frame_orientations of its
poses in Earth-centred coordinates.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, read_arrays
from nn_estimation.datasets.registry import Loader
from nn_estimation.geodesy import east_north_up, geodetic

SOURCE = "comma2k19, Schafer et al. 2018, arXiv 1812.05752: one segment of California I-280"
LICENCE = "MIT"
FLIP = np.array([1.0, -1.0, -1.0])  # forward, right, down -> forward, left, up
_COLUMNS = {
    "accelerometer_t": 1, "accelerometer_value": 3, "gyro_t": 1, "gyro_value": 3, "speed_t": 1,
    "speed_value": 1, "frame_times": 1,
    "frame_positions": 3, "frame_velocities": 3, "frame_orientations": 4,
}  # fmt: skip


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    return {path.stem: partial(_load, path) for path in sorted(source.rglob("example_*.npz"))}


def _load(path: Path) -> Recording:
    data = read_arrays(path, _COLUMNS, same_length=False)
    stamp = data["gyro_t"]
    if len(stamp) != len(data["accelerometer_t"]) or np.abs(stamp - data["accelerometer_t"]).max() > 1e-3:
        raise DatasetError(f"{path}: gyro and accelerometer are not stamped alike")
    latitude, longitude = geodetic(data["frame_positions"][0])
    ecef_to_enu = Rotation.from_matrix(east_north_up(latitude, longitude))
    quaternion = np.roll(data["frame_orientations"], -1, axis=1)  # w, x, y, z of device -> ECEF
    rotation = ecef_to_enu * Rotation.from_quat(quaternion) * Rotation.from_matrix(np.diag(FLIP))
    position = ecef_to_enu.apply(data["frame_positions"] - data["frame_positions"][0])
    velocity = rotation.inv().apply(ecef_to_enu.apply(data["frame_velocities"]))
    recording = Recording(path.stem, SOURCE, LICENCE)
    recording.facts["latitude_deg"] = f"{np.degrees(latitude):.4f}"
    recording.add_imu("imu/data_raw", stamp, data["gyro_value"] * FLIP, data["accelerometer_value"] * FLIP)
    recording.add_speed("wheel/twist", data["speed_t"], data["speed_value"])
    recording.add_truth(data["frame_times"], position, rotation.as_quat(), velocity, child="imu_link")
    return recording

"""comma2k19: a car with a phone-grade IMU at 104 Hz and a 20 Hz pose from GNSS and vision (MIT licence).

Looked for below the source folder: example_*.npz with accelerometer_t, accelerometer_value, gyro_t, gyro_value and
the frame_times, frame_positions, frame_velocities, frame_orientations of its poses in Earth-centred coordinates.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, read_arrays
from nn_estimation.datasets.registry import Loader

SOURCE = "comma2k19, Schafer et al. 2018, arXiv 1812.05752: one segment of California I-280"
LICENCE = "MIT"
FLIP = np.array([1.0, -1.0, -1.0])  # forward, right, down -> forward, left, up
_COLUMNS = {
    "accelerometer_t": 1, "accelerometer_value": 3, "gyro_t": 1, "gyro_value": 3, "frame_times": 1,
    "frame_positions": 3, "frame_velocities": 3, "frame_orientations": 4,
}  # fmt: skip
# WGS 84
_SEMI_MAJOR, _FLATTENING = 6378137.0, 1.0 / 298.257223563


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
    recording.add_truth(data["frame_times"], position, rotation.as_quat(), velocity, child="imu_link")
    return recording


def geodetic(position: np.ndarray) -> tuple[float, float]:
    """Latitude and longitude [rad] of an Earth-centred position (3,) [m], by Bowring's formula (1976)."""
    x, y, z = position
    e2 = _FLATTENING * (2.0 - _FLATTENING)
    semi_minor = _SEMI_MAJOR * (1.0 - _FLATTENING)
    p = np.hypot(x, y)
    theta = np.arctan2(z * _SEMI_MAJOR, p * semi_minor)
    latitude = np.arctan2(
        z + e2 / (1.0 - e2) * semi_minor * np.sin(theta) ** 3, p - e2 * _SEMI_MAJOR * np.cos(theta) ** 3
    )
    return float(latitude), float(np.arctan2(y, x))


def east_north_up(latitude: float, longitude: float) -> np.ndarray:
    """(3, 3) rotation from Earth-centred to local coordinates; angles in [rad]."""
    (sp, cp), (sl, cl) = (np.array([np.sin(a), np.cos(a)]) for a in (latitude, longitude))
    return np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])

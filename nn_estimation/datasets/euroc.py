"""EuRoC MAV: a drone, IMU at 200 Hz, poses of its left camera at 20 Hz (ETH research terms: evaluation only).

Looked for below the source folder: MH03.npz with t_ns, u (gyro, accelerometer), gt_t_ns, gt_p, gt_q_cam0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import Recording, read_arrays
from nn_estimation.datasets.registry import Loader

SOURCE = "EuRoC MAV, Burri et al. 2016; truth as shipped with ORB-SLAM3"
LICENCE = "ETH research terms: evaluation only"
# Left camera in the IMU frame, from the sensor.yaml that comes with the data set.
T_IMU_CAMERA = np.array([
    [0.0148655429818, -0.999880929698, 0.00414029679422, -0.0216401454975],
    [0.999557249008, 0.0149672133247, 0.025715529948, -0.064676986768],
    [-0.0257744366974, 0.00375618835797, 0.999660727178, 0.00981073058949],
])  # fmt: skip
_COLUMNS = {"t_ns": 1, "u": 6, "gt_t_ns": 1, "gt_p": 3, "gt_q_cam0": 4}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    paths = [path for path in sorted(source.rglob("*.npz")) if path.stem[:2] in ("MH", "V1", "V2")]
    return {path.stem: partial(_load, path) for path in paths}


def _load(path: Path) -> Recording:
    data = read_arrays(path, _COLUMNS, same_length=False)
    # w, x, y, z of world -> camera: only so does gravity come out upright.
    camera = Rotation.from_quat(np.roll(data["gt_q_cam0"], -1, axis=1)).inv()
    rotation = camera * Rotation.from_matrix(T_IMU_CAMERA[:, :3]).inv()
    position = data["gt_p"] - rotation.apply(T_IMU_CAMERA[:, 3])
    recording = Recording(path.stem, SOURCE, LICENCE)
    recording.add_imu("imu/data_raw", data["t_ns"] * 1e-9, data["u"][:, :3], data["u"][:, 3:])
    recording.add_truth(data["gt_t_ns"] * 1e-9, position, rotation.as_quat(), child="imu_link")
    return recording

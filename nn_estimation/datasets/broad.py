"""BROAD: a nine-axis IMU at 286 Hz, turned, carried and disturbed by hand (CC BY 4.0).

Looked for below the source folder: 04_undisturbed_slow_rotation_with_breaks_A.npz with gyr, acc, mag, quat, movement
and fs.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from nn_estimation.datasets.recording import Recording, intervals, read_arrays
from nn_estimation.datasets.registry import Loader

SOURCE = "BROAD, Laidig, Caruso, Cereatti and Seel 2021, doi 10.3390/data6070072"
LICENCE = "CC BY 4.0"
START = 1.0  # [s] of the first sample: the files know no time
MICROTESLA = 1e-6  # [T]
_NAME = re.compile(r"\d+_(un)?disturbed_.+")
_COLUMNS = {"gyr": 3, "acc": 3, "mag": 3, "quat": 4, "movement": 1}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    paths = [path for path in sorted(source.rglob("*.npz")) if _NAME.fullmatch(path.stem)]
    return {path.stem: partial(_load, path) for path in paths}


def _load(path: Path) -> Recording:
    data = read_arrays(path, _COLUMNS, same_length=True, with_gaps=["quat"])
    (rate,) = read_arrays(path, {"fs": 1}, same_length=True)["fs"]
    stamp = np.round(START + np.arange(len(data["gyr"])) / rate, 6)
    seen = np.isfinite(data["quat"]).all(axis=1)
    recording = Recording(path.stem, SOURCE, LICENCE)
    recording.scored["intervals"] = intervals(stamp, (data["movement"] > 0.0) & seen)
    recording.add_mag("imu/mag", stamp, data["mag"] * MICROTESLA)
    recording.add_imu("imu/data_raw", stamp, data["gyr"], data["acc"])
    quaternion = np.roll(data["quat"][seen], -1, axis=1)  # from w, x, y, z
    recording.add_truth(stamp[seen], None, quaternion, child="imu_link")
    return recording

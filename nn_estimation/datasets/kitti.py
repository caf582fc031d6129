"""KITTI raw data, unrectified: a car with an OXTS RT3003, IMU at 100 Hz and RTK/INS truth (CC BY-NC-SA 3.0).

Looked for below the source folder: 2011_09_30_drive_0016_extract.npz with t, u (gyro, accelerometer), p_gt, v_gt and
ang_gt, and index.csv, which says what rows the odometry benchmark scores.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, read_arrays
from nn_estimation.datasets.registry import Loader

SOURCE = "KITTI raw data, Geiger et al. 2013: OXTS RT3003"
LICENCE = "CC BY-NC-SA 3.0"
START = 1.0  # [s] added to the stamps, which begin at zero
LATITUDE_DEG = 49.0  # Karlsruhe
_ARRAYS = {"t": 1, "u": 6, "p_gt": 3, "v_gt": 3, "ang_gt": 3}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    scored = _scored_rows(next(source.rglob("index.csv"), source / "index.csv"))
    return {
        path.stem: partial(_load, path, scored.get(path.stem))
        for path in sorted(source.rglob("*_extract.npz"))
    }


def _scored_rows(index: Path) -> dict[str, tuple[str, int, int]]:
    """Drive -> number of its benchmark sequence, first and last row.

    Raises:
        DatasetError: the file is damaged.
    """
    if not index.is_file():
        return {}
    try:
        with index.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("odometry_seq")]
        return {
            row["drive"]: (row["odometry_seq"], int(row["bench_start"]), int(row["bench_end"]))
            for row in rows
        }
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{index} does not hold drive, odometry_seq, bench_start and bench_end: {error}"
        ) from error


def _load(path: Path, scored: tuple[str, int, int] | None) -> Recording:
    data = read_arrays(path, _ARRAYS, same_length=True)
    stamp = np.round(data["t"] + START, 6)
    rotation = Rotation.from_euler("xyz", data["ang_gt"])
    recording = Recording(path.stem, SOURCE, LICENCE)
    recording.facts["latitude_deg"] = f"{LATITUDE_DEG}"
    if scored is not None:
        number, first, end = scored
        recording.facts["sequence"] = number
        recording.scored["intervals"] = [[float(stamp[first]), float(stamp[min(end, len(stamp) - 1)])]]
    recording.add_imu("imu/data_raw", stamp, data["u"][:, :3], data["u"][:, 3:])
    velocity = rotation.inv().apply(data["v_gt"])
    recording.add_truth(stamp, data["p_gt"], rotation.as_quat(), velocity, child="imu_link")
    return recording

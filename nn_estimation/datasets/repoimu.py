"""RepoIMU T-stick: a wand with a nine-axis IMU at 100 Hz, swung by hand (no licence stated: evaluation only).

Looked for below the source folder: TStick_Test02_Trial1.npz with t, gyr, acc, mag and quat, and body_rotvec_rad.json,
how the sensor sits in the body that the cameras saw. The world of its truth is the first pose of the wand: the
heading is relative, and upright is what the accelerometer says at rest. Left out: Test01, which has no truth, and
Test05, Test06_Trial1 and Test10, which saturate the gyro.
"""

from __future__ import annotations

import json
import logging
import re
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, read_arrays
from nn_estimation.datasets.registry import Loader

_LOG = logging.getLogger(__name__)
SOURCE = "RepoIMU, Szczesna et al. 2016, Silesian University of Technology: T-stick"
LICENCE = "none stated: evaluation only"
START = 1.0  # [s] added to the stamps, which begin near zero
REST = (0.5, 1.5)  # [s] after the first pose, between which the wand lies still
# Rotation vector [rad] of the body in the sensor, where the file is missing: it is that of the public recordings.
BODY = (-0.04705511785399849, 0.002343210494308121, 0.00838770373481865)
_UNFIT = {
    r"Test01_.*": "the truth is missing",
    r"Test05_.*|Test06_Trial1|Test10_.*": "the gyro is saturated",
}
_COLUMNS = {"t": 1, "gyr": 3, "acc": 3, "mag": 3, "quat": 4}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    body = _body(next(source.rglob("body_rotvec_rad.json"), None))
    found: dict[str, Loader] = {}
    for path in sorted(source.rglob("TStick_*.npz")):
        test = path.stem.removeprefix("TStick_")
        reasons = [reason for pattern, reason in _UNFIT.items() if re.fullmatch(pattern, test)]
        if reasons:
            _LOG.warning("%s is left out: %s", path.stem, reasons[0])
        else:
            found[path.stem] = partial(_load, path, body)
    return found


def _body(path: Path | None) -> Rotation:
    if path is None:
        return Rotation.from_rotvec(BODY)
    try:
        vector = np.array(json.loads(path.read_text()), dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise DatasetError(f"{path} is not a rotation vector of 3 numbers")
    return Rotation.from_rotvec(vector)


def _load(path: Path, body: Rotation) -> Recording:
    data = read_arrays(path, _COLUMNS, same_length=True, with_gaps=["quat"])
    stamp = np.round(data["t"] + START, 6)
    recording = Recording(path.stem, SOURCE, LICENCE)
    recording.facts["magnetic_field"] = "normalised by the authors, not in tesla"
    recording.add_mag("imu/mag", stamp, data["mag"])
    recording.add_imu("imu/data_raw", stamp, data["gyr"], data["acc"])
    seen = np.isfinite(data["quat"]).all(axis=1)
    if not seen.any():
        return recording
    begin, end = (stamp[seen][0] + after for after in REST)
    rest = (stamp[seen] >= begin) & (stamp[seen] <= end)
    if not rest.any():
        raise DatasetError(f"{path}: the truth ends before the rest, {REST[0]} s after its first pose")
    truth = Rotation.from_quat(np.roll(data["quat"][seen], -1, axis=1)) * body.inv()  # from w, x, y, z
    felt = truth[rest].apply(data["acc"][seen][rest]).mean(axis=0)
    upright = _shortest(felt, np.array([0.0, 0.0, 1.0]))
    recording.add_truth(stamp[seen], None, (upright * truth).as_quat(), child="imu_link")
    recording.facts["heading"] = "relative"
    recording.facts["align"] = json.dumps([round(float(begin), 6), round(float(end), 6)])
    recording.facts["truth_leant_deg"] = f"{np.degrees(upright.magnitude()):.2f}"
    return recording


def _shortest(a: np.ndarray, b: np.ndarray) -> Rotation:
    """From the direction of a (3,) to that of b (3,), which is not opposite."""
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis), a @ b
    return Rotation.from_rotvec(axis * (np.arctan2(sine, cosine) / sine if sine else 0.0))

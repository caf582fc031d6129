"""UTIL identification tests: TDoA of two anchors with signal quality, Vicon as truth (no licence stated).

Looked for below the source folder: TEST_data.csv, gzipped or not, beside TEST_pose.txt with the places of both
anchors and the tag, which stand still.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, find, read_columns
from nn_estimation.datasets.registry import Loader
from nn_estimation.uwb.layout import Anchor, Layout, Tag

SOURCE = "UTIL: Zhao et al., Ultra-wideband time-difference-of-arrival indoor localization dataset, IJRR 2024"
LICENCE = "none stated: evaluation only, cite arXiv 2203.14471"
START, RATE = 1.0, 100.0  # [s], [Hz] the rows carry no stamps: these are made up
TRUTH_PERIOD = 0.1  # [s]
MAX_ERROR = 1.0  # [m] a test with its direct path gone (3.9 m) and single gross errors are not scored
# SNR and received minus first-path power, by the frame_id of the power message.
_QUALITY = {
    "an1": ("snr_an1", "power_dif_an1"),
    "an2": ("snr_an2", "power_dif_an2"),
    "an2-an1": ("an1_rx_snr", "an1_rx_powerdif"),
    "an1-an2": ("an2_rx_snr", "an2_rx_powerdif"),
}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    return {name: partial(_load, name, path) for name, path in find(source, "*_data")}


def _load(name: str, path: Path) -> Recording:
    pose = _read_pose(path.parent / f"{name}_pose.txt")
    layout = Layout(
        tuple(
            Anchor(anchor, pose[f"{anchor}_p"], Rotation.from_quat(pose[f"{anchor}_quat"]).as_matrix())
            for anchor in ("an1", "an2")
        ),
        (Tag("tag", np.zeros(3)),),
    )
    names = ("tdoa12", *(column for columns in _QUALITY.values() for column in columns))
    rows = read_columns(path, names)
    recording = Recording(name, SOURCE, LICENCE, layout.to_yaml(), {"max_abs_error_m": MAX_ERROR})
    truth = START + np.arange(math.ceil(len(rows) / RATE / TRUTH_PERIOD) + 1) * TRUTH_PERIOD
    still = (len(truth), 1)
    recording.add_truth(truth, np.tile(pose["tag_p"], still), np.tile(pose["tag_quat"], still))
    for i, row in enumerate(rows):
        if not math.isfinite(row[0]):
            continue
        stamp = START + i / RATE
        for frame, snr, difference in zip(_QUALITY, row[1::2], row[2::2], strict=True):
            if math.isfinite(snr) or math.isfinite(difference):
                recording.add_power("uwb/power", stamp, frame, difference, 0.0, snr)
        recording.add_range("uwb/tdoa", stamp, "an1-an2", row[0])
    return recording


def _read_pose(path: Path) -> dict[str, np.ndarray]:
    """`an1_p`, `an2_p`, `tag_p` (3,) [m] and `an1_quat`, `an2_quat`, `tag_quat` (4,) x, y, z, w."""
    try:
        lines = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
        pose = {cells[0].strip(): np.array([float(cell) for cell in cells[1:]]) for cells in lines}
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read the poses in {path}: {error}") from error
    for body in ("an1", "an2", "tag"):
        for key, size in ((f"{body}_p", 3), (f"{body}_quat", 4)):
            if key not in pose or pose[key].shape != (size,):
                raise DatasetError(f"{path} has no {key} of {size} numbers")
    return pose

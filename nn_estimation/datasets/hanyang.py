"""Hanyang static UWB: two-way ranges outdoors from 2 to 60 m, with received power (Apache-2.0 licence).

Looked for below the source folder: LOS/height_50.0cm/10m.csv and NLOS/height_50.0cm/10m.csv, gzipped or not; the
height of both antennas and the tape distance are in the names. A recording is a height, line of sight or not.
"""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from nn_estimation.datasets.recording import DatasetError, Recording, read_columns, yaw_quaternion
from nn_estimation.datasets.registry import Loader
from nn_estimation.uwb.layout import Anchor, Layout, Tag

SOURCE = "Hanyang University outdoor UWB, static measurements: distances measured by tape"
LICENCE = "Apache-2.0"
MAX_ERROR = 1.0  # [m] five of 36,000 ranges are gross errors
TRUTH_PERIOD = 0.1  # [s]
_COLUMNS = ("timestamp", "Distance", "RSSI(dBm)", "RSSI_fp(dBm)", "anchor_id")


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    folders: dict[str, list[Path]] = {}
    for folder in sorted(source.rglob("height_*cm")):
        if folder.is_dir() and _tapes(folder):
            folders.setdefault(folder.name, []).append(folder)
    return {name: partial(_load, name, parts) for name, parts in folders.items()}


def _tapes(folder: Path) -> dict[Path, float]:
    """File -> tape distance [m]."""
    matches = {path: re.fullmatch(r"(\d+(?:\.\d+)?)m\.csv(?:\.gz)?", path.name) for path in folder.iterdir()}
    return {path: float(match[1]) for path, match in matches.items() if match}


def _load(name: str, folders: list[Path]) -> Recording:
    match = re.fullmatch(r"height_(\d+(?:\.\d+)?)cm", name)
    if match is None:
        raise DatasetError(f"{folders[0]}: expected a name like height_50.0cm")
    height = float(match[1]) / 100.0
    stretches = []
    for folder in folders:
        for path, tape in _tapes(folder).items():
            rows = read_columns(path, _COLUMNS)
            rows = rows[np.isfinite(rows[:, (0, 1, 4)]).all(axis=1) & (rows[:, 1] > 0.0)]
            if len(rows):
                stretches.append((rows[np.argsort(rows[:, 0], kind="stable")], tape))
    if not stretches:
        raise DatasetError(f"{name}: no file in {', '.join(map(str, folders))} has a range")
    stretches.sort(key=lambda stretch: float(stretch[0][0, 0]))
    for (before, _), (after, tape) in pairwise(stretches):
        if after[0, 0] <= before[-1, 0]:
            raise DatasetError(f"{name}: the file of {tape:g} m begins before another one ends")
    anchors = sorted({int(anchor) for rows, _ in stretches for anchor in rows[:, 4]})
    at = np.array([0.0, 0.0, height])
    layout = Layout(tuple(Anchor(f"a{i}", at) for i in anchors), (Tag("tag", np.zeros(3)),))
    recording = Recording(name, SOURCE, LICENCE, layout.to_yaml(), {"max_abs_error_m": MAX_ERROR})
    for rows, tape in stretches:
        _add_stretch(recording, rows, np.array([tape, 0.0, height]))
    return recording


def _add_stretch(recording: Recording, rows: np.ndarray, position: np.ndarray) -> None:
    """Ranges of a tag that stands still, columns `_COLUMNS`."""
    begin, end = rows[0, 0] - TRUTH_PERIOD / 2, rows[-1, 0] + TRUTH_PERIOD / 2
    stamps = np.linspace(begin, end, math.ceil((end - begin) / TRUTH_PERIOD) + 1)
    at = np.tile(position, (len(stamps), 1))
    recording.add_truth(stamps, at, yaw_quaternion(np.zeros(len(stamps))))
    for stamp, value, power, first_path, anchor in rows:
        frame = f"a{int(anchor)}"
        if np.isfinite((power, first_path)).all():
            recording.add_power("uwb/power", stamp, frame, power, first_path, math.nan)
        recording.add_range("uwb/range", stamp, frame, value)

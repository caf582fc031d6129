"""STAR-loc: two-way ranges of a hand-carried rig with first-path powers, Vicon as truth (no licence stated).

Looked for below the source folder: RECORDING/uwb.csv, gzipped or not. Lever arms and anchors are solved for from its
true poses and distances: the marker numbers of the motion capture are not the anchors' numbers.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.datasets.recording import DatasetError, Recording, read_columns
from nn_estimation.datasets.registry import Loader
from nn_estimation.uwb.layout import Anchor, Layout, Tag

SOURCE = "STAR-loc: Duembgen et al., Dataset for STereo And Range-based localization, arXiv 2309.05518"
LICENCE = "none stated: evaluation only, cite arXiv 2309.05518"
START = 1.0  # [s] added to the stamps, which begin at zero
MAX_MISFIT = 0.01  # [m] of the true distances to the anchor solved for
_COLUMNS = ("time_s", "range", "from_id", "to_id", "gt_range")
_POSE = ("x", "y", "z", "rot_x", "rot_y", "rot_z", "w", "tag_pos_x", "tag_pos_y", "tag_pos_z")
_POWERS = ("fpp1", "fpp2")  # of the tag's signal at the anchor, of the anchor's signal at the tag


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    paths = [path for path in sorted(source.rglob("uwb.csv*")) if path.name in ("uwb.csv", "uwb.csv.gz")]
    return {path.resolve().parent.name: partial(_load, path.resolve().parent.name, path) for path in paths}


def _load(name: str, path: Path) -> Recording:
    rows = read_columns(path, (*_COLUMNS, *_POSE), _POWERS)
    rows = rows[np.isfinite(rows[:, :-2]).all(axis=1)]
    if len(rows) < 10:
        raise DatasetError(f"{path} has no rows of ranges with a pose")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    tag, anchor = rows[:, 2].astype(int), rows[:, 3].astype(int)
    position, quaternion, antenna = rows[:, 5:8], rows[:, 8:12], rows[:, 12:15]
    lever = Rotation.from_quat(quaternion).inv().apply(antenna - position)
    anchors = tuple(
        Anchor(f"a{i}", solve_anchor(antenna[anchor == i], rows[anchor == i, 4], f"{path}: anchor {i}"))
        for i in np.unique(anchor)
    )
    layout = Layout(
        anchors,
        tuple(Tag(f"tag{i}", np.median(lever[tag == i], axis=0)) for i in np.unique(tag)),
        above=bool(np.median(antenna[:, 2]) > np.mean([at.position[2] for at in anchors])),
    )
    recording = Recording(name, SOURCE, LICENCE, layout.to_yaml())
    stamps, first = np.unique(rows[:, 0], return_index=True)
    recording.add_truth(stamps + START, position[first], quaternion[first])
    for row, t, a in zip(rows, tag, anchor, strict=True):
        at_anchor, at_tag = row[-2:]
        power = layout.tag_topic(f"tag{t}", "power")
        stamp = row[0] + START
        if math.isfinite(at_tag):
            recording.add_power(power, stamp, f"a{a}", math.nan, at_tag, math.nan)
        if math.isfinite(at_anchor):
            recording.add_power(power, stamp, f"tag{t}-a{a}", math.nan, at_anchor, math.nan)
        recording.add_range(layout.tag_topic(f"tag{t}", "range"), stamp, f"a{a}", row[1])
    return recording


def solve_anchor(antenna: np.ndarray, distance: np.ndarray, name: str) -> np.ndarray:
    """Position (3,) [m] with true distances (N,) [m] from antenna positions (N, 3) [m].

    Linear in the position and its squared norm: |t - a|^2 = d^2.

    Raises:
        DatasetError: there is no such point, or the antenna moved in a plane.
    """
    origin = antenna.mean(axis=0)
    t = antenna - origin
    system = np.column_stack([-2.0 * t, np.ones(len(t))])
    solution, _, rank, _ = np.linalg.lstsq(system, distance**2 - (t**2).sum(axis=1), rcond=None)
    position = solution[:3] + origin
    misfit = np.abs(np.linalg.norm(antenna - position, axis=1) - distance).max(initial=0.0)
    if rank < 4 or misfit > MAX_MISFIT:
        raise DatasetError(f"{name}: gt_range and tag_pos fit no fixed point (off by {misfit:.3f} m)")
    return np.asarray(position)

"""LIAS planar UWB: two-way ranges of 8 anchors to 3 tags on a trolley, motion capture as truth (MIT licence).

Looked for below the source folder: UWB_dynamic_exp_NAME.csv with motion_capture_dynamic_exp_NAME.csv,
NAME_authors_aligned_outlier_rejected.csv (ranges and truth on one clock), UWB_static_exp_*.csv with
README_static.md; all may be gzipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nn_estimation.datasets.recording import DatasetError, Recording, find, open_text, yaw_quaternion
from nn_estimation.datasets.registry import Loader
from nn_estimation.uwb.clock import estimate_offset
from nn_estimation.uwb.layout import Anchor, Layout, Tag

SOURCE = "LIAS planar UWB: Jiang et al., Efficient Planar Pose Estimation via UWB Measurements, ICRA 2023"
LICENCE = "MIT"
# The rigid body's axes are turned against the trolley's by this angle, in all recordings (see docs/data.md).
YAW_OF_RIGID_BODY = 0.128  # [rad]
ANTENNA_YAW = (0.0, 90.0, 0.0)  # [deg] of tags 0, 1, 2: tag 1 is mounted turned
MAX_ERROR = 0.8  # [m] raw errors beyond are not scored, as by the authors
SETUPS = {"8_14": "8_14_and_dynamic", "8_20": "8_20"}
# README_dynamic.md of the authors, for a folder without geometry.json.
PUBLISHED = {
    "anchors_8_14_and_dynamic": (
        (-3.4203, 3.0053, 1.0442),
        (0.0016, 3.0110, 1.0446),
        (3.6056, 2.9795, 1.0463),
        (3.6011, -0.0008, 1.0422),
        (3.5674, -3.0087, 1.0443),
        (-0.0072, -2.9652, 1.0444),
        (-3.4673, -2.9587, 1.0445),
        (-3.4858, -0.0098, 1.0457),
    ),
    "tags_body_8_14_and_dynamic": (
        (-0.0689, -0.1423, 0.0011),
        (-0.0750, 0.1402, 0.0016),
        (0.2034, 0.1451, -0.0008),
    ),
}


def recordings(source: Path) -> dict[str, Loader]:
    """Recording name -> loader."""
    found: dict[str, Loader] = {}
    capture = dict(find(source, "motion_capture_dynamic_exp_*"))
    for name, path in find(source, "UWB_dynamic_exp_*"):
        if name in capture:
            found[name] = partial(_raw_pair, source, name, path, capture[name])
    for name, path in find(source, "*_authors_aligned_outlier_rejected"):
        found.setdefault(name, partial(_aligned, source, name, path, capture.get(name)))
    for name, path in find(source, "UWB_static_exp_*"):
        found[f"static_{name}"] = partial(_static, source, name, path)
    return found


def _layout(source: Path, setup: str, z: float) -> Layout:
    geometry = _geometry(source)
    if f"anchors_{SETUPS[setup]}" not in geometry:
        raise DatasetError(f"no anchors_{SETUPS[setup]} in a geometry.json in {source} or above it")
    anchors = [Anchor(f"a{i}", np.array(p)) for i, p in enumerate(geometry[f"anchors_{SETUPS[setup]}"])]
    tags = [
        Tag(f"tag{i}", np.array(p), _about_z(np.radians(yaw)))
        for i, (p, yaw) in enumerate(zip(geometry[f"tags_body_{SETUPS[setup]}"], ANTENNA_YAW, strict=True))
    ]
    return Layout(tuple(anchors), tuple(tags), planar_z=z)


def _geometry(source: Path) -> Mapping[str, Any]:
    folders = (source, source.parent, source.parent.parent)
    beside = [folder / "geometry.json" for folder in folders if (folder / "geometry.json").is_file()]
    path = next(iter([*sorted(source.rglob("geometry.json")), *beside]), None)
    if path is None:
        return PUBLISHED
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def _about_z(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _rows(path: Path, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) stamps [s, UTC] and (N, columns) numbers of a file whose first column is a wall clock."""
    stamps, rows = [], []
    with open_text(path) as file:
        for line in file:
            cells = line.strip().split(",")
            if len(cells) <= columns or not cells[0][:1].isdigit():
                continue
            try:
                clock = datetime.strptime(cells[0], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
                rows.append([float(cell) if cell else np.nan for cell in cells[1 : columns + 1]])
            except ValueError:
                continue
            stamps.append(clock.timestamp())
    if len(stamps) < 10:
        raise DatasetError(f"{path} has no rows of a time and {columns} numbers")
    order = np.argsort(stamps, kind="stable")
    return np.array(stamps)[order], np.array(rows)[order]


def _truth(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,), positions (N, 3), headings (N,) of a motion capture file; its quaternion is mislabelled."""
    stamps, rows = _rows(path, 7)
    keep = np.isfinite(rows).all(axis=1) & (np.diff(stamps, prepend=-np.inf) > 0)
    stamps, rows = stamps[keep], rows[keep]
    yaw = 2.0 * np.arctan2(rows[:, 5], rows[:, 4]) + YAW_OF_RIGID_BODY
    return stamps, rows[:, :3], np.unwrap(yaw)


def _raw_pair(source: Path, name: str, ranges: Path, capture: Path) -> Recording:
    stamps, values = _rows(ranges, 24)
    truth_stamps, position, yaw = _truth(capture)
    grid = values.reshape(-1, 8, 3).transpose(0, 2, 1)  # file order a0-t0, a0-t1, ...
    return _dynamic(source, name, stamps, grid, truth_stamps, position, yaw)


def _aligned(source: Path, name: str, path: Path, capture: Path | None) -> Recording:
    with open_text(path) as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    if table.dtype.names is None or len(table.dtype.names) < 28:
        raise DatasetError(f"{path} does not have the columns t_s, x_m, y_m, yaw_deg and 24 ranges")
    grid = np.stack([[table[f"a{a}_t{t}"] for a in range(8)] for t in range(3)]).transpose(2, 0, 1)
    z = float(np.median(_truth(capture)[1][:, 2])) if capture else 0.97
    position = np.stack([table["x_m"], table["y_m"], np.full(len(table), z)], axis=1)
    yaw = np.unwrap(np.radians(table["yaw_deg"]) + YAW_OF_RIGID_BODY)
    return _dynamic(source, name, table["t_s"] + 1.0, grid, table["t_s"] + 1.0, position, yaw)


def _dynamic(
    source: Path,
    name: str,
    stamps: np.ndarray,
    grid: np.ndarray,
    truth_stamps: np.ndarray,
    position: np.ndarray,
    yaw: np.ndarray,
) -> Recording:
    """grid (N, 3 tags, 8 anchors) of ranges [m] at stamps (N,); truth on a clock of its own."""
    layout = _layout(source, "8_14", float(np.median(position[:, 2])))
    offset = estimate_offset(layout, stamps, grid, truth_stamps, position, yaw)
    recording = Recording(
        name, SOURCE, LICENCE, layout.to_yaml(), {"max_abs_error_m": MAX_ERROR}, clock_offset=offset
    )
    recording.add_truth(truth_stamps + offset, position, yaw_quaternion(yaw))
    _add_ranges(recording, layout, stamps, grid)
    return recording


def _static(source: Path, name: str, path: Path) -> Recording:
    setup, pose, heading = _parse_static(name, path)
    position, yaw = _static_poses(source)[setup, pose, heading]
    stamps, values = _rows(path, 24)
    layout = _layout(source, setup, 0.97 if setup == "8_14" else 1.2)
    recording = Recording(f"static_{name}", SOURCE, LICENCE, layout.to_yaml(), {"max_abs_error_m": MAX_ERROR})
    truth_stamps = np.arange(stamps[0], stamps[-1] + 0.1, 0.1)
    at = np.tile([*position, layout.planar_z or 0.0], (len(truth_stamps), 1))
    recording.add_truth(truth_stamps, at, yaw_quaternion(np.full(len(truth_stamps), yaw)))
    _add_ranges(recording, layout, stamps, values.reshape(-1, 8, 3).transpose(0, 2, 1))
    return recording


def _parse_static(name: str, path: Path) -> tuple[str, int, int]:
    match = re.fullmatch(r"(8_14|8_20)_pos(\d+)_deg_(\d+)", name)
    if not match:
        raise DatasetError(f"{path}: expected a name like UWB_static_exp_8_14_pos1_deg_0.csv")
    return match[1], int(match[2]), int(match[3])


def _static_poses(source: Path) -> dict[tuple[str, int, int], tuple[tuple[float, float], float]]:
    """(set-up, pose, nominal heading [deg]) -> ((x, y) [m], yaw [rad]) from the authors' table."""
    path = source / "README_static.md"
    if not path.is_file():
        raise DatasetError(f"{path} with the table of static poses is missing")
    poses: dict[tuple[str, int, int], tuple[tuple[float, float], float]] = {}
    setup, pose = "", 0
    for line in path.read_text().splitlines():
        if line.startswith("### 2022/8/"):
            setup, pose = f"8_{line.split('/')[-1].strip()}", 0
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 4:
            continue
        if cells[0].startswith("Pose "):
            pose = int(cells[0].split()[1])
        try:
            yaw, x, y = (float(cell) for cell in cells[1:])
        except ValueError:
            continue
        if pose:
            nominal = round(yaw / 60.0) * 60 % 360
            poses[setup, pose, nominal] = ((x, y), np.radians(yaw) + YAW_OF_RIGID_BODY)
    return poses


def _add_ranges(recording: Recording, layout: Layout, stamps: np.ndarray, grid: np.ndarray) -> None:
    previous = -np.inf
    for stamp, tags in zip(stamps, grid, strict=True):
        if stamp <= previous:
            continue
        previous = stamp
        for t, row in enumerate(tags):
            topic = layout.tag_topic(f"tag{t}", "range")
            for a, value in enumerate(row):
                if np.isfinite(value) and value > 0.0:
                    recording.add_range(topic, stamp, f"a{a}", value)

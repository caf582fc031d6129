"""Labelled ranges: every range of a bag with the geometry and the error that the truth gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.recorded import TRUTH_TOPIC, interpolated, reached, scored, scoring
from nn_estimation.uwb.features import POWER_FIELDS, power_sources
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.replay import layout_of

MAX_TRUTH_GAP = 0.5  # [s] between two poses of the truth that is still interpolated


class SampleError(ValueError):
    """A bag that cannot be learned from; the message says what it lacks."""


@dataclass(frozen=True)
class Samples:
    """N ranges of one or more recordings, in the order of their stamps within each."""

    recording: np.ndarray  # (N,) int64, index into `recordings`
    stamp: np.ndarray  # (N,) [s]
    link: np.ndarray  # (N,) int64, index into `links`
    geometry: np.ndarray  # (N, 10) at the true pose, columns GEOMETRY_FIELDS
    power: np.ndarray  # (N, 12), columns POWER_FIELDS, NaN where absent
    error: np.ndarray  # (N,) [m] measured - true
    recordings: tuple[str, ...]
    links: tuple[str, ...]  # tag|anchor or tag|anchorA-anchorB
    licences: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.error)

    def __getitem__(self, index: np.ndarray | slice) -> Samples:
        """The samples at `index` (mask, indices or slice); names stay."""
        columns = ("recording", "stamp", "link", "geometry", "power", "error")
        return replace(self, **{name: getattr(self, name)[index] for name in columns})

    @property
    def distance(self) -> np.ndarray:
        """(N,) [m] what an unbiased sensor measures, negative where a TDoA is."""
        return true_difference(self.geometry)

    @property
    def is_tdoa(self) -> bool:
        """Whether the links are differences of two anchors."""
        return any("-" in name.split("|")[1] for name in self.links)


def read_samples(
    bags: Sequence[str | Path],
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    anchors: str | Path | None = None,
) -> Samples:
    """The scored ranges of bags with a truth.

    Args:
        bags: paths.
        remap: topic in a bag -> name it is read as; names a bag lacks are ignored for that bag.
        truth: topic of the true Odometry, default `TRUTH_TOPIC`.
        anchors: YAML file with the layout; default: that in each bag.

    Raises:
        SampleError: no truth, or no range of the layout that it covers.
        BagError, LayoutError, CdrError: of the bag.
    """
    parts = [read_recording(bag, remap, truth, anchors) for bag in bags]
    if not parts:
        raise SampleError("no bags to read: give at least one")
    links = tuple(sorted({name for part in parts for name in part.links}))
    index = {name: i for i, name in enumerate(links)}
    renumbered = []
    for number, part in enumerate(parts):
        table = np.array([index[name] for name in part.links], dtype=np.int64)
        renumbered.append(replace(part, link=table[part.link], recording=np.full(len(part), number)))
    columns = {
        name: np.concatenate([getattr(part, name) for part in renumbered])
        for name in ("recording", "stamp", "link", "geometry", "power", "error")
    }
    return Samples(
        **columns,
        recordings=tuple(part.recordings[0] for part in parts),
        links=links,
        licences=tuple(part.licences[0] for part in parts),
    )


def read_recording(
    bag: str | Path,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    anchors: str | Path | None = None,
) -> Samples:
    """The scored ranges of one bag; see `read_samples`."""
    with BagReader(bag, remap) as reader:
        layout = layout_of(reader, anchors)
        custom = reader.custom_data
        table, power, poses, strangers = _collect(reader, layout, truth or TRUTH_TOPIC)
    if len(poses) < 2:
        raise SampleError(f"{bag} has no truth on {truth or TRUTH_TOPIC}: name its topic with --truth")
    if not table:
        only = f", only of anchors that the layout lacks: {', '.join(sorted(strangers))}" if strangers else ""
        raise SampleError(f"{bag} has no ranges of the tags {', '.join(t.name for t in layout.tags)}{only}")
    samples = _label(
        layout, table, power, np.array(poses), Path(bag).name, custom.get("licence", "not stated")
    )
    samples = samples[_scored(samples, custom)]
    if not len(samples):
        raise SampleError(f"no range of {bag} has a truth within {MAX_TRUTH_GAP} s, or none is scored")
    return samples


_Row = tuple[int, int, int, int, float]  # stamp [ns], tag, anchor a, anchor b, measured


def _collect(
    reader: BagReader, layout: Layout, truth: str
) -> tuple[
    list[_Row], dict[tuple[int, int, str], tuple[float, float, float]], list[tuple[float, ...]], set[str]
]:
    topics: dict[str, tuple[str, int]] = {truth: ("truth", 0)}
    for number, name in enumerate(layout.tag_index):
        for kind in ("range", "tdoa", "power"):
            topics[layout.tag_topic(name, kind)] = (kind, number)
    types = {"truth": cdr.ODOMETRY, "power": cdr.VECTOR3}
    reader.expect({t: types.get(kind, cdr.RANGE) for t, (kind, _) in topics.items()}, "--remap or --truth")
    rows: list[_Row] = []
    power: dict[tuple[int, int, str], tuple[float, float, float]] = {}
    poses: list[tuple[float, ...]] = []
    strangers: set[str] = set()
    anchors = layout.anchor_index
    for topic, _, data in reader.raw([topic for topic in topics if topic in reader.topics]):
        kind, tag = topics[topic]
        if kind == "truth":
            pose = cdr.decode_odometry(data)
            if is_pose(pose):
                poses.append((pose.stamp_ns * 1e-9, *pose.position, *pose.quaternion))
        elif kind == "power":
            vector = cdr.decode_vector3(data)
            power[vector.stamp_ns, tag, vector.frame_id] = (vector.x, vector.y, vector.z)
        else:
            message = cdr.decode_range(data)
            first, _, second = message.frame_id.partition("-")
            a = anchors.get(first, -1)
            b = anchors.get(second, -1) if second else NO_ANCHOR
            known = a >= 0 and (not second or b >= 0)
            if not known:
                strangers.add(message.frame_id)
            elif np.isfinite(message.range) and (second or message.range > 0.0):
                rows.append((message.stamp_ns, tag, a, b, message.range))
    return rows, power, poses, strangers


def is_pose(message: cdr.OdometryMessage) -> bool:
    """Whether a truth has a stamp, a position and a rotation; trackers send others when they lose sight."""
    norm = float(np.linalg.norm(message.quaternion))
    return message.stamp_ns > 0 and bool(np.isfinite(message.position).all()) and 0.9 < norm < 1.1


def _label(
    layout: Layout,
    rows: list[_Row],
    powers: dict[tuple[int, int, str], tuple[float, float, float]],
    poses: np.ndarray,
    name: str,
    licence: str,
) -> Samples:
    stamp_ns = np.array([row[0] for row in rows], dtype=np.int64)
    tag, a, b = (np.array([row[i] for row in rows], dtype=np.int64) for i in (1, 2, 3))
    measured = np.array([row[4] for row in rows])
    order = np.lexsort((b, a, tag, stamp_ns))
    stamp_ns, tag, a, b, measured = (x[order] for x in (stamp_ns, tag, a, b, measured))
    stamps, pose = np.unique(stamp_ns * 1e-9, return_inverse=True)
    position, R, covered = _interpolate(poses, stamps)
    geometry = link_geometry(layout, position, R, tag, a, b, pose.astype(np.int64))
    keys, link = np.unique(np.stack([tag, a, b], axis=1), axis=0, return_inverse=True)
    tags, anchors = layout.tags, layout.anchors
    ends = [(tags[t].name, anchors[i].name, None if j == NO_ANCHOR else anchors[j].name) for t, i, j in keys]
    power = np.full((len(rows), len(POWER_FIELDS)), np.nan)
    if powers:
        sources = [power_sources(*end) for end in ends]
        for n, (ns, t, number) in enumerate(zip(stamp_ns.tolist(), tag.tolist(), link.tolist(), strict=True)):
            for column, frame in sources[number].items():
                if (value := powers.get((ns, t, frame))) is not None:
                    power[n, column : column + 3] = value
    names = tuple(f"{t}|{i}" if j is None else f"{t}|{i}-{j}" for t, i, j in ends)
    samples = Samples(
        np.zeros(len(rows), dtype=np.int64),
        stamps[pose],
        link.astype(np.int64),
        geometry,
        power,
        measured - true_difference(geometry),
        (name,),
        names,
        (licence,),
    )
    return samples[covered[pose]]


def _interpolate(poses: np.ndarray, stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (M, 3), rotations (M, 3, 3) at stamps, and whether the truth covers them."""
    poses = poses[np.argsort(poses[:, 0], kind="stable")]
    poses = poses[np.diff(poses[:, 0], prepend=-np.inf) > 0]
    times = poses[:, 0]
    at = np.clip(stamps, times[0], times[-1])
    rotation = Slerp(times, Rotation.from_quat(poses[:, 4:8]))(at).as_matrix()
    return interpolated(at, times, poses[:, 1:4]), rotation, reached(stamps, times, MAX_TRUTH_GAP)


def _scored(samples: Samples, custom_data: Mapping[str, str]) -> np.ndarray:
    limit = scoring(custom_data).get("max_abs_error_m", np.inf)
    return (np.abs(samples.error) < float(limit)) & scored(samples.stamp, custom_data)

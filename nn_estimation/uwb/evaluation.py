"""Evaluation: every method on the same recordings, side by side, against the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.evaluation import Evaluation, unused
from nn_estimation.inference import Model
from nn_estimation.metrics import pose_metrics, range_metrics
from nn_estimation.recorded import TRUTH_TOPIC, interpolated, reached
from nn_estimation.traces import ErrorTrace, PoseTrace
from nn_estimation.uwb.bias import METHODS, BiasModel, link_name
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import Corrected, EstimatorParams, UwbEstimator
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.localization import PoseEstimate
from nn_estimation.uwb.replay import layout_of, replay
from nn_estimation.uwb.samples import MAX_TRUTH_GAP, Samples, is_pose, read_recording
from nn_estimation.uwb.stream import UwbStream

TASK = "uwb"
SETTLED = 2.0  # [s] after the first pose from which on poses are scored
MIN_TRACKED = 0.5  # share of epochs with a pose below which a recording counts as not localizable


@dataclass
class RangeEvaluation(Evaluation[tuple[ErrorTrace, PoseTrace | None]]):
    """With what the figures name."""

    links: list[str] = field(default_factory=list)
    layouts: dict[str, Layout] = field(default_factory=dict)


class SideBySide:
    """Several estimators with the face of one: each sees the same epochs in its own closed loop."""

    def __init__(self, estimators: Sequence[UwbEstimator]) -> None:
        self.estimators = list(estimators)
        self.layout = estimators[0].layout

    def reset(self) -> None:
        """Reset all."""
        for estimator in self.estimators:
            estimator.reset()

    def update_imu(self, stamp: float, gyro: np.ndarray, accel: np.ndarray) -> None:
        """To all."""
        for estimator in self.estimators:
            estimator.update_imu(stamp, gyro, accel)

    def update_pose(self, stamp: float, position: np.ndarray, quaternion: np.ndarray) -> None:
        """To all."""
        for estimator in self.estimators:
            estimator.update_pose(stamp, position, quaternion)

    def update(self, epoch: Epoch) -> list[Corrected]:
        """One result an estimator."""
        return [estimator.update(epoch) for estimator in self.estimators]


def evaluate(
    bags: Sequence[str | Path],
    model_path: str | Path,
    *,
    methods: Sequence[str] = METHODS,
    remap: Mapping[str, str] | None = None,
    truth: str | None = None,
    anchors: str | Path | None = None,
    params: EstimatorParams | None = None,
    progress: Callable[[str], None] | None = None,
) -> RangeEvaluation:
    """Run the methods of a model over bags.

    Each method localizes in a closed loop on its own corrected ranges, and its range errors are those at its
    own predicted geometry. Where the anchors cannot locate the body, or a method loses it, the geometry of all
    methods is the true one, and a note says so. All methods are scored on the same ranges, rejected ones included.

    Args:
        bags: with a truth.
        model_path: ONNX file of the task uwb_bias or uwb_tdoa_bias.
        methods: among raw, constant, affine, ridge, network.
        remap: topic in a bag -> name it is read as.
        truth: topic of the true Odometry.
        anchors: YAML file with the layout; default: that in each bag.
        params: of the estimators.
        progress: is told what is being done.

    Raises:
        SampleError, BagError, LayoutError, ModelError: as their modules say.
    """
    say = progress or (lambda _: None)
    model = Model.load(model_path)
    traces: dict[str, dict[str, tuple[ErrorTrace, PoseTrace | None]]] = {}
    layouts: dict[str, Layout] = {}
    links: list[str] = []
    notes: list[str] = []
    for path in bags:
        say(f"reading {path}")
        samples = read_recording(path, remap, truth, anchors)
        name = unused(samples.recordings[0], traces)
        with BagReader(path, remap) as bag:
            layouts[name] = layout = layout_of(bag, anchors)
            table = load_bias_models(model, layout)
            chosen = [table[method] for method in methods]
            found, why = None, "the anchors do not locate the body"
            if localizable(layout, samples):
                say(f"localizing {name} with {', '.join(methods)}")
                found = _closed_loop(bag, layout, chosen, samples, truth or TRUTH_TOPIC, params)
                why = "a method lost track of the body for most of the time"
            if found is None:
                notes.append(f"{name}: {why}, geometry from the truth")
                found = {m.method: (_open_loop(m, layout, samples), None) for m in chosen}
        _number_links(found, samples.links, links)
        traces[name] = found
    return RangeEvaluation(_results(model_path, traces, methods), traces, notes, links, layouts)


def localizable(layout: Layout, samples: Samples) -> bool:
    """Whether enough anchors are heard to fix a position: 3 in the plane, else 4; a TDoA pair counts once."""
    ends = [name.split("|")[1].split("-") for name in samples.links]
    anchors = {end for pair in ends for end in pair}
    needed = 3 if layout.planar_z is not None else 4
    return len(anchors) >= needed


def _closed_loop(
    bag: BagReader,
    layout: Layout,
    models: Sequence[BiasModel],
    samples: Samples,
    truth: str,
    params: EstimatorParams | None,
) -> dict[str, tuple[ErrorTrace, PoseTrace | None]] | None:
    stream = UwbStream(SideBySide([UwbEstimator(layout, model, params) for model in models]))  # type: ignore[arg-type]
    rows = _RowFinder(samples, layout)
    sample_rows: list[np.ndarray] = []
    stamps: list[float] = []
    errors: list[list[np.ndarray]] = [[] for _ in models]
    sigmas: list[list[np.ndarray]] = [[] for _ in models]
    poses: list[list[PoseEstimate | None]] = [[] for _ in models]
    results: Sequence[Corrected]
    for results in replay(bag, stream):  # type: ignore[assignment]
        epoch = results[0].epoch
        row, at = rows.of(epoch)
        stamps.append(epoch.stamp)
        sample_rows.append(row)
        for i, result in enumerate(results):
            errors[i].append(result.corrected[at])
            sigmas[i].append(result.variance[at])
            poses[i].append(result.pose)
    tracked = min(sum(pose is not None for pose in each) for each in poses) if stamps else 0
    if tracked < MIN_TRACKED * len(stamps) or not stamps:
        return None
    index = np.concatenate(sample_rows)
    scored = samples[index]
    true_poses = _true_poses(bag, truth)
    out: dict[str, tuple[ErrorTrace, PoseTrace | None]] = {}
    for i, model in enumerate(models):
        error = np.concatenate(errors[i]) - scored.distance
        trace = _error_trace(scored, error, np.sqrt(np.concatenate(sigmas[i])))
        out[model.method] = (trace, _pose_trace(layout, poses[i], true_poses))
    return out


class _RowFinder:
    """Rows of samples that the links of an epoch are."""

    def __init__(self, samples: Samples, layout: Layout) -> None:
        self._stamps, start = np.unique(samples.stamp, return_index=True)
        self._start = np.append(start, len(samples))
        self._link = samples.link
        number = {name: i for i, name in enumerate(samples.links)}
        tags, anchors = [t.name for t in layout.tags], [a.name for a in layout.anchors]
        self._numbers: dict[tuple[int, int, int], int] = {}
        for t, tag in enumerate(tags):
            for a, first in enumerate(anchors):
                self._numbers[t, a, NO_ANCHOR] = number.get(link_name(tag, first), -1)
                for b, second in enumerate(anchors):
                    self._numbers[t, a, b] = number.get(link_name(tag, first, second), -1)

    def of(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """(K,) sample rows and (K,) positions in the epoch of the links that are scored."""
        i = int(np.searchsorted(self._stamps, epoch.stamp))
        none = np.empty(0, dtype=np.int64)
        if i == len(self._stamps) or self._stamps[i] != epoch.stamp:
            return none, none
        begin, end = self._start[i], self._start[i + 1]
        row_of = {int(link): begin + k for k, link in enumerate(self._link[begin:end])}
        keys = zip(epoch.tag.tolist(), epoch.anchor_a.tolist(), epoch.anchor_b.tolist(), strict=True)
        pairs = [
            (row_of[number], n) for n, key in enumerate(keys) if (number := self._numbers[key]) in row_of
        ]
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def _open_loop(model: BiasModel, layout: Layout, samples: Samples) -> ErrorTrace:
    """The method at the true geometry."""
    tags, anchors = layout.tag_index, layout.anchor_index
    ends = []
    for name in samples.links:
        tag, _, pair = name.partition("|")
        first, _, second = pair.partition("-")
        ends.append((tags[tag], anchors[first], anchors[second] if second else NO_ANCHOR))
    index = np.array(ends, dtype=np.int64)[samples.link]
    measured = samples.distance + samples.error
    tag_column, a, b = (np.ascontiguousarray(index[:, i]) for i in range(3))
    epoch = Epoch(0.0, tag_column, a, b, measured, np.zeros(len(samples)), samples.power)
    bias = model.predict(epoch, samples.geometry)
    return _error_trace(samples, samples.error - bias.bias, np.sqrt(bias.variance))


def _error_trace(samples: Samples, error: np.ndarray, sigma: np.ndarray) -> ErrorTrace:
    return ErrorTrace(samples.stamp, error, sigma, samples.link, samples.geometry[:, 1], samples.distance)


def _true_poses(bag: BagReader, topic: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (M,) [s], positions (M, 3) [m] and quaternions (M, 4) of the truth."""
    messages = [m for _, _, data in bag.raw([topic]) if is_pose(m := cdr.decode_odometry(data))]
    stamps = np.array([message.stamp_ns * 1e-9 for message in messages])
    stamps, first = np.unique(stamps, return_index=True)
    position = np.array([messages[i].position for i in first])
    return stamps, position, np.array([messages[i].quaternion for i in first])


def _pose_trace(
    layout: Layout,
    poses: Sequence[PoseEstimate | None],
    truth: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> PoseTrace | None:
    """Settled estimates where the truth has no gap."""
    stamps, position, quaternion = truth
    begin = next(pose.stamp for pose in poses if pose is not None) + SETTLED
    kept = [p for p in poses if p is not None and begin <= p.stamp and stamps[0] <= p.stamp <= stamps[-1]]
    at = np.array([pose.stamp for pose in kept])
    covered = reached(at, stamps, MAX_TRUTH_GAP)
    kept = [pose for pose, use in zip(kept, covered, strict=True) if use]
    at = at[covered]
    if len(at) < 2:
        return None
    true_rotation = Slerp(stamps, Rotation.from_quat(quaternion))(at).as_matrix()
    return PoseTrace(
        stamp=at,
        position=np.array([pose.position for pose in kept]),
        truth=interpolated(at, stamps, position),
        covariance=np.array([pose.covariance[:3, :3] for pose in kept]),
        yaw=np.array([np.arctan2(pose.R_world_body[1, 0], pose.R_world_body[0, 0]) for pose in kept]),
        yaw_truth=np.arctan2(true_rotation[:, 1, 0], true_rotation[:, 0, 0]),
        dimensions=2 if layout.planar_z is not None else 3,
    )


def _number_links(
    found: dict[str, tuple[ErrorTrace, PoseTrace | None]], names: Sequence[str], links: list[str]
) -> None:
    """Renumber the links of a recording into the list of all."""
    links.extend(name for name in names if name not in links)
    table = np.array([links.index(name) for name in names], dtype=np.int64)
    shared = None
    for trace, _ in found.values():
        shared = table[trace.link] if shared is None else shared
        trace.link = shared


def _results(
    model_path: str | Path,
    traces: dict[str, dict[str, tuple[ErrorTrace, PoseTrace | None]]],
    methods: Sequence[str],
) -> dict[str, Any]:
    recordings = {
        name: {method: _metrics([found[method]]) for method in methods} for name, found in traces.items()
    }
    summary = {method: _metrics([found[method] for found in traces.values()]) for method in methods}
    return {"task": TASK, "model": str(model_path), "recordings": recordings, "summary": summary}


def _metrics(found: Sequence[tuple[ErrorTrace, PoseTrace | None]]) -> dict[str, float]:
    error = np.concatenate([trace.error for trace, _ in found])
    sigma = np.concatenate([trace.sigma for trace, _ in found if trace.sigma is not None])
    poses = [pose for _, pose in found if pose is not None]
    metrics = range_metrics(error, sigma)
    if poses:
        metrics |= pose_metrics(joined(poses))
    return metrics


def joined(poses: Sequence[PoseTrace]) -> PoseTrace:
    """Pose traces of several recordings as one."""
    return PoseTrace(
        **{name: np.concatenate([getattr(p, name) for p in poses]) for name in _POSE_COLUMNS},
        dimensions=min(pose.dimensions for pose in poses),
    )


_POSE_COLUMNS = ("stamp", "position", "truth", "covariance", "yaw", "yaw_truth")

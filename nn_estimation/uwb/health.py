"""Health of a running estimator: which links are silent, rejected or on the fallback, and why."""

from __future__ import annotations

import math

import numpy as np

from nn_estimation import cdr
from nn_estimation.uwb.bias import BY_MODEL, FALLBACK_NAMES, LEARNED
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.stream import UNKNOWN_ANCHOR, UwbStream

SILENT_AFTER = 1.0  # [s] without a range until an anchor, or all of them, count as silent
SICK_RATIO = 0.5  # innovation test ratio above which a link is no longer healthy


def health(stream: UwbStream) -> list[tuple[str, str, dict[str, object]]]:
    """(aspect, what is wrong or empty, values) of input, links and estimate.

    What was refused is a problem at the two calls after it, what was corrected by a stand-in at one.
    """
    return [_input(stream), _links(stream), _fallback(stream), _estimate(stream)]


def _input(stream: UwbStream) -> tuple[str, str, dict[str, object]]:
    counts: dict[str, object] = {**stream.counts, **stream.sequencer.counts}
    if stream.unknown_anchors:
        counts["unknown anchors"] = _some(stream.unknown_anchors)
    recent = stream.take_recent_refused()
    problems = []
    if recent.unknown_anchors:
        problems.append(
            f"{recent.counts[UNKNOWN_ANCHOR]} ranges of unknown anchors ({_some(recent.unknown_anchors)}): "
            "add them to the layout"
        )
    topics = ", ".join(topic for topic, kind in stream.topics.items() if kind == cdr.RANGE)
    if not stream.last_heard:
        problems.append(f"no ranges yet on {topics}")
    elif (silence := stream.silence) > SILENT_AFTER:
        problems.append(f"no ranges for {silence:.1f} s on {topics}")
    if bad := [f"{n} with {name}" for name, n in recent.counts.items() if n and name != UNKNOWN_ANCHOR]:
        problems.append(", ".join(bad))
    return "input", "; ".join(problems), counts


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5])


def _links(stream: UwbStream) -> tuple[str, str, dict[str, object]]:
    layout = stream.layout
    newest = max(stream.last_heard.values(), default=math.nan)
    values: dict[str, object] = {}
    silent, sick = [], []
    for key, stamp in stream.last_heard.items():
        tag, a, b = key
        name = f"{layout.tags[tag].name}|{layout.anchors[a].name}"
        name += f"-{layout.anchors[b].name}" if b != NO_ANCHOR else ""
        ratio = stream.estimator.ratios.get(key, math.nan)
        values[f"test ratio {name}"] = ratio
        if newest - stamp > SILENT_AFTER:
            silent.append(name)
        elif ratio > SICK_RATIO:
            sick.append(name)
    problems = []
    if silent:
        problems.append(f"silent: {', '.join(silent)}")
    if sick:
        problems.append(f"innovations too large: {', '.join(sick)}")
    return "links", "; ".join(problems), values


def _fallback(stream: UwbStream) -> tuple[str, str, dict[str, object]]:
    method = stream.estimator.model.method
    recent = stream.estimator.take_recent_fallbacks()
    total, by_model = int(recent.sum()), int(recent[BY_MODEL])
    problem = ""
    if total and by_model < 0.5 * total:
        recent[BY_MODEL] = 0
        worst = FALLBACK_NAMES[int(np.argmax(recent))]
        stand_in = "affine" if method in LEARNED else "mean"
        problem = f"{1 - by_model / total:.0%} of the ranges use the {stand_in} calibration: {worst}"
    return "fallback", problem, {"method": method, **stream.estimator.fallbacks}


def _estimate(stream: UwbStream) -> tuple[str, str, dict[str, object]]:
    estimator = stream.estimator
    values: dict[str, object] = dict(estimator.counts)
    if estimator.params.external_pose:
        state = ""
        if not estimator.pose_source.fresh(stream.newest):
            state = "the pose source has stopped or not begun"
        elif estimator.pose_gate.doubted:
            state = "the ranges contradict the pose source: another frame, other anchors, or it has drifted"
        return "pose", state, values
    localization = estimator.localization
    values["restarts"] = localization.restarts
    values["uses imu"] = localization.uses_imu
    if not localization.tracking:
        return (
            "pose",
            "no position yet: too few anchors are heard, or the ranges contradict each other",
            values,
        )
    values["position std [m]"] = float(np.sqrt(np.trace(localization.P[:3, :3])))
    return "pose", "", values

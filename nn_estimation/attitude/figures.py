"""Figures of an attitude evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import erf, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nn_estimation.attitude.evaluation import AttitudeTrace
from nn_estimation.report import COLOURS, Picture

Traces = Mapping[str, Mapping[str, AttitudeTrace]]  # recording, method
Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # recording, method, metric
MOST_POINTS = 4000  # of a line
BREAK = 0.5  # [s] without a scored sample, from which on a line breaks
OVER_TIME = ("vqf", "filter", "network")  # the rows that differ from these by a latency alone would hide them
COMPARED = ("vqf", "vqf_latency", "filter", "network")
WIDTHS = {"filter": 2.8}  # it shows on both sides of a network that equals it
FAINT = {"filter": 0.45}
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)  # ends, box and median


def pictures(traces: Traces, rows: Rows) -> list[Picture]:
    """The errors over time where the network does worst, those of all recordings by method, and their bounds.

    Args:
        traces: of all recordings.
        rows: their metrics.
    """
    worst = max(rows, key=lambda name: rows[name]["network"]["total_deg"])
    found = [_over_time(worst, traces[worst], len(traces) > 1), _boxes(traces)]
    if len(traces) > 1:
        found.append(_by_recording(rows))
    if any(trace.covariance is not None for methods in traces.values() for trace in methods.values()):
        found.append(_coverage(traces))
    return found


def _axes(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _style(method: str) -> dict[str, object]:
    return {"color": COLOURS[method], "lw": WIDTHS.get(method, 0.9), "alpha": FAINT.get(method, 1.0)}


def _over_time(name: str, methods: Mapping[str, AttitudeTrace], one_of_many: bool) -> Picture:
    figure, axes = _axes(9.0, 5.4, 2)
    panels: list[tuple[Axes, Callable[[AttitudeTrace], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = [
        (axes[0], lambda t: t.errors.inclination, lambda P: np.trace(P[:, :2, :2], axis1=1, axis2=2)),
        (axes[1], lambda t: t.errors.heading, lambda P: P[:, 2, 2]),
    ]
    for ax, error, variance in panels:
        low, high = np.inf, -np.inf
        for method in OVER_TIME:
            trace = methods[method]
            time, shown, bound = _line(trace, np.degrees(error(trace)), variance)
            ax.plot(time, shown, **_style(method), label=method if ax is axes[0] else None)  # type: ignore[arg-type]
            low, high = min(low, np.nanquantile(shown, 0.001)), max(high, np.nanquantile(shown, 0.999))
            if method == "network" and bound is not None:
                floor = 0.0 if ax is axes[0] else -bound
                label = "network, 2σ" if ax is axes[0] else None
                ax.fill_between(time, floor, bound, color=COLOURS[method], alpha=0.16, lw=0, label=label)
                usual = np.nanmedian(bound)
                low, high = min(low, -usual), max(high, usual)
        room = 0.15 * (high - low) + 1e-3
        ax.set_ylim(0.0 if ax is axes[0] else min(low, 0.0) - room, max(high, 0.0) + room)
    axes[1].axhline(0, color="black", lw=0.8)
    axes[0].set(ylabel="inclination error [°]")
    axes[0].tick_params(labelbottom=False)
    axes[1].sharex(axes[0])
    axes[1].set(xlabel="time since the first scored sample [s]", ylabel="heading error [°]")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4)
    which = "The recording on which the network errs most. " if one_of_many else ""
    caption = (
        f"{which}Scored samples only; the bands are two predicted standard deviations. An error outside its band is "
        "a filter too sure of itself."
    )
    return Picture("error_over_time", f"Tilt and heading error: {name}", caption, figure)


def _line(
    trace: AttitudeTrace, error: np.ndarray, variance: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Time [s], error and two predicted standard deviations [deg], thinned, with NaN where no sample is scored."""
    rows = np.arange(0, len(trace.stamp), max(1, len(trace.stamp) // MOST_POINTS))
    time = trace.stamp[rows] - trace.stamp[0]
    gaps = np.flatnonzero(np.diff(time) > BREAK) + 1
    bound = None
    if trace.covariance is not None:
        bound = np.insert(2.0 * np.degrees(np.sqrt(variance(trace.covariance[rows]))), gaps, np.nan)
    return np.insert(time, gaps, time[gaps - 1]), np.insert(error[rows], gaps, np.nan), bound


def _boxes(traces: Traces) -> Picture:
    figure, axes = _axes(9.0, 3.8, 1, 2)
    for ax, kind in zip(axes, ("inclination", "heading"), strict=True):
        boxes, colours = [], []
        for method, first in next(iter(traces.values())).items():
            if kind == "heading" and not first.heading:
                continue
            found = [np.abs(getattr(methods[method].errors, kind)) for methods in traces.values()]
            low, q1, median, q3, high = np.degrees(np.quantile(np.concatenate(found), SHARES))
            boxes.append(
                {
                    "label": method,
                    "whislo": low,
                    "q1": q1,
                    "med": median,
                    "q3": q3,
                    "whishi": high,
                    "fliers": [],
                }
            )
            colours.append(COLOURS[method])
        drawn = ax.bxp(boxes, showfliers=False, patch_artist=True, widths=0.6)
        for box, colour in zip(drawn["boxes"], colours, strict=True):
            box.set(facecolor=colour, alpha=0.75, lw=0.8)
        for median in drawn["medians"]:
            median.set(color="black", lw=1.4)
        reach = max(box["whishi"] for box in boxes if box["label"] in COMPARED)  # type: ignore[type-var]
        ax.set(ylabel=f"{kind} error [°]", ylim=(0.0, 2.0 * reach + 1e-3))
        ax.grid(axis="x", visible=False)
        ax.tick_params(axis="x", labelrotation=30)
    caption = (
        "Median, quartiles, and from 5 to 95 % of the magnitude of the error at all scored samples; what leaves the "
        "figure goes on."
    )
    return Picture("boxes", "Errors by method", caption, figure)


def _by_recording(rows: Rows) -> Picture:
    figure, axes = _axes(9.0, 0.9 + 0.5 * len(rows), 1, 2)
    at = np.arange(len(rows))
    height = 0.8 / len(COMPARED)
    for ax, kind in zip(axes, ("inclination", "total"), strict=True):
        for i, method in enumerate(COMPARED):
            values = [methods[method][f"{kind}_deg"] for methods in rows.values()]
            label = method if ax is axes[0] else None
            ax.barh(at + (i - 1.5) * height, values, 0.9 * height, color=COLOURS[method], label=label)
        ax.set(xlabel=f"{kind} RMSE [°]")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(at, [_short(name) for name in rows], fontsize=8)
    axes[1].set_yticks(at, [""] * len(rows))
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4)
    caption = (
        "A method that is better in the mean should not be worse anywhere: a recording is what a user has."
    )
    return Picture("by_recording", "Recording by recording", caption, figure)


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"


def _coverage(traces: Traces) -> Picture:
    figure, axes = _axes(9.0, 4.0, 1, 2)
    sigmas = np.linspace(0.1, 3.0, 30)
    nominal = 100 * np.array([erf(s / sqrt(2.0)) for s in sigmas])
    for ax, kind in zip(axes, ("tilt", "heading"), strict=True):
        ax.plot([0, 100], [0, 100], color="black", lw=0.8, ls="--")
        for method, first in next(iter(traces.values())).items():
            if first.covariance is None:
                continue
            normal = np.concatenate([_normalised(methods[method], kind) for methods in traces.values()])
            found = [100 * np.mean(normal <= s) for s in sigmas]
            ax.plot(nominal, found, **_style(method), label=method if ax is axes[0] else None)  # type: ignore[arg-type]
        ax.set(title=kind, xlabel="predicted share [%]", ylabel="found [%]", xlim=(0, 100), ylim=(0, 100))
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4)
    caption = (
        "How often errors lie within their predicted bounds, against how often they should: below the dashed line "
        "the bounds are too small."
    )
    return Picture("coverage", "Are the uncertainties true", caption, figure)


def _normalised(trace: AttitudeTrace, kind: str) -> np.ndarray:
    """Magnitudes of single errors by their predicted standard deviations."""
    assert trace.covariance is not None
    variance = np.diagonal(trace.covariance, axis1=1, axis2=2)
    if kind == "heading":
        return np.abs(trace.errors.heading) / np.sqrt(variance[:, 2])
    return (np.abs(trace.errors.tilt) / np.sqrt(variance[:, :2])).ravel()

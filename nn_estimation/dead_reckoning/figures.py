"""Figures of a dead-reckoning evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from nn_estimation.dead_reckoning.evaluation import DriveTrace
from nn_estimation.dead_reckoning.tuning import pooled
from nn_estimation.metrics import SEGMENTS
from nn_estimation.report import COLOURS, Picture

Traces = Mapping[str, Sequence[DriveTrace]]
MOST_POINTS = 4000  # of a line
WIDTHS = {
    "constant": 1.1,
    "tuned": 3.0,
    "network": 1.1,
}  # tuned shows on both sides of a network that equals it
FAINT = {"tuned": 0.45}


def pictures(name: str, traces: Traces) -> list[Picture]:
    """What one recording shows: the path, its errors with their bounds, and what the network said."""
    found = [_path(name, traces)]
    if any(len(trace.segments.length) for trace in traces[next(iter(traces))]):
        found.append(_by_length(name, traces))
    found += [_speed(name, traces), _error_over_time(name, traces)]
    if _says_something(traces):
        found.append(_learned(name, traces))
    return found


def _axes(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: list[Axes] = []
    for i in range(rows):
        axes.append(figure.add_subplot(rows, 1, i + 1, sharex=axes[0] if axes else None))
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    return figure, axes


def _line(stretches: Sequence[DriveTrace], values: Callable[[DriveTrace], np.ndarray]) -> np.ndarray:
    """Values of all stretches one after the other, thinned, with NaN between two so that a line breaks there."""
    step = max(1, sum(len(trace.stamp) for trace in stretches) // MOST_POINTS)
    parts: list[np.ndarray] = []
    for trace in stretches:
        found = np.asarray(values(trace), dtype=float)[::step]
        parts += [found, np.full((1, *found.shape[1:]), np.nan)]
    return np.concatenate(parts[:-1])


def _time(traces: Traces) -> np.ndarray:
    stretches = next(iter(traces.values()))
    return _line(stretches, lambda trace: trace.stamp - stretches[0].stamp[0])


def _style(method: str) -> dict[str, object]:
    return {"color": COLOURS[method], "lw": WIDTHS[method], "alpha": FAINT.get(method, 1.0)}


def _path(name: str, traces: Traces) -> Picture:
    truth = _line(next(iter(traces.values())), lambda trace: trace.true_position[:, :2])
    extent = np.ptp(truth[np.isfinite(truth[:, 0])], axis=0) + 1.0
    tall = bool(extent[1] > extent[0])
    figure, (ax,) = _axes(*((6.5, 7.5) if tall else (9.0, 6.0)))
    for method, stretches in traces.items():
        rmse = np.sqrt(np.mean(np.concatenate([np.sum(t.position_error**2, axis=1) for t in stretches])))
        path = _line(stretches, lambda trace: trace.position[:, :2])
        ax.plot(*path.T, **_style(method), label=f"{method}, RMSE {rmse:.1f} m")  # type: ignore[arg-type]
    ax.plot(*truth.T, color="black", lw=1.1, ls="--", label="truth")
    begins = np.array([trace.true_position[0, :2] for trace in next(iter(traces.values()))])
    ax.plot(*begins.T, "o", color="black", ms=6, label="begin")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="east [m]", ylabel="north [m]")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=3)
    caption = "Seen from above: each method goes from the true start by the IMU alone; nothing is aligned."
    return Picture("path", f"Where the vehicle was: {name}", caption, figure)


def _by_length(name: str, traces: Traces) -> Picture:
    figure, (ax,) = _axes(9.0, 3.4)
    width = 80.0 / len(traces)
    for i, (method, stretches) in enumerate(traces.items()):
        segments = pooled([trace.segments for trace in stretches])
        present = [length for length in SEGMENTS if (segments.length == length).any()]
        share = [100.0 * segments.translation[segments.length == length].mean() for length in present]
        at = np.array(present) + width * (i - 0.5 * (len(traces) - 1))
        label = f"{method}, {segments.t_rel_percent:.2f} %"
        ax.bar(at, share, 0.9 * width, color=COLOURS[method], label=label)
    ax.set(xlabel="length of the segment [m]", ylabel="displacement error [%]")
    ax.set_xticks(SEGMENTS)
    ax.grid(axis="x", visible=False)
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=3)
    caption = (
        "Error of the displacement over segments of a length, in per cent of it; the mean of all is t_rel."
    )
    return Picture("by_length", f"Drift by distance: {name}", caption, figure)


def _forward(R: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """(K,) [m/s] along the IMU's x axis."""
    return np.einsum("ni,ni->n", R[:, :, 0], velocity)


def _speed(name: str, traces: Traces) -> Picture:
    figure, (ax, off) = _axes(9.0, 5.0, 2)
    time = _time(traces)
    for method, stretches in traces.items():
        speed = _line(stretches, lambda trace: _forward(trace.R, trace.velocity))
        error = _line(
            stretches,
            lambda t: _forward(t.R, t.velocity) - _forward(t.R_true, t.true_velocity),
        )
        ax.plot(time, speed, **_style(method), label=method)  # type: ignore[arg-type]
        off.plot(time, error, **_style(method))  # type: ignore[arg-type]
    truth = _line(next(iter(traces.values())), lambda t: _forward(t.R_true, t.true_velocity))
    ax.plot(time, truth, color="black", lw=1.0, ls="--", label="truth")
    ax.set(ylabel="forward speed [m/s]")
    off.axhline(0, color="black", lw=0.8)
    off.set(xlabel="time [s]", ylabel="its error [m/s]", ylim=_limits(traces, _speed_error))
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4)
    caption = "Speed along the IMU's x axis; what is wrong with it becomes a distance that grows with time."
    return Picture("speed", f"Forward speed: {name}", caption, figure)


def _speed_error(trace: DriveTrace) -> np.ndarray:
    return _forward(trace.R, trace.velocity) - _forward(trace.R_true, trace.true_velocity)


def _limits(traces: Traces, values: Callable[[DriveTrace], np.ndarray]) -> tuple[float, float]:
    """Of an axis around zero: all but the largest per mille of each method."""
    found = [np.abs(np.concatenate([values(t) for t in stretches])) for stretches in traces.values()]
    reach = 1.15 * max(float(np.quantile(each, 0.999)) for each in found) + 1e-3
    return -reach, reach


def _dotted(ax: Axes, time: np.ndarray, bound: np.ndarray, colour: str, label: str | None) -> None:
    ax.plot(time, bound, color=colour, lw=1.1, ls=":", label=label)
    ax.plot(time, -bound, color=colour, lw=1.1, ls=":")


def _filled(ax: Axes, time: np.ndarray, bound: np.ndarray, colour: str, label: str | None) -> None:
    ax.fill_between(time, -bound, bound, color=colour, alpha=0.14, lw=0, label=label)


BOUNDED = {"constant": _dotted, "network": _filled}  # how the bounds of a method are drawn


def _error_over_time(name: str, traces: Traces) -> Picture:
    figure, axes = _axes(9.0, 7.0, 3)
    time = _time(traces)
    for axis, (ax, label) in enumerate(zip(axes, ("east", "north", "up"), strict=True)):
        for method, stretches in traces.items():
            error = _line(stretches, lambda trace, i=axis: trace.position_error[:, i])  # type: ignore[misc]
            ax.plot(time, error, **_style(method), label=method if axis == 0 else None)  # type: ignore[arg-type]
            if method in BOUNDED:
                bound = 3.0 * _line(
                    stretches,
                    lambda trace, i=axis: np.sqrt(trace.position_covariance[:, i, i]),  # type: ignore[misc]
                )
                BOUNDED[method](ax, time, bound, COLOURS[method], f"{method}, 3σ" if axis == 0 else None)
        ax.axhline(0, color="black", lw=0.8)
        ax.set(ylabel=f"{label} [m]")
    axes[-1].set(xlabel="time [s]")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=5)
    caption = (
        "Error of the position since the start; the bands are three predicted standard deviations. An error outside "
        "its band is a filter too sure of itself, one that stays near zero in a wide band a filter too unsure."
    )
    return Picture("error_over_time", f"Position error: {name}", caption, figure)


def _says_something(traces: Traces) -> bool:
    """Whether the network ever departs from one variance."""
    stretches = traces.get("network", ())
    return any(np.ptp(np.log(trace.variance), axis=0).max() > 1e-3 for trace in stretches)


def _learned(name: str, traces: Traces) -> Picture:
    figure, axes = _axes(9.0, 4.6, 2)
    time = _time(traces)
    for axis, (ax, label) in enumerate(zip(axes, ("lateral", "vertical"), strict=True)):
        for method, stretches in traces.items():
            sigma = _line(stretches, lambda trace, i=axis: np.sqrt(trace.variance[:, i]))  # type: ignore[misc]
            ax.plot(time, sigma, **_style(method), label=method if axis == 0 else None)  # type: ignore[arg-type]
        ax.set(ylabel=f"{label} σ [m/s]", yscale="log")
        low, high = ax.get_ylim()
        ax.set_ylim(low / 1.5, high * 1.5)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[-1].set(xlabel="time [s]")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=3)
    caption = (
        "Standard deviation of the pseudo-measurement that the vehicle slips neither sideways nor upwards, for one "
        "every 0.01 s. Where the network is not trusted it falls back on its constants."
    )
    return Picture("learned", f"The learned covariance: {name}", caption, figure)

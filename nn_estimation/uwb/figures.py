"""Figures of a UWB evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erf, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nn_estimation.report import COLOURS, Picture
from nn_estimation.traces import ErrorTrace, PoseTrace
from nn_estimation.uwb.layout import Layout

Traces = Mapping[str, tuple[ErrorTrace, PoseTrace | None]]
AZIMUTH_BINS = 36
MOST_POINTS = 4000  # of a line


def pictures(name: str, traces: Traces, layout: Layout, links: Sequence[str]) -> list[Picture]:
    """What one recording shows: the path, the errors, and whether the uncertainties are true."""
    found: list[Picture] = []
    if any(pose is not None for _, pose in traces.values()):
        found += [_path(name, traces, layout), _error_over_time(name, traces)]
    found.append(_distribution(name, traces))
    if np.isfinite(next(iter(traces.values()))[0].azimuth).any():
        found.append(_azimuth(name, traces))
    found += [_coverage(name, traces), _links(name, traces, links)]
    return found


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _thin(count: int) -> slice:
    return slice(None, None, max(1, count // MOST_POINTS))


def _path(name: str, traces: Traces, layout: Layout) -> Picture:
    figure, (ax,) = _axes(7.5, 6.5)
    truth = next(pose for _, pose in traces.values() if pose is not None)
    for method in ("raw", "affine", "network"):
        pose = traces[method][1] if method in traces else None
        if pose is not None:
            rmse = 1e3 * np.sqrt(np.mean(np.sum(pose.position_error**2, axis=1)))
            thin = _thin(len(pose.stamp))
            label = f"{method}, RMSE {rmse:.0f} mm"
            ax.plot(*pose.position[thin, :2].T, color=COLOURS[method], lw=1.1, label=label)
    ax.plot(*truth.truth[_thin(len(truth.stamp)), :2].T, color="black", lw=1.1, ls="--", label="truth")
    ax.plot(*layout.anchor_positions[:, :2].T, "^", color="black", ms=8, label="anchors")
    ax.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=3)
    caption = "Seen from above: the position each method finds in a closed loop on its own ranges."
    return Picture("path", f"Where the body was: {name}", caption, figure)


def _error_over_time(name: str, traces: Traces) -> Picture:
    figure, (ax,) = _axes(9.0, 3.6)
    begin = min(pose.stamp[0] for _, pose in traces.values() if pose is not None)
    top = 0.0
    for method in ("raw", "affine", "network"):
        pose = traces[method][1] if method in traces else None
        if pose is None:
            continue
        thin = _thin(len(pose.stamp))
        time = pose.stamp[thin] - begin
        error = np.linalg.norm(pose.position_error, axis=1)[thin]
        ax.plot(time, 1e3 * error, color=COLOURS[method], lw=0.9, label=method)
        top = max(top, float(np.quantile(error, 0.999)))
        if method == "network":
            variance = np.trace(pose.covariance[thin, : pose.dimensions, : pose.dimensions], axis1=1, axis2=2)
            bound = 3e3 * np.sqrt(variance)
            ax.fill_between(time, 0, bound, color=COLOURS[method], alpha=0.15, lw=0, label="network, 3σ")
    ax.set(xlabel="time [s]", ylabel="position error [mm]", ylim=(0, 1.1e3 * top))
    ax.legend(frameon=False, fontsize=9, ncols=4)
    caption = (
        "Distance from the truth; the band is three predicted standard deviations of the network's filter."
    )
    return Picture("error_over_time", f"Position error: {name}", caption, figure)


def _distribution(name: str, traces: Traces) -> Picture:
    figure, (ax,) = _axes(7.5, 4.0)
    share = np.linspace(0.0, 1.0, 400)
    for method, (trace, _) in traces.items():
        ax.plot(np.quantile(np.abs(trace.error), share), 100 * share, color=COLOURS[method], label=method)
    reach = max(float(np.quantile(np.abs(trace.error), 0.99)) for trace, _ in traces.values())
    ax.set(xlabel="range error, magnitude [m]", ylabel="share below [%]", xlim=(0, reach), ylim=(0, 100))
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    caption = "Cumulative distribution of the range errors; the further left and up the better."
    return Picture("distribution", f"Range errors: {name}", caption, figure)


def _azimuth(name: str, traces: Traces) -> Picture:
    figure, (ax,) = _axes(9.0, 3.6)
    edges = np.linspace(-np.pi, np.pi, AZIMUTH_BINS + 1)
    centre = np.degrees((edges[1:] + edges[:-1]) / 2)
    for method in ("raw", "affine", "network"):
        if method not in traces:
            continue
        trace = traces[method][0]
        bins = np.clip(np.digitize(trace.azimuth, edges) - 1, 0, AZIMUTH_BINS - 1)
        groups = [trace.error[bins == b] for b in range(AZIMUTH_BINS)]
        quartiles = np.array(
            [np.quantile(g, (0.25, 0.5, 0.75)) if len(g) > 20 else [np.nan] * 3 for g in groups]
        ).T
        ax.plot(centre, quartiles[1], color=COLOURS[method], label=method)
        ax.fill_between(centre, quartiles[0], quartiles[2], color=COLOURS[method], alpha=0.15, lw=0)
    ax.axhline(0, color="black", lw=0.8)
    ax.set(xlabel="direction of the anchor in the tag's antenna frame [deg]", ylabel="range error [m]")
    ax.set(xlim=(-180, 180), xticks=range(-180, 181, 45))
    ax.legend(frameon=False, fontsize=9, ncols=3)
    caption = "Median and quartiles of the error by the direction a range comes from: the antenna pattern that stays."
    return Picture("azimuth", f"Error by direction: {name}", caption, figure)


def _coverage(name: str, traces: Traces) -> Picture:
    figure, axes = _axes(9.0, 4.0, 2)
    sigmas = np.linspace(0.1, 3.0, 30)
    nominal = 100 * np.array([_inside(s) for s in sigmas])
    for ax, title in zip(axes, ("ranges", "position"), strict=True):
        ax.plot([0, 100], [0, 100], color="black", lw=0.8, ls="--")
        ax.set(title=title, xlabel="predicted share [%]", ylabel="found [%]", xlim=(0, 100), ylim=(0, 100))
    for method, (trace, pose) in traces.items():
        normal = np.abs(trace.error) / trace.sigma
        found = [100 * np.mean(normal <= s) for s in sigmas]
        axes[0].plot(nominal, found, color=COLOURS[method], label=method)
        if pose is not None:
            variance = np.diagonal(pose.covariance, axis1=1, axis2=2)[:, : pose.dimensions]
            normal = np.abs(pose.position_error) / np.sqrt(variance)
            axes[1].plot(nominal, [100 * np.mean(normal <= s) for s in sigmas], color=COLOURS[method])
    axes[0].legend(frameon=False, fontsize=9)
    caption = "How often errors lie within their predicted bounds, against how often they should."
    return Picture("coverage", f"Are the uncertainties true: {name}", caption, figure)


def _inside(sigmas: float) -> float:
    return erf(sigmas / sqrt(2.0))


def _links(name: str, traces: Traces, links: Sequence[str]) -> Picture:
    shown = [method for method in ("affine", "network") if method in traces]
    reference = next(iter(traces.values()))[0]
    present = np.unique(reference.link)
    figure, (ax,) = _axes(max(7.5, 0.32 * len(present) + 2), 3.6)
    at = np.arange(len(present))
    for i, method in enumerate(shown):
        trace = traces[method][0]
        rmse = [np.sqrt(np.mean(trace.error[trace.link == link] ** 2)) for link in present]
        ax.bar(at + 0.4 * i - 0.2, rmse, 0.38, color=COLOURS[method], label=method)
    labels = [links[link] for link in present]
    ax.set_xticks(at, labels, rotation=90, fontsize=8)
    ax.set(ylabel="range RMSE [m]")
    ax.legend(frameon=False, fontsize=9, ncols=2)
    return Picture(
        "links", f"Link by link: {name}", "What the network adds to a calibration of each link.", figure
    )

"""The report: one self-contained HTML page, its figures as PNG, and results.json."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nn_estimation import __version__

DPI = 110
# Okabe and Ito's palette: tells the methods apart for colour-blind readers too.
COLOURS = {
    "raw": "#8c8c8c",
    "constant": "#e69f00",
    "affine": "#0072b2",
    "ridge": "#009e73",
    "tuned": "#0072b2",
    "vqf": "#0072b2",
    "vqf_latency": "#56b4e9",
    "filter": "#009e73",
    "riann": "#cc79a7",
    "madgwick": "#e69f00",
    "imufusion": "#8c8c8c",
    "network": "#d55e00",
}
HEADINGS = {
    "rmse_m": "range RMSE [m]",
    "mae_m": "range MAE [m]",
    "p95_m": "range p95 [m]",
    "bias_m": "mean [m]",
    "std_m": "std [m]",
    "t_rel_percent": "t_rel [%]",
    "r_rel_deg_per_km": "r_rel [°/km]",
    "coverage_1sigma": "in 1σ",
    "coverage_2sigma": "in 2σ",
    "position_rmse_m": "position RMSE [m]",
    "position_p95_m": "position p95 [m]",
    "yaw_rmse_deg": "yaw RMSE [°]",
    "position_coverage_1sigma": "position in 1σ",
    "position_coverage_2sigma": "position in 2σ",
    "end_error_m": "error at the end [m]",
    "position_coverage_3sigma": "position in 3σ",
    "velocity_coverage_3sigma": "velocity in 3σ",
    "position_nees": "position NEES",
    "velocity_nees": "velocity NEES",
    "nis": "NIS",
    "total_deg": "total RMSE [°]",
    "heading_deg": "heading RMSE [°]",
    "inclination_deg": "inclination RMSE [°]",
    "total_p95_deg": "total p95 [°]",
    "total_max_deg": "total max [°]",
    "tilt_coverage_1sigma": "tilt in 1σ",
    "tilt_coverage_2sigma": "tilt in 2σ",
    "heading_coverage_1sigma": "heading in 1σ",
    "heading_coverage_2sigma": "heading in 2σ",
    "network_share": "network spoke",
}
_IN_TEXT = {
    "rmse_m": "rmse [m]",
    "p95_m": "p95 [m]",
    "coverage_1sigma": "in 1 sigma",
    "coverage_2sigma": "in 2 sigma",
    "t_rel_percent": "t_rel [%]",
    "r_rel_deg_per_km": "r_rel [deg/km]",
    "position_rmse_m": "position [m]",
    "position_coverage_1sigma": "in 1 sigma",
    "yaw_rmse_deg": "yaw [deg]",
    "end_error_m": "end [m]",
    "position_coverage_3sigma": "in 3 sigma",
    "position_nees": "NEES",
    "velocity_coverage_3sigma": "velocity: in 3 sigma",
    "velocity_nees": "NEES",
    "nis": "NIS",
    "total_deg": "total [deg]",
    "heading_deg": "heading",
    "inclination_deg": "inclination",
    "total_p95_deg": "p95",
    "total_max_deg": "max",
    "tilt_coverage_2sigma": "tilt: in 2 sigma",
    "heading_coverage_2sigma": "heading: in 2 sigma",
}
_LOWER_IS_BETTER = {
    "rmse_m", "mae_m", "p95_m", "std_m", "position_rmse_m", "position_p95_m", "yaw_rmse_deg", "t_rel_percent",
    "r_rel_deg_per_km", "end_error_m", "total_deg", "heading_deg", "inclination_deg", "total_p95_deg",
    "total_max_deg",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows."""

    name: str  # of the PNG
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Report:
    """What goes on the page."""

    title: str
    verdict: str  # who won and by how much, one sentence
    results: Mapping[
        str, Any
    ]  # {"task", "model", "recordings": {NAME: {METHOD: {METRIC: value}}}, "summary"}
    pictures: Sequence[Picture] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # how it came about: model, digest, command
    notes: Sequence[str] = ()


def write(report: Report, directory: str | Path) -> Path:
    """Write index.html, results.json and the PNGs into a folder, replacing what was there.

    Returns:
        Path of index.html.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(_json(report.results), indent=2) + "\n")
    images = []
    for picture in report.pictures:
        data = BytesIO()
        picture.figure.savefig(data, format="png", dpi=DPI)
        (directory / f"{picture.name}.png").write_bytes(data.getvalue())
        images.append(base64.b64encode(data.getvalue()).decode())
    index = directory / "index.html"
    index.write_text(_page(report, images))
    return index


def page(title: str, parts: Sequence[str]) -> str:
    """An HTML page of parts that are HTML already."""
    head, _, rest = _HTML.partition("TITLE")
    style, _, tail = rest.partition("BODY")
    return "".join((head, html.escape(title), style, "\n".join(parts), tail))


def text_table(results: Mapping[str, Any]) -> str:
    """The results as aligned text: one line a recording and method."""
    columns = [c for c in _IN_TEXT if any(c in row for row in results["summary"].values())]
    lines = [["recording", "method", *(_IN_TEXT[c] for c in columns)]]
    groups = dict(results["recordings"])
    if len(groups) > 1:
        groups["all"] = results["summary"]
    for name, methods in groups.items():
        for method, metrics in methods.items():
            lines.append([name, method, *(_number(column, metrics.get(column)) for column in columns)])
            name = ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(metric: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    if "coverage" in metric or metric.endswith("share"):
        # Three sigma are 99.7 %: whole per cents would not tell.
        return f"{100 * value:.{1 if metric.endswith('3sigma') else 0}f} %"
    if metric.endswith(("nees", "nis")):
        return f"{value:.0f}" if value >= 100.0 else f"{value:.2g}"
    return f"{value:.4f}" if metric.endswith("_m") and abs(value) < 1.0 else f"{value:.2f}"


def _json(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _table(methods: Mapping[str, Mapping[str, float]]) -> str:
    metrics = [m for m in HEADINGS if any(m in row for row in methods.values())]
    best = {}
    for metric in metrics:
        if metric in _LOWER_IS_BETTER:
            finite = {
                k: row[metric] for k, row in methods.items() if math.isfinite(row.get(metric, math.nan))
            }
            best[metric] = min(finite, key=finite.__getitem__, default="")
    head = "".join(f"<th>{HEADINGS[metric]}</th>" for metric in metrics)
    rows = []
    for name, row in methods.items():
        cells = "".join(
            f'<td class="best">{_number(m, row.get(m))}</td>'
            if best.get(m) == name
            else f"<td>{_number(m, row.get(m))}</td>"
            for m in metrics
        )
        swatch = f'<i style="background:{COLOURS.get(name, "#444")}"></i>'
        rows.append(f"<tr><th>{swatch}{html.escape(name)}</th>{cells}</tr>")
    return f'<div class="wide"><table><tr><th>method</th>{head}</tr>{"".join(rows)}</table></div>'


def _page(report: Report, images: Sequence[str]) -> str:
    results = report.results
    parts = [f"<h1>{html.escape(report.title)}</h1>", f'<p class="verdict">{html.escape(report.verdict)}</p>']
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in report.notes]
    parts.append(_table(results["summary"]))
    for picture, image in zip(report.pictures, images, strict=True):
        title, caption = html.escape(picture.title), html.escape(picture.caption)
        parts.append(
            f'<figure><h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{image}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    if len(results["recordings"]) > 1:
        parts.append("<h2>By recording</h2>")
        for name, methods in results["recordings"].items():
            parts.append(f"<h3>{html.escape(name)}</h3>{_table(methods)}")
    facts = {**report.facts, "made with": f"nn_estimation {__version__}"}
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    parts.append(f"<h2>How this came about</h2><dl>{rows}</dl>")
    return page(report.title, parts)


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TITLE</title><style>
:root { color-scheme: light dark; --fg: #1c1e21; --bg: #fff; --soft: #f2f4f6; --line: #d8dce0; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e6e8; --bg: #17191c; --soft: #22262a; --line: #3a4046; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.verdict { font-size: 1.1rem; margin-top: 0; } .note { color: #8a6d00; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } tr:first-child th { font-weight: 600; font-size: .82rem; }
td.best { font-weight: 700; background: var(--soft); }
i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .5em; }
figure { margin: 0; } img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 4px; }
figcaption { font-size: .92rem; max-width: 48rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
</style></head><body>
BODY
</body></html>
"""

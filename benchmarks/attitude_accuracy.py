"""Attitude on BROAD's test trials and on another sensor, RepoIMU: every method, trial by trial, in one run.

nn_estimation import broad BROAD --out bags/broad
nn_estimation import repoimu REPOIMU --out bags/repoimu
python benchmarks/attitude_accuracy.py bags/broad --other bags/repoimu
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nn_estimation.attitude.commands import gains, verdict, worse
from nn_estimation.attitude.evaluation import Evaluation, evaluate
from nn_estimation.attitude.peers import versions
from nn_estimation.attitude.trial import MAG_TOPIC
from nn_estimation.shipped import default_model

TEST = ("04", "08", "12", "18", "27", "31", "36")  # of BROAD: what no model is trained or chosen on
METRICS = ("total_deg", "heading_deg", "inclination_deg")
COVERAGES = tuple(f"{kind}_coverage_{n}sigma" for kind in ("tilt", "heading") for n in (1, 2))


def section(title: str, found: Evaluation) -> list[str]:
    """A table of total / heading / inclination by trial, the bounds, and who won."""
    recordings, summary = found.results["recordings"], found.results["summary"]
    lines = [f"## {title}", "", "RMSE of total / heading / inclination [deg]:", ""]
    lines += [f"| trial | {' | '.join(summary)} |", "|---" * (1 + len(summary)) + "|"]
    for name, rows in {**recordings, "mean": summary}.items():
        cells = (" / ".join(_number(row.get(metric)) for metric in METRICS) for row in rows.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Share within one and two predicted standard deviations (68 and 95 % if true):", ""]
    lines += ["| method | tilt 1σ | tilt 2σ | heading 1σ | heading 2σ |", "|---|---|---|---|---|"]
    for method, row in summary.items():
        if COVERAGES[0] in row:
            lines.append(f"| {method} | {' | '.join(f'{100 * row[each]:.0f} %' for each in COVERAGES)} |")
    said = [verdict(gains(found.traces), found.results), *worse(recordings), *found.notes]
    return [*lines, "", *(f"- {sentence}" for sentence in said), ""]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bags", type=Path, help="folder of the imported BROAD bags")
    parser.add_argument("--other", type=Path, help="folder of the imported RepoIMU bags")
    parser.add_argument("--model", type=Path, help="default: the one that is shipped")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    model = arguments.model or default_model("attitude.onnx")
    command = f"python benchmarks/attitude_accuracy.py {arguments.bags}"
    trials = [path for path in sorted(arguments.bags.iterdir()) if path.name.startswith(TEST)]
    sets: dict[str, tuple[list[Path], dict[str, str]]] = {"BROAD, the test trials": (trials, {})}
    if arguments.other:
        trials = sorted(arguments.other.iterdir())
        unused = {MAG_TOPIC: f"{MAG_TOPIC}_unused"}
        sets["RepoIMU T-stick, a sensor the model does not know"] = trials, {}
        sets["RepoIMU T-stick, without its magnetometer"] = trials, unused
        command += f" --other {arguments.other}"
    lines = [
        "# Attitude, on trials that were left out",
        "",
        f"    {command}",
        "",
        f"Beside it: {versions()}.",
        "",
    ]
    for title, (bags, remap) in sets.items():
        found = evaluate(bags, model, remap=remap, progress=lambda text: print(text, flush=True))
        lines += section(title, found)
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()

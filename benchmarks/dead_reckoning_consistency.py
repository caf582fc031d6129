"""Whether the bounds that dead reckoning predicts are true, on KITTI drives that nothing was chosen on.

    python benchmarks/dead_reckoning_consistency.py bags/kitti --out benchmarks/dead_reckoning_consistency.md

The second table is made on the training drives: what the bounds do when one tuned constant is ten times smaller.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from dead_reckoning_accuracy import NO_MOTION, SCORED

from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.evaluation import DriveTrace, dead_reckon, metrics, scorable
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.inference import Model

OUTAGE = 14000  # row of 08 up to which its truth is itself without GNSS
SMALLER = (
    "gyro", "accel", "gyro_walk", "accel_walk", "velocity_0", "tilt_0", "gyro_bias_0", "accel_bias_0", "mount_0",
    "lever_0", "lateral", "vertical",
)  # fmt: skip
COLUMNS = {
    "position_coverage_3sigma": "position in 3σ",
    "position_nees": "NEES",
    "velocity_coverage_3sigma": "velocity in 3σ",
    "velocity_nees": "NEES",
    "nis": "NIS",
    "t_rel_percent": "t_rel [%]",
}
HEAD = [
    f"| {{}} | {' | '.join(COLUMNS.values())} | σ / error: east | north | up |",
    "|" + "---|" * (len(COLUMNS) + 4),
]


def row(name: str, traces: Sequence[DriveTrace]) -> str:
    """A line of the table; the last cells say how many times as large as the errors the deviations are."""
    found = metrics(traces)
    cells = []
    for column in COLUMNS:
        share = column.endswith("3sigma")
        cells.append(f"{100 * found[column]:.1f} %" if share else f"{found[column]:.2g}")
    error = np.concatenate([trace.position_error[trace.settled] for trace in traces])
    variance = np.concatenate(
        [np.diagonal(trace.position_covariance[trace.settled], axis1=1, axis2=2) for trace in traces]
    )
    cells += [f"{ratio:.1f}" for ratio in np.sqrt(variance.mean(axis=0) / np.mean(error**2, axis=0))]
    return f"| {name} | {' | '.join(cells)} |"


def of_tests(bags: Path, setups: Mapping[str, Setup]) -> Iterator[str]:
    """A line for each scored drive and method."""
    drives = {number: read_drive(bags / name) for number, name in SCORED.items()}
    after = drives["08"]
    late = np.arange(len(after.stamp)) >= OUTAGE
    drives["08 after its outage"] = replace(after, scored=after.scored & late)
    found: dict[str, dict[str, list[DriveTrace]]] = {}
    for number, drive in drives.items():
        stretches = [part for part in drive.without_gaps() if scorable(part)]
        found[number] = {
            method: [dead_reckon(part, setup) for part in stretches] for method, setup in setups.items()
        }
        for method, traces in found[number].items():
            yield row(f"{number}, {method}", traces)
    for method in setups:
        yield row(f"all four, {method}", [trace for number in SCORED for trace in found[number][method]])


def of_training(bags: Path, setup: Setup) -> Iterator[str]:
    """A line for each constant that is made smaller."""
    stretches: list[Drive] = []
    for path in sorted(bags.iterdir()):
        if path.name not in SCORED.values() and not path.name.startswith(NO_MOTION):
            stretches += [part for part in read_drive(path).without_gaps() if scorable(part)]
    yield row("as tuned", [dead_reckon(part, setup) for part in stretches])
    for name in SMALLER:
        smaller = setup.constants._replace(**{name: getattr(setup.constants, name) / 10.0})
        changed = replace(setup, constants=smaller)
        yield row(f"{name} / 10", [dead_reckon(part, changed) for part in stretches])


def main() -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", type=Path, help="folder of the imported KITTI bags")
    parser.add_argument("--model", type=Path, default=Path("models/dead_reckoning.onnx"))
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    setups = load_setups(Model.load(arguments.model))
    text = ["# Are the bounds of dead reckoning true?", "", f"    {__doc__.splitlines()[2].strip()}", ""]
    for title, lines in (
        ("test drive, method", of_tests(arguments.bags, setups)),
        ("training drives, tuned", of_training(arguments.bags, setups["tuned"])),
    ):
        for line in (HEAD[0].format(title), HEAD[1]):
            print(line)
            text.append(line)
        for line in lines:
            print(line, flush=True)
            text.append(line)
        text.append("")
    if arguments.out:
        arguments.out.write_text("\n".join(text))


if __name__ == "__main__":
    main()

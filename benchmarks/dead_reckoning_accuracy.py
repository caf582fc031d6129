"""What each step of the modelling brings dead reckoning on KITTI drives that nothing was chosen on.

    nn_estimation import kitti SRC --out bags/kitti
    python benchmarks/dead_reckoning_accuracy.py bags/kitti --out benchmarks/dead_reckoning_accuracy.md

Everything is fitted on the drives below; the sequences of the odometry benchmark 04 and 09 (validation), 01 and 08
(test) are only scored. One process, the same filter for every row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from nn_estimation.dead_reckoning.calibration import calibrate
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.tuning import Objective, drift, pooled, tune

SCORED = {
    "01": "2011_10_03_drive_0042_extract",
    "04": "2011_09_30_drive_0016_extract",
    "08": "2011_09_30_drive_0028_extract",
    "09": "2011_09_30_drive_0033_extract",
}
NO_MOTION = ("2011_09_26_drive_0093", "2011_09_28_drive_0039", "2011_09_28_drive_0002")
PUBLISHED = {  # t_rel [%] of 01, 04, 08, 09
    "AI-IMU, claim of the paper": (1.11, 0.35, 1.48, 0.80),
    "AI-IMU, best public weights": (1.95, 1.13, 1.58, 1.32),
    "AI-IMU, constant (1, 10), as published": (2.15, 1.21, 1.46, 1.48),
}


def rows(bags: Path, evaluations: int, seeds: int) -> Iterator[tuple[str, Constants, bool]]:
    """(name, constants, whether the Earth's rate is taken off) of each step."""
    training = [
        read_drive(path).without_gaps()
        for path in sorted(bags.iterdir())
        if path.name not in SCORED.values() and not path.name.startswith(NO_MOTION)
    ]
    plain = Constants()
    yield "constant (1, 10)", plain, False
    calibrated = calibrate([drive for drives in training for drive in drives])
    yield "+ gyro delay", plain._replace(gyro_delay=calibrated.gyro_delay), False
    yield "+ Earth rate", plain._replace(gyro_delay=calibrated.gyro_delay), True
    yield "+ slip, mount and lever arm by least squares", calibrated, True
    objective = Objective(training)
    for seed in range(1, seeds + 1):
        begin = time.monotonic()
        tuned = tune(objective, calibrated, evaluations=evaluations, seed=seed)
        took = time.monotonic() - begin
        print(
            f"seed {seed}: {tuned.before:.3f} -> {tuned.objective:.3f} % on the training drives, {took:.0f} s"
        )
        print(f"  {tuned.constants}", flush=True)
        yield f"+ 21 constants by CMA-ES, seed {seed}", tuned.constants, True


def score(drive: Drive, constants: Constants, earth: bool) -> tuple[float, float]:
    """t_rel [%] and r_rel [deg/km], from the true state after each gap."""
    parts = [part if earth else replace(part, latitude=None) for part in drive.without_gaps()]
    errors = pooled([drift(part, constants) for part in parts])
    return errors.t_rel_percent, errors.r_rel_deg_per_km


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", type=Path, help="folder of the imported KITTI bags")
    parser.add_argument("--evaluations", type=int, default=500, help="of the objective, a seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    drives = {number: read_drive(arguments.bags / name) for number, name in SCORED.items()}
    table = [
        f"| t_rel [%] | {' | '.join(SCORED)} | mean | r_rel [deg/km]: {' | '.join(SCORED)} | mean |",
        "|" + "---|" * (2 * len(SCORED) + 3),
    ]
    for name, published in PUBLISHED.items():
        cells = [*(f"{value:.2f}" for value in published), f"{np.mean(published):.2f}"]
        table.append(f"| {name} | {' | '.join(cells)} |" + " |" * (len(SCORED) + 1))
    print("\n".join(table), flush=True)
    for name, constants, earth in rows(arguments.bags, arguments.evaluations, arguments.seeds):
        found = [score(drive, constants, earth) for drive in drives.values()]
        t_rel, r_rel = zip(*found, strict=True)
        cells = [f"{value:.2f}" for values in (t_rel, r_rel) for value in (*values, np.mean(values))]
        table.append(f"| {name} | {' | '.join(cells)} |")
        print(table[-1], flush=True)
    if arguments.out:
        text = f"python benchmarks/dead_reckoning_accuracy.py BAGS --evaluations {arguments.evaluations}"
        text += f" --seeds {arguments.seeds}"
        arguments.out.write_text(f"# Dead reckoning on KITTI\n\n    {text}\n\n" + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()

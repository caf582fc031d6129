"""What each step of the modelling brings dead reckoning on KITTI drives that nothing was chosen on.

    nn_estimation import kitti SRC --out bags/kitti
    python benchmarks/dead_reckoning_accuracy.py bags/kitti --out benchmarks/dead_reckoning_accuracy.md

Everything is fitted on the drives below; the sequences of the odometry benchmark 04 and 09 (validation), 01 and 08
(test) are only scored. One process, the same filter for every row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nn_estimation.dead_reckoning.calibration import calibrate
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.features import FeatureBank
from nn_estimation.dead_reckoning.network import SlipNetwork
from nn_estimation.dead_reckoning.through_filter.training import held_out_errors, learn, see
from nn_estimation.dead_reckoning.training import (
    DeadReckoningTrainConfig,
    Recordings,
    first_network,
    fit_constants,
)
from nn_estimation.dead_reckoning.tuning import drift, pooled
from nn_estimation.metrics import SEGMENTS, SegmentErrors

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


Errors = Callable[[Sequence[Drive]], list[SegmentErrors]]


def rows(bags: Path, seeds: int, config: DeadReckoningTrainConfig) -> Iterator[tuple[str, Errors]]:
    """(name, segment errors of some stretches) of each step."""
    training = [
        read_drive(path)
        for path in sorted(bags.iterdir())
        if path.name not in SCORED.values() and not path.name.startswith(NO_MOTION)
    ]
    part = Recordings(training, config).all
    plain = Constants()
    yield "constant (1, 10)", partial(of_constants, plain, earth=False)
    calibrated = calibrate([drive for drives in part.full for drive in drives])
    delayed = plain._replace(gyro_delay=calibrated.gyro_delay)
    yield "+ gyro delay", partial(of_constants, delayed, earth=False)
    yield "+ Earth rate", partial(of_constants, delayed)
    yield "+ slip, mount and lever arm by least squares", partial(of_constants, calibrated)
    for seed in range(seeds):
        seeded = replace(config, training=replace(config.training, seed=seed))
        begin = time.monotonic()
        _, tuned = fit_constants(part, seeded, print)
        print(f"seed {seed}: {time.monotonic() - begin:.0f} s, {tuned}", flush=True)
        yield f"+ 21 constants by CMA-ES, seed {seed}", partial(of_constants, tuned)
        begin = time.monotonic()
        module = first_network(part, tuned, seeded)
        valid = part.valid_range(tuned, seeded.features)
        seen = part.seen(valid, tuned, seeded.features)
        constants = learn(module, seen, tuned, seeded.training, seeded.chunk)
        print(f"seed {seed}: network {time.monotonic() - begin:.0f} s", flush=True)
        bank = FeatureBank(seeded.features)
        yield (
            f"+ network through the filter, seed {seed}",
            partial(of_network, module, constants, bank, valid),
        )


def of_constants(constants: Constants, stretches: Sequence[Drive], earth: bool = True) -> list[SegmentErrors]:
    """Of the filter without a network."""
    return [drift(part if earth else replace(part, latitude=None), constants) for part in stretches]


def of_network(
    module: SlipNetwork,
    constants: Constants,
    bank: FeatureBank,
    valid: tuple[tuple[float, float], ...],
    stretches: Sequence[Drive],
) -> list[SegmentErrors]:
    """Of the filter with a network."""
    seen = [see(part, part, bank, constants.longest_step, np.array(valid)) for part in stretches]
    return held_out_errors(module, [seen], constants, SEGMENTS)


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", type=Path, help="folder of the imported KITTI bags")
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
    for name, errors in rows(arguments.bags, arguments.seeds, DeadReckoningTrainConfig()):
        found = [pooled(errors(drive.without_gaps())) for drive in drives.values()]
        t_rel = [errors.t_rel_percent for errors in found]
        r_rel = [errors.r_rel_deg_per_km for errors in found]
        cells = [f"{value:.2f}" for values in (t_rel, r_rel) for value in (*values, np.mean(values))]
        table.append(f"| {name} | {' | '.join(cells)} |")
        print(table[-1], flush=True)
    if arguments.out:
        text = f"python benchmarks/dead_reckoning_accuracy.py BAGS --seeds {arguments.seeds}"
        arguments.out.write_text(f"# Dead reckoning on KITTI\n\n    {text}\n\n" + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()

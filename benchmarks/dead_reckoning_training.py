"""What an epoch of four one-minute chunks costs, forwards and backwards through the filter, on one core.

    python benchmarks/dead_reckoning_training.py bags/kitti/2011_10_03_drive_0034_extract

The reference implementation of AI-IMU takes 223 s of processor time and 6.4 GB for the same.
"""

from __future__ import annotations

import resource
import sys
import time

import torch

from nn_estimation.dead_reckoning.calibration import calibrate
from nn_estimation.dead_reckoning.drive import read_drive
from nn_estimation.dead_reckoning.through_filter.training import FilterModule, chunks, displacement_loss
from nn_estimation.dead_reckoning.training import DeadReckoningTrainConfig, Recordings, first_network

REFERENCE = 223.0  # [s]
CHUNKS, SECONDS = 4, 60.0


def main() -> None:
    """Print seconds and megabytes."""
    torch.set_num_threads(1)
    config = DeadReckoningTrainConfig()
    part = Recordings([read_drive(sys.argv[1])], config).all
    constants = calibrate(part.full[0])
    seen = part.seen(part.valid_range(constants, config.features), constants, config.features)
    batch = {key: value[:CHUNKS] for key, value in chunks(seen, constants, SECONDS).items()}
    module = FilterModule(first_network(part, constants, config), constants)
    before = megabytes()
    wall, used = time.perf_counter(), time.process_time()
    displacement_loss(module, batch).mean().backward()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"{CHUNKS} chunks of {SECONDS:.0f} s: {used:.1f} s of processor time ({wall:.1f} s passed),")
    print(f"{REFERENCE / used:.0f} times less than the reference's {REFERENCE:.0f} s")
    print(f"peak memory {megabytes():.0f} MB, {before:.0f} MB of them before: torch, numba and the drive")


def megabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()

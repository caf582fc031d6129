"""What a wheel speed with a calibrated scale brings to dead reckoning, on a car that the model does not know.

    nn_estimation import comma ../shared/data/comma2k19_example --out bags/comma
    python benchmarks/dead_reckoning_wheels.py bags/comma/* --out benchmarks/dead_reckoning_wheels.md

The scale is calibrated on the first 20 s, the filter starts from the truth there and is scored on what follows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from nn_estimation.bags import BagReader
from nn_estimation.dead_reckoning.calibration import wheel_speed
from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.stream import ODOMETRY_TOPIC, DeadReckoningStream, StreamParams
from nn_estimation.inference import Model

TRUTH = "ground_truth/odometry"
CALIBRATION = 20.0  # [s]


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path)
    parser.add_argument("--model", default="models/dead_reckoning.onnx")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    drive = read_drive(arguments.bag)
    first = drive.cut(slice(0, int(np.searchsorted(drive.stamp, drive.stamp[0] + CALIBRATION))), "first")
    wheels = wheel_speed([first])
    lines = [
        f"Speed scale {wheels['speed_scale']:.4f}, by the first {CALIBRATION:.0f} s.",
        "",
        "| constants | wheel speed | end error [m] | RMSE [m] | 1 sigma at the end [m] | driven [m] |",
        "|---|---|---|---|---|---|",
    ]
    for method, setup in load_setups(Model.load(arguments.model)).items():
        plain = setup.constants._replace(speed_scale=1.0, wheel_speed=wheels["wheel_speed"])
        for name, constants, used in (
            ("none", plain, False),
            ("scale 1", plain, True),
            ("calibrated", plain._replace(**wheels), True),
        ):
            end, rmse, sigma, driven = run(arguments.bag, drive, replace(setup, constants=constants), used)
            lines.append(f"| {method} | {name} | {end:.1f} | {rmse:.1f} | {sigma:.1f} | {driven:.0f} |")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(f"```\n{__doc__.strip()}\n```\n\n{text}\n")


def run(bag: Path, drive: Drive, setup: Setup, wheels: bool) -> tuple[float, float, float, float]:
    """Horizontal error at the end and RMSE, standard deviation at the end, and length [m]."""
    stream = DeadReckoningStream(setup, StreamParams("odometry", wheel_speed=wheels, latitude=drive.latitude))
    stamps, positions, started = [], [], False
    with BagReader(bag) as reader:
        for topic, ns, data in reader.raw():
            if ns * 1e-9 < reader.start + CALIBRATION:
                continue
            if topic == TRUTH:
                if not started:
                    stream.feed(ODOMETRY_TOPIC, data)
                started = True
            elif topic in stream.topics and (estimate := stream.feed(topic, data)) is not None:
                stamps.append(estimate.stamp)
                positions.append(estimate.position[:2])
                sigma = float(np.sqrt(np.trace(estimate.covariance[:2, :2])))
    true = np.column_stack([np.interp(stamps, drive.stamp, axis) for axis in drive.position.T])[:, :2]
    error = np.linalg.norm(np.array(positions) - true, axis=1)
    driven = float(np.linalg.norm(np.diff(true, axis=0), axis=1).sum())
    return float(error[-1]), float(np.sqrt(np.mean(error**2))), sigma, driven


if __name__ == "__main__":
    main()

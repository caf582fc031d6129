"""How soon dead reckoning notices that what it is mounted on is no vehicle: the nine flights of EuRoC.

nn_estimation import euroc ../shared/data/euroc_imu --out bags/euroc
python benchmarks/dead_reckoning_drone.py bags/euroc --out benchmarks/dead_reckoning_drone.md
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.dead_reckoning.drive import Drive, read_drive
from nn_estimation.dead_reckoning.model import Setup, load_setups
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, ODOMETRY_TOPIC, DeadReckoningStream, StreamParams
from nn_estimation.inference import Model

MOUNTING = (0.0, -math.pi / 2, 0.0)  # the x axis of the flights' IMU looks up


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", type=Path)
    parser.add_argument("--model", default="models/dead_reckoning.onnx")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    setups = load_setups(Model.load(arguments.model))
    lines = [
        "| flight | method | axes as they are: named after [s] | mounting given: alarm after [s] | highest mean |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(arguments.bags.iterdir()):
        drive = read_drive(path)
        for method in ("constant", "tuned"):
            named, _, _ = flown(drive, setups[method], (0.0, 0.0, 0.0))
            _, alarm, highest = flown(drive, setups[method], MOUNTING)
            lines.append(f"| {path.name} | {method} | {named:.1f} | {alarm:.1f} | {highest:.1f} |")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(f"```\n{__doc__.strip()}\n```\n\n{text}\n")


def flown(drive: Drive, setup: Setup, mounting: tuple[float, float, float]) -> tuple[float, float, float]:
    """Stamps [s] after the start of the first fault and the first alarm, and the highest mean innovation."""
    stream = DeadReckoningStream(setup, StreamParams("odometry", mounting=mounting))
    turn = Rotation.from_euler("xyz", mounting).inv()
    known = (0.01 * np.eye(6)).ravel()
    named = alarm = math.nan
    highest = 0.0
    for n, stamp in enumerate(drive.stamp):
        ns = round(stamp * 1e9)
        if n == 0:
            R = Rotation.from_matrix(drive.R[n]) * turn
            velocity = R.inv().apply(drive.velocity[n])
            message = cdr.OdometryMessage(
                ns, "odom", "imu_link", drive.position[n], R.as_quat(), known, velocity, np.zeros(3), known
            )
            stream.feed(ODOMETRY_TOPIC, cdr.encode_odometry(message))
        imu = cdr.ImuMessage.of(ns, "imu_link", drive.gyro[n], drive.accel[n])
        stream.feed(IMU_TOPIC, cdr.encode_imu(imu))
        since = stamp - drive.stamp[0]
        if math.isnan(named) and stream.checks.fault:
            named = since
        if math.isnan(alarm) and stream.checks.slips:
            alarm = since
        highest = max(highest, stream.checks.innovation)
    return named, alarm, highest


if __name__ == "__main__":
    main()

"""Whether the bounds that dead reckoning predicts are true, on KITTI drives that nothing was chosen on.

    python benchmarks/dead_reckoning_consistency.py bags/kitti --comma bags/comma/*

The second table is made on the training drives: what the bounds do when one constant is changed. The third is another
car: the same constants, and with a mount that is calibrated on the 20 s before.
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
CALIBRATION = 20.0  # [s] of another car's drive
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
        digits = ".2f" if column == "t_rel_percent" else ".2g"
        cells.append(f"{100 * found[column]:.1f} %" if share else f"{found[column]:{digits}}")
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


def of_training(bags: Path, setups: Mapping[str, Setup]) -> Iterator[str]:
    """A line for each constant that is changed."""
    stretches: list[Drive] = []
    for path in sorted(bags.iterdir()):
        if path.name not in SCORED.values() and not path.name.startswith(NO_MOTION):
            stretches += [part for part in read_drive(path).without_gaps() if scorable(part)]
    constant, setup = setups["constant"], setups["tuned"]
    c = setup.constants
    turned = constant.constants._replace(mount_pitch=c.mount_pitch, mount_yaw=c.mount_yaw)
    mounted = replace(constant, constants=turned)
    yield row("constant", [dead_reckon(part, constant) for part in stretches])
    yield row("constant, mount as tuned", [dead_reckon(part, mounted) for part in stretches])
    tuned = [dead_reckon(part, setup) for part in stretches]
    yield row("tuned", tuned)
    for name, begin, end in (("first 5 s of a stretch", 0.0, 5.0), ("after its first minute", 60.0, np.inf)):
        yield row(f"tuned, {name}", [_between(trace, begin, end) for trace in tuned])
    for name in SMALLER:
        smaller = c._replace(**{name: getattr(c, name) / 10.0})
        changed = replace(setup, constants=smaller)
        yield row(f"tuned, {name} / 10", [dead_reckon(part, changed) for part in stretches])


def _between(trace: DriveTrace, begin: float, end: float) -> DriveTrace:
    """Scored only so long after the start."""
    age = trace.stamp - trace.stamp[0]
    return replace(trace, settled=trace.settled & (age >= begin) & (age < end))


def of_another_car(bag: Path, setups: Mapping[str, Setup]) -> Iterator[str]:
    """A line for each method, with the mount that it has and with that which the vehicle's first seconds tell."""
    drive = read_drive(bag)
    begin = int(np.searchsorted(drive.stamp, drive.stamp[0] + CALIBRATION))
    first, rest = drive.cut(slice(begin), "first"), drive.cut(slice(begin, None), "rest")
    yaw, pitch = mount(first)
    for method in ("constant", "tuned"):
        setup = setups[method]
        turned = setup.constants._replace(mount_yaw=yaw, mount_pitch=pitch)
        yield row(f"{method}, mount as in the model", [dead_reckon(rest, setup)])
        yield row(f"{method}, mount calibrated", [dead_reckon(rest, replace(setup, constants=turned))])


def mount(drive: Drive) -> tuple[float, float]:
    """Yaw and pitch [rad] of the IMU's mount, by the direction in which the vehicle goes."""
    x, y, z = np.einsum("nji,nj->in", drive.R, drive.velocity)
    return float(np.arctan2(y, x).mean()), float(-np.arctan2(z, x).mean())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", type=Path, help="folder of the imported KITTI bags")
    parser.add_argument("--model", type=Path, default=Path("models/dead_reckoning.onnx"))
    parser.add_argument("--comma", type=Path, help="the imported bag of comma2k19")
    arguments = parser.parse_args()
    setups = load_setups(Model.load(arguments.model))
    tables = {
        "test drive, method": of_tests(arguments.bags, setups),
        "training drives, method": of_training(arguments.bags, setups),
    }
    if arguments.comma:
        tables["comma, after 20 s"] = of_another_car(arguments.comma, setups)
    for title, lines in tables.items():
        print(f"{HEAD[0].format(title)}\n{HEAD[1]}")
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()

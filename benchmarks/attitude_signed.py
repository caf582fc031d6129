"""Could a network say which way the heading is off, by the way the field is? A line fitted to it, on kinds left out.

    python benchmarks/attitude_signed.py models/attitude.onnx bags/broad/*

A learned matrix in Wahba's problem, beside the learned weights, would need that: features without sign, as the
network's are, cannot tell.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from nn_estimation.attitude import features
from nn_estimation.attitude.batch import filtered
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.heading import azimuth, twist, vqf_angle
from nn_estimation.attitude.model import load_setups
from nn_estimation.attitude.state import State
from nn_estimation.attitude.trial import read_trial
from nn_estimation.attitude.tuning import see
from nn_estimation.filters import matrix, wrapped
from nn_estimation.inference import Model

KINDS = "rotation", "translation", "combined", "tapping", "vibration", "stationary_magnet", "attached_magnet"
TEST = "04", "08", "12", "18", "27", "31", "36"
RIDGE = 10.0, 1000.0


def signed(path: Path, constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """Of L looks: (L, 12) deviations of the field with their sign, and (L,) [rad] errors of VQF's heading."""
    seen = see(read_trial(path))
    t, peers = seen.trial, seen.prepared.peer
    rows, errors = [], []
    true = np.empty((3, 3))

    def look(s: State, end: int) -> None:
        s.clock[1] = 0.0
        n, field = end - 1, s.mean[3:]
        if not math.isfinite(t.truth[n, 0]):
            return
        matrix(np.roll(t.truth[n], 1), true)
        peer, angle, world = vqf_angle(peers[n], s.R), azimuth(s.R, field), s.R @ field
        dip = math.atan2(-world[2], math.hypot(world[0], world[1])) - s.bank[features.DIP]
        norm = float(np.linalg.norm(world)) / s.bank[features.NORM] - 1.0
        second = wrapped(angle - s.bank[features.AZIMUTH_1])
        seconds = wrapped(angle - s.bank[features.AZIMUTH_5])
        off = wrapped(angle - peer)
        products = second * dip, seconds * dip, seconds * norm, off * dip, off * norm
        rows.append((second, seconds, dip, norm, off, *(s.R @ t.gyro[n])[1:], *products))
        errors.append(wrapped(peer - twist(true, s.R)))

    filtered(seen.prepared, t.gyro, t.accel, constants, look)
    return np.array(rows), np.array(errors)


def main() -> None:
    """Print which share of the error's square the line explains, by the kind of trial that was left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("bags", type=Path, nargs="+")
    arguments = parser.parse_args()
    constants = load_setups(Model.load(arguments.model, provider="cpu"))["filter"].constants
    trials = {p.name: signed(p, constants) for p in arguments.bags if not p.name.startswith(TEST)}
    print(f"{'left out':<20}{'trials':>7}" + "".join(f"{f'ridge {ridge:g}':>14}" for ridge in RIDGE))
    for kind in KINDS:
        inside = [found for name, found in trials.items() if kind in name]
        outside = [found for name, found in trials.items() if kind not in name]
        if not inside or not outside:
            continue
        X, y = (np.concatenate(part) for part in zip(*outside, strict=True))
        other, error = (np.concatenate(part) for part in zip(*inside, strict=True))
        centre, size = X.mean(axis=0), X.std(axis=0)
        explained = []
        for ridge in RIDGE:
            A = (X - centre) / size
            slope = np.linalg.solve(A.T @ A + ridge * np.eye(A.shape[1]), A.T @ (y - y.mean()))
            left = error - (other - centre) / size @ slope
            explained.append(1.0 - float(np.mean(left**2) / np.mean(error**2)))
        print(f"{kind:<20}{len(inside):>7}" + "".join(f"{100 * share:>12.0f} %" for share in explained))


if __name__ == "__main__":
    main()

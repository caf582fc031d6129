"""Which features a bias model should use: what the bags offer, and what generalises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nn_estimation.uwb.calibration import time_blocks
from nn_estimation.uwb.features import FeatureReader
from nn_estimation.uwb.geometry import GEOMETRY_FIELDS
from nn_estimation.uwb.ridge import RidgeFit
from nn_estimation.uwb.samples import Samples

MIN_TURN = 0.3  # [rad] an azimuth must vary to teach anything
MIN_CLIMB = (
    0.05  # [m] standard deviation of a link's height difference that makes elevation a quantity of its own
)
MIN_PRESENT = 0.9  # share of ranges that must carry a power


@dataclass(frozen=True)
class Choice:
    """The set chosen, and the table it was chosen by."""

    name: str
    table: str


def candidates(samples: Samples) -> dict[str, tuple[str, ...]]:
    """Feature sets the samples allow, from simple to complex: affine, power, geometry, both."""
    base: tuple[str, ...] = ("distance", "distance_b") if samples.is_tdoa else ("distance",)
    geometry, power = _angles(samples), _powers(samples)
    sets = {"affine": base}
    if power:
        sets["power"] = (*base, *power)
    if geometry:
        sets["geometry"] = (*base, *geometry)
    if power and geometry:
        sets["both"] = (*base, *geometry, *power)
    return sets


def choose(samples: Samples, sets: dict[str, tuple[str, ...]], folds: int) -> Choice:
    """The simplest set whose held-out mean squared error is within one standard error of the best.

    Scored by the ridge model, the network's linear twin, on folds of whole recordings or stretches of time. The
    standard error is that of the differences to the best set, recording by recording where the folds are made of
    them and fold by fold otherwise: what makes a recording hard for all sets does not count.
    """
    usable = np.isfinite(FeatureReader(list(sets.values())[-1]).read(samples.geometry, samples.power)).all(
        axis=1
    )
    samples = samples[usable]
    fold = time_blocks(samples.stamp, samples.recording, folds)
    whole = len(np.unique(samples.recording)) >= folds
    unit = np.unique(samples.recording, return_inverse=True)[1] if whole else fold
    residuals = {name: _residuals(samples, names, fold) for name, names in sets.items()}
    scores = {name: _mean_square(residual, unit) for name, residual in residuals.items()}
    best = min(scores, key=lambda name: scores[name].mean())
    chosen = next(
        name
        for name, score in scores.items()
        if name == best or (score - scores[best]).mean() <= _standard_error(score - scores[best])
    )
    lines = [f"{'features':<10}  {'rmse [m]':>8}  folds"]
    for name, residual in residuals.items():
        mark = "  <- chosen" if name == chosen else ""
        each = " ".join(f"{np.sqrt(score):.4f}" for score in _mean_square(residual, fold))
        lines.append(f"{name:<10}  {np.sqrt(scores[name].mean()):>8.4f}  {each}{mark}")
    return Choice(chosen, "\n".join(lines))


def _residuals(samples: Samples, names: tuple[str, ...], fold: np.ndarray) -> np.ndarray:
    """(N,) held out [m]."""
    tag = np.unique([name.split("|")[0] for name in samples.links], return_inverse=True)[1]
    anchor = np.unique([name.split("|")[1].split("-")[0] for name in samples.links], return_inverse=True)[1]
    features = FeatureReader(names).read(samples.geometry, samples.power)
    fit = RidgeFit(names, tag.tolist(), anchor.tolist(), features, samples.link, samples.error, fold)
    return fit.held_out()[0]


def _mean_square(residual: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(U,) [m^2] of each unit."""
    return np.bincount(unit, residual**2) / np.bincount(unit)


def _standard_error(differences: np.ndarray) -> float:
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))


def _angles(samples: Samples) -> tuple[str, ...]:
    column = {name: samples.geometry[:, i] for i, name in enumerate(GEOMETRY_FIELDS)}
    found = [name for name in ("azimuth_tag", "azimuth_anchor") if _turns(column[name])]
    climb = column["distance"] * np.sin(column["elevation_tag"])
    own = [climb[samples.link == link].std() for link in np.unique(samples.link)]
    if "azimuth_tag" in found and np.median(own) > MIN_CLIMB:
        found.insert(1, "elevation_tag")
    return tuple(found)


def _turns(angle: np.ndarray) -> bool:
    """Whether a direction (N,) [rad] varies by more than MIN_TURN, wherever its seam lies."""
    relative = np.angle(np.exp(1j * angle) / np.exp(1j * np.angle(np.exp(1j * angle).mean())))
    return bool(np.ptp(np.quantile(relative, (0.01, 0.99))) > MIN_TURN)


def _powers(samples: Samples) -> tuple[str, ...]:
    found = []
    for number, end in enumerate(("", "_b", "_far", "_far_b")):
        received, first_path, snr = (samples.power[:, 3 * number + i] for i in range(3))
        if _varies(received) and _varies(first_path):
            found += [f"rx_power{end}", f"power_difference{end}"]
        elif _varies(received) and np.isfinite(first_path).mean() > MIN_PRESENT:
            found.append(f"power_difference{end}")  # the driver gives the difference alone
        elif _varies(received):
            found.append(f"rx_power{end}")
        elif _varies(first_path):
            found.append(f"first_path_power{end}")
        if _varies(snr):
            found.append(f"snr{end}")
    return tuple(found)


def _varies(column: np.ndarray) -> bool:
    present = np.isfinite(column)
    return bool(present.mean() > MIN_PRESENT and np.std(column[present]) > 1e-6)

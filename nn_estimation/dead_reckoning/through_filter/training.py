"""Training through the filter: the network and the constants by the drift that the filter has with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nn_estimation.dead_reckoning import vehicle
from nn_estimation.dead_reckoning.calibration import CalibrationError
from nn_estimation.dead_reckoning.constants import Constants, packed
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.estimator import earth_rate
from nn_estimation.dead_reckoning.features import FeatureBank
from nn_estimation.dead_reckoning.network import SlipNetwork
from nn_estimation.dead_reckoning.through_filter.network import TorchState, run
from nn_estimation.dead_reckoning.tuning import LENGTHS, drift
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import Trainer, reproducible
from nn_estimation.metrics import SegmentErrors

STRIDE = 10  # samples between two starts of a segment
FACTORS = ("gyro", "accel", "gyro_walk", "accel_walk", "mount_walk", "lever_walk")
OFFSETS = {"slip": 0.02, "slip_speed": 0.001, "squat": 0.003, "lift": 0.01}  # what one unit of a weight is
PAD = np.array([0.0, 0.0, 9.80655])  # [m/s^2] at rest


@dataclass(frozen=True)
class Seen:
    """A pre-integrated stretch with what the network sees at each of its N samples."""

    drive: Drive
    features: np.ndarray  # (N, F), zeros where not usable
    usable: np.ndarray  # (N,) bool: settled and in the trained range


def see(full: Drive, reduced: Drive, bank: FeatureBank, longest: float, valid: np.ndarray) -> Seen:
    """Features of a stretch at its own rate, held at the stamps of the pre-integrated one.

    Args:
        full: at its own rate.
        reduced: pre-integrated.
        bank: of the features.
        longest: [s] step from which on the bank starts anew.
        valid: (F, 2) range in which they are usable.
    """
    rows, features, age = bank.batch(full.stamp, full.gyro, full.accel, longest)
    held = np.searchsorted(full.stamp[rows], reduced.stamp + 1e-6, side="right") - 1
    out = features[np.maximum(held, 0)]
    usable = (held >= 0) & (age[np.maximum(held, 0)] >= bank.settles)
    usable &= ((out >= valid[:, 0]) & (out <= valid[:, 1])).all(axis=1)
    out[~usable] = 0.0
    return Seen(reduced, out, usable)


class FilterModule(nn.Module):
    """The network, and the constants of the filter that are trained along with it."""

    def __init__(self, network: SlipNetwork, constants: Constants) -> None:
        super().__init__()
        self.network, self._constants = network, constants
        self.factors = nn.Parameter(torch.zeros(len(FACTORS), dtype=torch.float64))
        self.offsets = nn.Parameter(torch.zeros(len(OFFSETS), dtype=torch.float64))

    def changed(self) -> dict[str, Tensor | float]:
        """Constants by name, with gradients."""
        c: dict[str, Tensor | float] = dict(self._constants._asdict())
        for n, name in enumerate(FACTORS):
            c[name] = getattr(self._constants, name) * self.factors[n].exp()
        for n, (name, one) in enumerate(OFFSETS.items()):
            c[name] = getattr(self._constants, name) + one * self.offsets[n]
        return c

    def constants(self) -> Constants:
        """As they are now; those of the pseudo-measurement are what the network starts from."""
        lateral, vertical = self.network.log_variance.detach().exp().tolist()
        with torch.no_grad():
            changed = {name: float(value) for name, value in self.changed().items()}
        return Constants(**{**changed, "lateral": lateral, "vertical": vertical})

    def pseudo(self, features: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (..., 2) of the pseudo-measurement, as `LearnedCovariance` gives them."""
        mean, variance = self.network(features.float())
        use = usable[..., None]
        fallback = self.network.log_variance.exp().expand_as(variance)
        return torch.where(use, mean, 0.0).double(), torch.where(use, variance, fallback).double()


def displacement_loss(module: nn.Module, batch: Batch) -> Tensor:
    """(B,) mean of |true - estimated displacement| / length over segments [%], both in the frame of their start.

    Brossard et al. 2020, eq. 24.
    """
    assert isinstance(batch, dict) and isinstance(module, FilterModule)
    names = ("R", "v", "p", "gyro_bias", "accel_bias", "C", "lever", "P", "forward_accel")
    start = TorchState(*(batch[name] for name in names))
    mean, variance = module.pseudo(batch["features"], batch["usable"])
    by_time = (batch["gyro"], batch["accel"], batch["dt"], mean, variance)
    gyro, accel, dt, mean, variance = (tensor.transpose(0, 1) for tensor in by_time)
    states = [(start.R, start.p)]
    for state in run(start, gyro, accel, dt, batch["earth"], mean, variance, module.changed()):
        states.append((state.R, state.p))
    R = torch.stack([r for r, _ in states], 1)
    p = torch.stack([q for _, q in states], 1)
    begin, end = batch["pairs"].unbind(-1)
    rows = torch.arange(len(begin))[:, None]
    moved = (R[rows, begin].mT @ (p[rows, end] - p[rows, begin])[..., None])[..., 0]
    off = (moved - batch["moved"]).square().sum(-1).add(1e-9).sqrt()
    return (batch["weight"] * off).sum(-1)


def chunks(stretches: Sequence[Sequence[Seen]], constants: Constants, seconds: float) -> dict[str, Tensor]:
    """All chunks of a length [s]: where they start, what the IMU says, and the segments that are scored.

    Raises:
        CalibrationError: no chunk holds a segment.
    """
    count = round(seconds / float(np.median(np.diff(stretches[0][0].drive.stamp))))
    found = [chunk for part in stretches for seen in part for chunk in _chunks(seen, constants, count)]
    found = [chunk for chunk in found if len(chunk["weight"])]
    if not found:
        raise CalibrationError(f"no stretch of {seconds:.0f} s has a segment of {LENGTHS[0]} m")
    most = max(len(chunk["weight"]) for chunk in found)
    total = sum(len(chunk["weight"]) for chunk in found) / len(found)
    for chunk in found:
        room = most - len(chunk["weight"])
        chunk["weight"] = np.pad(chunk["weight"] / total, (0, room))
        chunk["pairs"] = np.pad(chunk["pairs"], ((0, room), (0, 0)))
        chunk["moved"] = np.pad(chunk["moved"], ((0, room), (0, 0)))
    return {name: torch.tensor(np.stack([chunk[name] for chunk in found])) for name in found[0]}


def learn(
    network: SlipNetwork,
    stretches: Sequence[Sequence[Seen]],
    constants: Constants,
    config: TrainConfig,
    chunk: float,
    progress: bool = False,
) -> Constants:
    """Train a network in place, and the constants along with it.

    Args:
        network: starts as the constants.
        stretches: of each recording.
        constants: of the filter.
        config: of the trainer; batch_size counts chunks.
        chunk: [s] over which gradients flow; each begins at the state the compiled filter has there.
        progress: whether a bar is shown.

    Returns:
        The constants to go with the network.

    Raises:
        CalibrationError: no chunk holds a segment.
        TrainingError: the loss is not finite.
    """
    data = chunks(stretches, constants, chunk)
    module = FilterModule(network, constants)
    with reproducible(config.seed):
        Trainer(module, displacement_loss, config, progress=progress).fit(data)
    return module.constants()


def held_out_errors(
    network: SlipNetwork,
    stretches: Sequence[Sequence[Seen]],
    constants: Constants,
    lengths: tuple[int, ...] = LENGTHS,
) -> list[SegmentErrors]:
    """Segment errors of the compiled filter with a network, of each stretch."""
    module = FilterModule(network, constants)
    return [drift(seen.drive, constants, lengths, _Said(module, seen)) for part in stretches for seen in part]


class _Said:
    """What the network says of one stretch, to the compiled filter."""

    def __init__(self, module: FilterModule, seen: Seen) -> None:
        with torch.no_grad():
            mean, variance = module.pseudo(torch.tensor(seen.features), torch.tensor(seen.usable))
        self._found = mean.numpy(), variance.numpy()

    def batch(self, *_: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        return *self._found, {}


def _chunks(seen: Seen, constants: Constants, count: int) -> Iterator[dict[str, np.ndarray]]:
    drive = seen.drive
    state = drive.start(constants)
    earth = earth_rate(drive.latitude)
    for begin in range(0, len(drive.stamp) - 1, count):
        rows = slice(begin, min(begin + count, len(drive.stamp) - 1) + 1)
        steps = slice(rows.start + 1, rows.stop)
        room = count - (steps.stop - steps.start)
        pad = ((0, room), (0, 0))
        accel = np.pad(drive.accel[steps], pad)
        accel[count - room :] = PAD
        names = ("R", "v", "p", "gyro_bias", "accel_bias", "C", "lever", "P")
        yield {
            **{name: getattr(state, name).copy() for name in names},
            "forward_accel": state.memory[vehicle.FORWARD_ACCEL].copy(),
            "gyro": np.pad(drive.gyro[steps], pad),
            "accel": accel,
            "dt": np.pad(np.diff(drive.stamp[rows]), (0, room), constant_values=0.1),
            "features": np.pad(seen.features[steps], pad),
            "usable": np.pad(seen.usable[steps], (0, room)),
            "earth": earth,
            **_segments(drive, rows),
        }
        _advance(drive, rows, state, constants, earth)


def _advance(drive: Drive, rows: slice, state, constants: Constants, earth: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    """The compiled filter from the first to the last of the rows, state in place."""
    n = rows.stop - rows.start
    mean, variance = np.zeros((n, 2)), np.tile([constants.lateral, constants.vertical], (n, 1))
    out = np.empty((n, 3, 3)), *(np.empty((n, 3)) for _ in range(3)), np.empty((0, 21, 21)), np.empty(n)
    signals = drive.stamp[rows], drive.gyro[rows], drive.accel[rows]
    vehicle.run(*(*signals, *state.arrays(), earth, mean, variance, packed(constants)[0], *out))
    state.stamp = drive.stamp[rows.stop - 1]


def _segments(drive: Drive, rows: slice) -> dict[str, np.ndarray]:
    """Pairs of rows of a chunk that are a length apart by the truth, and how the IMU moved between them."""
    position, R, scored = drive.position[rows], drive.R[rows], drive.scored[rows]
    driven = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(position, axis=0), axis=1))]
    pairs, lengths = [], []
    for first in range(0, len(driven), STRIDE):
        for length in LENGTHS:
            last = int(np.searchsorted(driven, driven[first] + length))
            if last < len(driven) and scored[first] and scored[last]:
                pairs.append((first, last))
                lengths.append(length)
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    begin, end = found.T
    moved = np.einsum("nji,nj->ni", R[begin], position[end] - position[begin])
    return {"pairs": found, "moved": moved, "weight": 100.0 / np.array(lengths, dtype=float)}

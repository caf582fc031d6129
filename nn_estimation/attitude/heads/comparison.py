"""The table of `nn_estimation bench heads`: errors of each head on airplanes it has not seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nn_estimation.attitude.heads.clouds import read_clouds
from nn_estimation.attitude.heads.network import COMPARED
from nn_estimation.attitude.heads.training import Effort, angular_errors, train_head

QUICK = Effort(epochs=30, seeds=(0,))
FULL = Effort(epochs=60, seeds=(0, 1, 2))
CLOSE = 5.0  # [deg]


def report(folder: str | Path, effort: Effort) -> Iterator[str]:
    """Lines of the table, each as soon as it is known.

    Args:
        folder: of train.npz and test.npz.
        effort: QUICK or FULL.

    Raises:
        CloudError: the folder does not hold them.
    """
    train, test = (read_clouds(Path(folder) / name) for name in ("train.npz", "test.npz"))
    yield (
        f"PointNet {_widths(effort.per_point)}, maximum, {_widths(effort.behind)}; {len(train)} airplanes turned at "
        f"random, {effort.points} points each,\n{effort.epochs} epochs of batches of {effort.batch_size}, one cycle "
        f"of Adam to {effort.lr:g}, squared Frobenius loss; {effort.turns} turns of {len(test)} others\n"
    )
    close = f"below {CLOSE:g} deg"
    yield f"{'head':<14}  {'seed':>4}  {'mean':>6}  {'median [deg]':>12}  {close:>11}  {'took [s]':>8}"
    found: dict[str, list[np.ndarray]] = {head: [] for head in COMPARED}
    for seed in effort.seeds:
        for head, errors in found.items():
            begin = time.process_time()
            module = train_head(head, train, effort, seed)
            took = time.process_time() - begin
            errors.append(np.degrees(angular_errors(module, test, effort)))
            yield f"{_row(head, str(seed), _summary(errors[-1]))}  {took:8.0f}"
    if len(effort.seeds) > 1:
        yield "\nmean over seeds, and half the range between them"
        for head, errors in found.items():
            each = np.array([_summary(e) for e in errors])
            spread = ", ".join(f"{half:.2g}" for half in np.ptp(each, axis=0) / 2)
            yield f"{_row(head, 'all', each.mean(axis=0))}  +- {spread}"
    medians = {head: float(np.mean([np.median(e) for e in errors])) for head, errors in found.items()}
    order = sorted(medians, key=medians.__getitem__)
    yield f"\nby median: {', '.join(f'{head} {medians[head]:.1f}' for head in order)} deg"


def _summary(errors: np.ndarray) -> tuple[float, float, float]:
    """Mean and median [deg], share below CLOSE [%]."""
    return float(errors.mean()), float(np.median(errors)), 100.0 * float((errors < CLOSE).mean())


def _row(head: str, seed: str, summary: tuple[float, float, float] | np.ndarray) -> str:
    mean, median, close = summary
    return f"{head:<14}  {seed:>4}  {mean:6.2f}  {median:12.2f}  {close:9.1f} %"


def _widths(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))

"""Clouds of points on airplanes, all upright and facing one way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SET = Path("attitude", "shapenet_airplane")
KEYS = {"pts", "scale", "offsets"}


class CloudError(ValueError):
    """No clouds, or a file that does not hold any."""


@dataclass(frozen=True, slots=True)
class Clouds:
    """Clouds of different numbers of points, one after another.

    Attributes:
        points: (P, 3) float32, a cloud within a box about one unit long.
        offsets: (C + 1,) where each cloud begins and the last one ends.
    """

    points: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1


def default_folder() -> Path:
    """Where the set is, below NN_ESTIMATION_DATA or ../shared/data."""
    return Path(os.environ.get("NN_ESTIMATION_DATA") or "../shared/data") / SET


def read_clouds(path: str | Path) -> Clouds:
    """Clouds of a file of the set.

    Args:
        path: of train.npz or test.npz: `pts` (P, 3) int16, `scale` of them, `offsets` (C + 1,).

    Raises:
        CloudError: no such file, or not one of these.
    """
    path = Path(path)
    if not path.is_file():
        raise CloudError(
            f"no clouds of airplanes at {path}: give the folder of train.npz and test.npz with --data, "
            f"or set NN_ESTIMATION_DATA to the folder that holds {SET}"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := KEYS - set(arrays.files):
                raise CloudError(
                    f"{path} holds {', '.join(arrays.files)} and no {', '.join(sorted(missing))}"
                )
            points = (arrays["pts"] * float(arrays["scale"])).astype(np.float32)
            offsets = arrays["offsets"].astype(np.int64)
    except CloudError:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise CloudError(f"{path} cannot be read: {error}") from error
    if points.ndim != 2 or points.shape[1] != 3 or offsets[0] != 0 or offsets[-1] != len(points):
        raise CloudError(f"{path} holds points {points.shape} and offsets that do not end with them")
    return Clouds(points, offsets)

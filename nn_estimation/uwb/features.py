"""The inputs of a bias model by name: geometry of the link and received power."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn_estimation.uwb.geometry import GEOMETRY_FIELDS

# Columns of a power array, NaN where the driver gives none; [dBm], SNR without unit. Anchor a at the tag, anchor b
# at the tag (TDoA), then what the far end heard: the tag at anchor a (two-way) or b at a (TDoA), and a at b.
POWER_FIELDS = (
    "rx_power",
    "first_path_power",
    "snr",
    "rx_power_b",
    "first_path_power_b",
    "snr_b",
    "rx_power_far",
    "first_path_power_far",
    "snr_far",
    "rx_power_far_b",
    "first_path_power_far_b",
    "snr_far_b",
)
# Received minus first-path power grows where the direct path is blocked.
DIFFERENCES = ("power_difference", "power_difference_b", "power_difference_far", "power_difference_far_b")
FEATURES = (*GEOMETRY_FIELDS, *POWER_FIELDS, *DIFFERENCES)
UNITS = {name: "m" if "distance" in name else "rad" for name in GEOMETRY_FIELDS} | {
    name: "1" if "snr" in name else "dBm" for name in POWER_FIELDS
}
UNITS |= {name: "dB" for name in DIFFERENCES}


class FeatureError(ValueError):
    """A feature nobody computes."""


def power_sources(tag: str, anchor_a: str, anchor_b: str | None) -> dict[int, str]:
    """First column in POWER_FIELDS -> frame_id under which its power message comes."""
    if anchor_b is None:
        return {0: anchor_a, 6: f"{tag}-{anchor_a}"}
    return {0: anchor_a, 3: anchor_b, 6: f"{anchor_b}-{anchor_a}", 9: f"{anchor_a}-{anchor_b}"}


class FeatureReader:
    """Columns of features, by name.

    Args:
        names: among `FEATURES`.

    Raises:
        FeatureError: unknown names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if unknown := [name for name in names if name not in FEATURES]:
            raise FeatureError(f"no such features: {', '.join(unknown)}; known are {', '.join(FEATURES)}")
        self.names = tuple(names)
        self.needs_power = any(name not in GEOMETRY_FIELDS for name in names)
        geometry = [(i, GEOMETRY_FIELDS.index(n)) for i, n in enumerate(names) if n in GEOMETRY_FIELDS]
        power = [(i, POWER_FIELDS.index(n)) for i, n in enumerate(names) if n in POWER_FIELDS]
        self._geometry_to, self._geometry_from = _columns(geometry)
        self._power_to, self._power_from = _columns(power)
        self._differences = [(i, 3 * DIFFERENCES.index(n)) for i, n in enumerate(names) if n in DIFFERENCES]

    def read(self, geometry: np.ndarray, power: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(N, F) from geometry (N, 10) and power (N, 12); NaN where the driver gave no power."""
        if out is None:
            out = np.empty((len(geometry), len(self.names)))
        out[:, self._geometry_to] = geometry[:, self._geometry_from]
        if self._power_to.size:
            out[:, self._power_to] = power[:, self._power_from]
        for to, column in self._differences:
            np.subtract(power[:, column], power[:, column + 1], out=out[:, to])
        return out


def _columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return array[:, 0], array[:, 1]

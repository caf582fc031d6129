"""The PointNet of the comparison, and the heads that only it uses."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn

from nn_estimation.attitude.network import HEADS, ProjectToSO3, RotationHead

SCALE = 5.0  # brings the clouds to about unit variance along their longest axis


class EulerHead(nn.Module):
    """Three angles [rad] to a rotation, about z, then the new y, then the new x."""

    width = 3

    def forward(self, x: Tensor) -> Tensor:
        """(..., 3) to (..., 3, 3)."""
        (cz, cy, cx), (sz, sy, sx) = x.cos().unbind(-1), x.sin().unbind(-1)
        rows = (
            (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
            (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
            (-sy, cy * sx, cy * cx),
        )
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


class SvdInferenceHead(nn.Module):
    """Nine numbers as they are while training, the nearest rotation afterwards; SVD-Inference of Levinson et al."""

    width = 9

    def __init__(self) -> None:
        super().__init__()
        self.project = ProjectToSO3()

    def forward(self, x: Tensor) -> Tensor:
        """(..., 9) to (..., 3, 3)."""
        m = x.unflatten(-1, (3, 3))
        return m if self.training else self.project(m)


Head: TypeAlias = EulerHead | SvdInferenceHead | RotationHead

COMPARED: dict[str, type[Head]] = {
    "euler": EulerHead,
    "quaternion": HEADS["quaternion"],
    "6d": HEADS["sixd"],
    "svd-inference": SvdInferenceHead,
    "svd-train": HEADS["svd"],
}


class PointNet(nn.Module):
    """Layers that every point passes, the largest of each channel, layers behind; Qi et al. 2017, without T-nets.

    With the same seed, what comes before the last layer starts with the same weights whatever the head.

    Args:
        head: one of COMPARED.
        per_point: widths of the layers before the maximum.
        behind: widths of those after it.
    """

    def __init__(self, head: str, per_point: tuple[int, ...], behind: tuple[int, ...]) -> None:
        super().__init__()
        self.points = _layers((3, *per_point))
        self.behind = _layers((per_point[-1], *behind))
        self.head = COMPARED[head]()
        self.last = nn.Linear(behind[-1], self.head.width)

    def forward(self, cloud: Tensor) -> Tensor:
        """(B, N, 3) points to (B, 3, 3) rotations, or raw matrices where the head gives them."""
        features = self.points(SCALE * cloud.flatten(0, 1)).unflatten(0, cloud.shape[:2]).amax(1)
        return self.head(self.last(self.behind(features)))


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(
        *[part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU(inplace=True))]
    )

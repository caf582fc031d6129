"""The bias networks: small, structured like the physics of a range, with their own derivatives.

bias = c_link + s_link (d - 4)/2 + T(direction) + deviation_tag(direction) + pattern_anchor(direction) + g(d, power)
and the logarithm of the variance from the same T and g. T, the antenna pattern, is one network for all tags.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nn_estimation.uwb.bias import DISTANCE_SCALE, REFERENCE_DISTANCE

LOG_VARIANCE_RANGE = (-12.0, 2.0)  # of m^2: 2.5 mm to 2.7 m


@dataclass(frozen=True)
class Links:
    """Who a link connects, by number; -1 as a link means one never seen."""

    tag: tuple[int, ...]
    anchor: tuple[int, ...]  # the first one of a TDoA


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature in training."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class BiasNetwork(nn.Module, ABC):
    """What every bias network shares: columns by name, the affine part, and the three outputs.

    Args:
        features: names of the columns; `distance` is one of them.
        links: tables of the links.
        scaling: of the features.
        offset: (L,) [m] affine start.
        slope: (L,) [m].
        variance: [m^2] of the residuals at the start.
    """

    affine_only: tuple[str, ...] = ()  # features that nothing but the affine part reads
    link_tag: Tensor
    link_anchor: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        features: Sequence[str],
        links: Links,
        scaling: Scaling,
        offset: Sequence[float],
        slope: Sequence[float],
        variance: float,
    ) -> None:
        super().__init__()
        self.column = {name: i for i, name in enumerate(features)}
        self.offset = nn.Parameter(torch.tensor(offset, dtype=torch.float32))
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float32))
        # One row more than there are: of what was never seen.
        self.register_buffer("link_tag", torch.tensor([*links.tag, max(links.tag) + 1]))
        self.register_buffer("link_anchor", torch.tensor([*links.anchor, max(links.anchor) + 1]))
        self.register_buffer("feature_mean", torch.tensor(scaling.mean, dtype=torch.float32))
        self.register_buffer("feature_std", torch.tensor(scaling.std, dtype=torch.float32))
        self.log_variance = nn.Parameter(torch.tensor(math.log(variance)))

    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bias, variance and derivatives of the bias.

        Args:
            features: (N, F) in the order of the names.
            link: (N,) int64, -1 for one never seen.

        Returns:
            bias (N,) [m]; variance (N,) [m^2] of a corrected range; (N, 3) derivatives of the bias by distance,
            azimuth_tag and elevation_tag.
        """
        row = torch.where(link < 0, len(self.offset), link)
        bias, log_variance, gradient = self.affine(features, row)
        learned, spread, slopes = self.learned(features, row)
        log_variance = torch.clamp(log_variance + spread, *LOG_VARIANCE_RANGE)
        return bias + learned, torch.exp(log_variance), gradient + slopes

    def affine(self, features: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The part of the link itself."""
        offset = torch.cat([self.offset, self.offset.mean().reshape(1)])[row]
        slope = torch.cat([self.slope, self.slope.mean().reshape(1)])[row] / DISTANCE_SCALE
        distance = features[:, self.column["distance"]]
        sign = 1.0
        if "distance_b" in self.column:
            distance, sign = features[:, self.column["distance_b"]] - distance, -1.0
        zero = torch.zeros_like(slope)
        gradient = torch.stack([sign * slope, zero, zero], dim=1)
        return offset + slope * (distance - REFERENCE_DISTANCE), self.log_variance + zero, gradient

    @abstractmethod
    def learned(self, features: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bias, logarithm of the variance and derivatives of what the network adds."""


class StructuredBias(BiasNetwork):
    """The additive network of the module's first lines.

    Args:
        hidden: width of T.
        power_hidden: width of each g.
        harmonics: of the azimuth that T sees.
        own_harmonics: of the deviation of a tag and the pattern of an anchor.
        deviation_l2: strength that keeps those small.
    """

    order: Tensor
    own_order: Tensor

    def __init__(
        self,
        features: Sequence[str],
        links: Links,
        scaling: Scaling,
        offset: Sequence[float],
        slope: Sequence[float],
        variance: float,
        *,
        hidden: int = 16,
        power_hidden: int = 12,
        harmonics: int = 5,
        own_harmonics: int = 2,
        deviation_l2: float = 1.0,
    ) -> None:
        super().__init__(features, links, scaling, offset, slope, variance)
        self.deviation_l2 = deviation_l2
        self.register_buffer("order", torch.arange(1, harmonics + 1, dtype=torch.float32))
        self.register_buffer("own_order", torch.arange(1, own_harmonics + 1, dtype=torch.float32))
        if "azimuth_tag" in self.column:
            elevation = 2 if "elevation_tag" in self.column else 0
            self.pattern = Tangent(2 * harmonics + elevation, hidden, 2)
            self.tag_deviation = nn.Parameter(torch.zeros(max(links.tag) + 1, 2 * own_harmonics))
        if "azimuth_anchor" in self.column:
            self.anchor_deviation = nn.Parameter(torch.zeros(max(links.anchor) + 1, 2 * own_harmonics))
        angles = ("azimuth_tag", "elevation_tag", "azimuth_anchor", "elevation_anchor")
        # Each quantity its own g: what several of them say adds up, as it does in a link budget.
        self.affine_only = ("distance", "distance_b") if "distance_b" in self.column else ()
        self.scalars = [name for name in self.column if name not in (*angles, *self.affine_only)]
        self.scalar_nets = nn.ModuleList(Tangent(1, power_hidden, 2) for _ in self.scalars)

    def regularisation(self) -> Tensor:
        """L2 on the deviations of single tags and anchors from the common pattern."""
        deviations = [p for name, p in self.named_parameters() if name.endswith("_deviation")]
        return self.deviation_l2 * sum((p.square().sum() for p in deviations), torch.zeros(()))

    def learned(self, features: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `BiasNetwork`."""
        zero = torch.zeros_like(features[:, 0])
        bias, log_variance, by_distance, by_azimuth, by_elevation = zero, zero, zero, zero, zero
        if "azimuth_tag" in self.column:
            inputs, along_azimuth, along_elevation = self._direction(features)
            out, slope = self.pattern(inputs, along_azimuth)
            bias, log_variance, by_azimuth = bias + out[:, 0], log_variance + out[:, 1], slope[:, 0]
            if along_elevation is not None:
                by_elevation = self.pattern(inputs, along_elevation)[1][:, 0]
            basis, derivative = _fourier(features[:, self.column["azimuth_tag"]], self.own_order)
            own = _with_unseen(self.tag_deviation)[self.link_tag[row]]
            bias, by_azimuth = bias + (basis * own).sum(1), by_azimuth + (derivative * own).sum(1)
        if "azimuth_anchor" in self.column:
            basis, _ = _fourier(features[:, self.column["azimuth_anchor"]], self.own_order)
            bias = bias + (basis * _with_unseen(self.anchor_deviation)[self.link_anchor[row]]).sum(1)
        for name, net in zip(self.scalars, self.scalar_nets, strict=True):
            i = self.column[name]
            x = ((features[:, i] - self.feature_mean[i]) / self.feature_std[i])[:, None]
            out, slope = net(x, torch.ones_like(x) / self.feature_std[i])
            bias, log_variance = bias + out[:, 0], log_variance + out[:, 1]
            if name == "distance":
                by_distance = by_distance + slope[:, 0]
        return bias, log_variance, torch.stack([by_distance, by_azimuth, by_elevation], dim=1)

    def _direction(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs of T and their derivatives along azimuth and elevation."""
        basis, derivative = _fourier(features[:, self.column["azimuth_tag"]], self.order)
        if "elevation_tag" not in self.column:
            return basis, derivative, None
        elevation = features[:, self.column["elevation_tag"]][:, None]
        sin, cos, none = torch.sin(elevation), torch.cos(elevation), torch.zeros_like(elevation)
        # Near the zenith the azimuth means nothing: cos(elevation) fades it out.
        inputs = torch.cat([cos * basis, sin, sin * sin], dim=1)
        along_azimuth = torch.cat([cos * derivative, none, none], dim=1)
        return inputs, along_azimuth, torch.cat([-sin * basis, cos, 2 * sin * cos], dim=1)


class PlainBias(BiasNetwork):
    """A plain multilayer perceptron on top of the affine part, the peer of `StructuredBias`."""

    def __init__(
        self,
        features: Sequence[str],
        links: Links,
        scaling: Scaling,
        offset: Sequence[float],
        slope: Sequence[float],
        variance: float,
        *,
        hidden: int = 24,
    ) -> None:
        super().__init__(features, links, scaling, offset, slope, variance)
        self.angles = [name for name in self.column if name.startswith(("azimuth", "elevation"))]
        self.scalars = [name for name in self.column if name not in self.angles]
        self.net = Tangent(2 * len(self.angles) + len(self.scalars) + len(links.tag) + 1, hidden, 2, layers=2)

    def learned(self, features: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `BiasNetwork`."""
        parts, tangents = [], {name: [] for name in ("distance", "azimuth_tag", "elevation_tag")}  # type: ignore[var-annotated]
        none = torch.zeros_like(features[:, :1])
        for name in (*self.angles, *self.scalars):
            i = self.column[name]
            x = features[:, i : i + 1]
            if name in self.angles:
                value, slope = (
                    torch.cat([torch.sin(x), torch.cos(x)], 1),
                    torch.cat([torch.cos(x), -torch.sin(x)], 1),
                )
            else:
                value, slope = (
                    (x - self.feature_mean[i]) / self.feature_std[i],
                    torch.ones_like(x) / self.feature_std[i],
                )
            parts.append(value)
            for wanted, collected in tangents.items():
                collected.append(slope if wanted == name else torch.zeros_like(value))
        identity = torch.eye(len(self.link_tag), device=features.device)[row]
        inputs = torch.cat([*parts, identity], dim=1)
        slopes = []
        for name, collected in tangents.items():
            if name in self.column:
                out, slope = self.net(inputs, torch.cat([*collected, torch.zeros_like(identity)], dim=1))
                slopes.append(slope[:, :1])
            else:
                slopes.append(none)
        return out[:, 0], out[:, 1], torch.cat(slopes, dim=1)


class Tangent(nn.Module):
    """A tanh network together with its derivative in one direction, written out so that ONNX can hold it.

    The last layer is zero at the start: training begins from what stands below it.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int = 1) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, outputs) at x (N, inputs), and their derivatives along tangent (N, inputs)."""
        for layer in self.layers:
            x = torch.tanh(layer(x))
            tangent = (1.0 - x * x) * linear(tangent, layer.weight)  # type: ignore[arg-type]
        return self.last(x), linear(tangent, self.last.weight)


def _fourier(angle: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2K) sin and cos of the multiples of an angle (N,), and their derivatives."""
    phase = angle[:, None] * order
    sin, cos = torch.sin(phase), torch.cos(phase)
    return torch.cat([sin, cos], dim=1), torch.cat([order * cos, -order * sin], dim=1)


def _with_unseen(table: Tensor) -> Tensor:
    return torch.cat([table, torch.zeros_like(table[:1])])

"""Rotations at the end of a network: heads, losses, the projection to SO(3) inside ONNX, and Wahba's problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

T = TypeVar("T")

SQUARINGS = 28  # leave one eigenvalue where the next is 1e-7 of it below
RENORMALISED_EVERY = 8  # 2^8 squares of a number from 1/4 to 4 stay within a float64


def _quadratic_forms() -> Tensor:
    """(9, 16): R_ij = q^T T_ij q for the rotation R of a unit quaternion q = w, x, y, z."""
    forms = torch.zeros(3, 3, 4, 4, dtype=torch.float64)
    forms[:, :, 0, 0] = torch.eye(3)
    for i in range(3):
        forms[i, i, 1:, 1:] = -torch.eye(3, dtype=torch.float64)
        forms[i, i, 1 + i, 1 + i] = 1.0
        j, k = (i + 1) % 3, (i + 2) % 3
        for a, b, sign in ((j, k, -1.0), (k, j, 1.0)):
            forms[a, b, 1 + j, 1 + k] = forms[a, b, 1 + k, 1 + j] = 1.0
            forms[a, b, 0, 1 + i] = forms[a, b, 1 + i, 0] = sign
    return forms.reshape(9, 16)


class SvdProjection(torch.autograd.Function):
    """Nearest rotation by SVD, U diag(1, 1, det(U V^T)) V^T, with the gradient of the projection itself.

    That of torch.linalg.svd divides by differences of singular values, which the projection does not depend
    on. In closed form, with sign-corrected singular values s and X = U^T (dL/dR) V,
    dL/dM = U [(X - X^T)_ij / (s_i + s_j)] V^T: singular only where s2 + s3 -> 0, where no rotation is nearest,
    and finite there.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, m: Tensor) -> Tensor:
        """(..., 3, 3) any matrices to the rotations nearest to them."""
        u, s, vt = torch.linalg.svd(m)
        sign = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0).to(m.dtype)[..., None]
        u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None]], dim=-1)
        s = torch.cat([s[..., :2], s[..., 2:] * sign], dim=-1)
        ctx.save_for_backward(u, s, vt)
        return u @ vt

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        """(..., 3, 3) gradient with respect to the matrices."""
        u, s, vt = ctx.saved_tensors  # type: ignore[attr-defined]
        x = u.mT @ grad @ vt.mT
        sums = (s[..., :, None] + s[..., None, :]).clamp(min=torch.finfo(s.dtype).eps)
        return u @ ((x - x.mT) / sums) @ vt


def project_by_squaring(m: Tensor, squarings: int = SQUARINGS) -> Tensor:
    """Nearest rotation in products alone, for ONNX, which has no SVD.

    The quaternion is the dominant eigenvector of Davenport's K matrix (Shuster and Oh 1981), found by squaring
    K + shift until one eigenvalue is left. The result is a rotation whatever the matrix is; where none is
    nearest it is near one of the nearest, and the identity for zeros. Exact to rounding for s2 + s3 > 3e-7 s1.

    Args:
        m: (..., 3, 3) float32 or float64.
        squarings: fewer are faster where s2 + s3 is known to be no smaller than 25 x 2^-squarings of s1.

    Returns:
        (..., 3, 3) of the same type, computed in float64.
    """
    forms = _quadratic_forms().to(m.device)
    eye, smallest = torch.eye(4).to(forms), torch.tensor(1e-300, dtype=torch.float64, device=m.device)
    entries = m.double().flatten(-2)
    entries = entries / torch.maximum(entries.abs().amax(-1, keepdim=True), smallest)
    # No eigenvalue of K is below -(s1 + s2 + s3) >= -sqrt(3) |M| >= -sqrt(27).
    power = (entries @ forms).unflatten(-1, (4, 4)) + math.sqrt(27.0) * eye
    for n in range(squarings):
        if n % RENORMALISED_EVERY == 0:
            power = power / power.amax((-2, -1), keepdim=True)
        power = power @ power
    largest = (power * eye).amax(-1).argmax(-1, keepdim=True)
    chosen = (largest == torch.arange(4, device=m.device)).double()
    # Not gather or take_along_dim: the exporter turns the former into many nodes and bakes the batch of the latter.
    q = power @ chosen[..., None]
    q = q / (q * q).sum(-2, keepdim=True).sqrt()
    return ((q * q.mT).flatten(-2) @ forms.T).unflatten(-1, (3, 3)).to(m.dtype)


class ProjectToSO3(nn.Module):
    """The projection as a layer: (..., 3, 3) any matrices to the nearest rotations of the same type.

    In training mode by SVD with its closed-form gradient, in eval mode in products alone, which can be exported
    to ONNX as part of a larger module. The two agree to rounding, and so do their gradients.
    """

    def forward(self, m: Tensor) -> Tensor:
        """(..., 3, 3) float32 or float64 to rotations."""
        return SvdProjection.apply(m) if self.training else project_by_squaring(m)


class SvdHead(nn.Module):
    """Nine numbers, a matrix row by row, to the rotation nearest to it; Levinson et al. 2020."""

    width = 9

    def __init__(self) -> None:
        super().__init__()
        self.project = ProjectToSO3()

    def forward(self, x: Tensor) -> Tensor:
        """(..., 9) to (..., 3, 3)."""
        return self.project(x.unflatten(-1, (3, 3)))


class SixdHead(nn.Module):
    """Six numbers, the first two columns, to a rotation by Gram-Schmidt; Zhou et al. 2019, eq. 15.

    No rotation comes out, but zeros in place of columns, where the two are parallel.
    """

    width = 6

    def forward(self, x: Tensor) -> Tensor:
        """(..., 6) to (..., 3, 3)."""
        first = functional.normalize(x[..., :3], dim=-1)
        second = x[..., 3:] - (first * x[..., 3:]).sum(-1, keepdim=True) * first
        second = functional.normalize(second, dim=-1)
        third = torch.linalg.cross(first, second, dim=-1)
        return torch.stack([first, second, third], dim=-1)


class QuaternionHead(nn.Module):
    """Four numbers to the rotation of the normalised quaternion w, x, y, z; the identity for zeros."""

    width = 4

    def forward(self, x: Tensor) -> Tensor:
        """(..., 4) to (..., 3, 3)."""
        w, *v = functional.normalize(x, dim=-1).unbind(-1)
        squares = [a * a for a in v]
        rows = []
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            row = {
                i: 1.0 - 2.0 * (squares[j] + squares[k]),
                j: 2.0 * (v[i] * v[j] - w * v[k]),
                k: 2.0 * (v[i] * v[k] + w * v[j]),
            }
            rows.append(torch.stack([row[0], row[1], row[2]], dim=-1))
        return torch.stack(rows, dim=-2)


RotationHead: TypeAlias = SvdHead | SixdHead | QuaternionHead

HEADS: dict[str, type[RotationHead]] = {
    "quaternion": QuaternionHead,
    "sixd": SixdHead,
    "svd": SvdHead,
}


def rotation_head(name: str) -> RotationHead:
    """The head of that name, which turns the last `width` outputs of a network into rotations.

    Raises:
        ValueError: no head of that name.
    """
    return _named("head", HEADS, name)()


def frobenius_loss(a: Tensor, b: Tensor) -> Tensor:
    """Squared Frobenius distance, 8 sin^2(angle / 2) between rotations; for raw matrices too.

    Args:
        a: (..., 3, 3).
        b: (..., 3, 3).

    Returns:
        (...).
    """
    return (a - b).square().sum((-2, -1))


def chordal_loss(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius distance, 2 sqrt(2) sin(angle / 2) between rotations, as `frobenius_loss`; slope 0 at 0."""
    return torch.linalg.vector_norm(a - b, dim=(-2, -1))


def geodesic_loss(a: Tensor, b: Tensor) -> Tensor:
    """Angle [rad] between rotations, as `frobenius_loss`; slope 0 at 0 and at pi, 1 elsewhere."""
    between = a.mT @ b
    skew = between - between.mT
    twice_sine = torch.linalg.vector_norm(skew, dim=(-2, -1)) / math.sqrt(2.0)
    return torch.atan2(twice_sine, between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "frobenius": frobenius_loss,
    "chordal": chordal_loss,
    "geodesic": geodesic_loss,
}


def rotation_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of that name, between estimated and true rotations (..., 3, 3), one number each (...).

    Raises:
        ValueError: no loss of that name.
    """
    return _named("loss", LOSSES, name)


def _named(kind: str, registry: Mapping[str, T], name: str) -> T:
    if name not in registry:
        raise ValueError(f"no rotation {kind} is called {name!r}: choose one of {', '.join(registry)}")
    return registry[name]


LOWEST, HIGHEST = (
    math.log(math.radians(0.3)),
    math.log(math.radians(60.0)),
)  # of the scale of a field's heading
SMALLEST_VARIANCE = 1e-6  # [rad^2] of a prior: so PRIOR_SQUARINGS suffice
PRIOR_SQUARINGS = 20  # 0.06 deg of inclination beside up to 11 deg of heading
LEAST_INFORMATION = 1e-2  # [1/rad^2] keeps the inverse finite where nothing is known
REACH = 3.0  # standard deviations, beyond which a feature is cut


class WahbaNetwork(nn.Module):
    """How far a field's heading may be off, and the attitude that follows: Wahba's problem with learned weights.

    A prior rotation with variances of inclination and heading is D R with the weights D, a field is w n m^T with its
    horizontal direction m in the sensor, north n and the learned weight w: 1 / (correlation x variance). Their sum,
    the attitude profile matrix F, is projected to SO(3). As the parameter of a matrix Fisher distribution (Lee 2018)
    it has the information matrix tr(F R^T) I - F R^T about the world axes, whose inverse is the covariance.

    Args:
        centre: (14,) of the features.
        scale: (14,) their standard deviations.
        correlation: times the variance of a field, as errors of fields last.
    """

    centre: Tensor
    scale: Tensor
    correlation: Tensor

    def __init__(self, centre: ArrayLike, scale: ArrayLike, correlation: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(np.asarray(centre), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(np.asarray(scale), dtype=torch.float32))
        self.register_buffer("correlation", torch.tensor(correlation, dtype=torch.float64))
        last = nn.Linear(8, 1)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(math.radians(3.0)))
        self.layers = nn.Sequential(
            nn.Linear(len(self.centre), 16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(), last
        )

    def log_scale(self, features: Tensor) -> Tensor:
        """(B, 14) to (B,): logarithm of the scale [rad] of the Laplace distribution of the field's heading error."""
        x = ((features - self.centre) / self.scale).clamp(-REACH, REACH)
        return self.layers(x)[..., 0].clamp(LOWEST, HIGHEST)

    def forward(
        self, features: Tensor, prior: Tensor, prior_variance: Tensor, field: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation, covariance and the standard deviation of the field's heading.

        Args:
            features: (B, 14) float32.
            prior: (B, 3, 3) float64, sensor to world.
            prior_variance: (B, 2) [rad^2] float64, of inclination and heading.
            field: (B, 3) float64, any unit, sensor frame.

        Returns:
            (B, 3, 3) float64, (B, 3, 3) [rad^2] float64 about the world axes, (B,) [rad] float32.
        """
        deviation = math.sqrt(2.0) * torch.exp(self.log_scale(features))
        weight = 1.0 / (self.correlation * deviation.double().square())
        world = (prior @ field[..., None])[..., 0]
        level = world * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
        level = level / level.square().sum(-1, keepdim=True).clamp(min=1e-30).sqrt()
        direction = (prior.mT @ level[..., None])[..., 0]
        north = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        inclination, heading = prior_variance.clamp(min=SMALLEST_VARIANCE).unbind(-1)
        across = 0.5 / heading
        weights = torch.stack([across, across, 1.0 / inclination - across], dim=-1)
        profile = (
            weights[..., None] * prior + weight[..., None, None] * north[:, None] * direction[..., None, :]
        )
        rotation = project_by_squaring(profile, PRIOR_SQUARINGS)
        return rotation, _fisher_covariance(profile, rotation), deviation


def _fisher_covariance(profile: Tensor, rotation: Tensor) -> Tensor:
    """(..., 3, 3) inverse of tr(S) I - S with S = F R^T, by its adjugate: ONNX has no inverse."""
    s = profile @ rotation.mT
    eye = torch.eye(3, dtype=torch.float64)
    trace = (s * eye).sum((-2, -1), keepdim=True)
    a = (trace + LEAST_INFORMATION) * eye - 0.5 * (s + s.mT)
    square, first, second = a @ a, (a * eye).sum((-2, -1), keepdim=True), (a * a).sum((-2, -1), keepdim=True)
    adjugate = square - first * a + 0.5 * (first * first - second) * eye  # Cayley and Hamilton
    determinant = (adjugate * a).sum((-2, -1), keepdim=True) / 3.0
    return adjugate / determinant.clamp(min=1e-30)

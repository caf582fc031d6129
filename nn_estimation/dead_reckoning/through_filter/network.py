"""The filter in torch: the same numbers as the compiled one, with gradients, for a batch of stretches at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.filter import GRAVITY, SIZE
from nn_estimation.dead_reckoning.vehicle import LONGEST, PERIOD, SMOOTHING

WALKS = ("gyro_walk", "accel_walk", "mount_walk", "lever_walk")


@dataclass
class TorchState:
    """B states; see `filter`. All float64."""

    R: Tensor  # (B, 3, 3)
    v: Tensor  # (B, 3)
    p: Tensor  # (B, 3)
    gyro_bias: Tensor  # (B, 3)
    accel_bias: Tensor  # (B, 3)
    C: Tensor  # (B, 3, 3)
    lever: Tensor  # (B, 3)
    P: Tensor  # (B, 21, 21)
    forward_accel: Tensor  # (B,)


def run(
    state: TorchState,
    gyro: Tensor,
    accel: Tensor,
    dt: Tensor,
    earth: Tensor,
    mean: Tensor,
    variance: Tensor,
    constants: Mapping[str, Tensor | float] | Constants,
) -> Iterator[TorchState]:
    """The states after each of S samples, without standstill and gaps.

    Args:
        state: before the first sample; not changed.
        gyro: (S, B, 3) [rad/s].
        accel: (S, B, 3) [m/s^2].
        dt: (S, B) [s].
        earth: (B, 3) [rad/s], world frame.
        mean: (S, B, 2) [m/s] of the pseudo-measurement.
        variance: (S, B, 2) [m^2/s^2].
        constants: by name; tensors may ask for gradients.
    """
    c = constants._asdict() if isinstance(constants, Constants) else constants
    base = torch.zeros(SIZE, dtype=torch.float64)
    noise = torch.stack([torch.as_tensor(c[name], dtype=torch.float64) for name in ("gyro", "accel", *WALKS)])
    spread = torch.cat([noise[:2].repeat_interleave(3), base[:3], noise[2:].repeat_interleave(3)])
    eye = torch.eye(SIZE, dtype=torch.float64)
    turn_earth = skew(earth)
    for k in range(len(gyro)):
        state = _propagate(state, gyro[k], accel[k], dt[k], earth, turn_earth, spread, eye)
        state = _constrain(state, gyro[k], accel[k], dt[k], mean[k], variance[k], c)
        yield state


def skew(a: Tensor) -> Tensor:
    """(..., 3) to the (..., 3, 3) matrices of the cross product with them."""
    zero = torch.zeros_like(a[..., 0])
    x, y, z = a.unbind(-1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def so3_exp(w: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) [rad]; gradients are right at zero too."""
    a, b, _ = _series(w)
    W = skew(w)
    return torch.eye(3, dtype=w.dtype) + a * W + b * (W @ W)


def left_jacobian(w: Tensor) -> Tensor:
    """(..., 3, 3) left Jacobians of SO(3) at (..., 3)."""
    _, b, c = _series(w)
    W = skew(w)
    return torch.eye(3, dtype=w.dtype) + b * W + c * (W @ W)


def _series(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(x)/x, (1 - cos(x))/x^2, (x - sin(x))/x^3 of x = |w|, each (..., 1, 1)."""
    square = (w * w).sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)  # keeps NaN out of the other branch's gradient
    x = safe.sqrt()
    return (
        torch.where(small, 1.0 - square / 6.0, x.sin() / x),
        torch.where(small, 0.5 - square / 24.0, (1.0 - x.cos()) / safe),
        torch.where(small, 1.0 / 6.0 - square / 120.0, (x - x.sin()) / (safe * x)),
    )


def _rotated(R: Tensor, x: Tensor) -> Tensor:
    return (R @ x[..., None])[..., 0]


def _orthonormal(R: Tensor) -> Tensor:
    return R @ (1.5 * torch.eye(3, dtype=R.dtype) - 0.5 * R.mT @ R)


def _propagate(
    s: TorchState,
    gyro: Tensor,
    accel: Tensor,
    dt: Tensor,
    earth: Tensor,
    turn_earth: Tensor,
    spread: Tensor,
    eye: Tensor,
) -> TorchState:
    """See `filter.propagate`."""
    t, T = dt[:, None], dt[:, None, None]
    # The gyro's noise turns velocity and position too.
    grown = torch.cat([eye[:3, :3].expand(len(t), 3, 3), skew(s.v), skew(s.p)], 1)
    tail = torch.zeros(len(t), SIZE - 9, 3, dtype=torch.float64)
    G = torch.cat([grown, tail], 1)
    without = torch.cat([torch.zeros(3, dtype=torch.float64), spread[3:]])
    P = s.P + T * (spread[0] * (G @ G.mT) + torch.diag(without))
    world = _rotated(s.R, accel - s.accel_bias)
    world = world - GRAVITY * eye[2, :3] - 2.0 * _rotated(turn_earth, s.v)
    p = s.p + s.v * t + 0.5 * world * t * t
    v = s.v + world * t
    turned = s.R @ so3_exp((gyro - s.gyro_bias) * t)
    middle = 0.5 * (s.R + turned)
    lift = torch.zeros(len(t), 3, 3, dtype=torch.float64)
    lift[:, 0, 1] = GRAVITY * dt
    lift[:, 1, 0] = -GRAVITY * dt
    one, none = eye[:3, :3].expand(len(t), 3, 3), torch.zeros(len(t), 3, 3, dtype=torch.float64)
    bias, rest = -T * s.R, torch.zeros(len(t), 3, 6, dtype=torch.float64)
    top = torch.cat([one, none, none, -T * middle, none, rest], 2)
    second = torch.cat([lift, one, none, -T * skew(v) @ middle, bias, rest], 2)
    half = 0.5 * T
    third = torch.cat([half * lift, T * one, one, -T * skew(p) @ middle, half * bias, rest], 2)
    Phi = torch.cat([top, second, third, eye[9:].expand(len(t), SIZE - 9, SIZE)], 1)
    P = Phi @ P @ Phi.mT
    R = _orthonormal(turned - T * turn_earth @ turned)
    return TorchState(R, v, p, s.gyro_bias, s.accel_bias, s.C, s.lever, P, s.forward_accel)


def _constrain(
    s: TorchState,
    gyro: Tensor,
    accel: Tensor,
    dt: Tensor,
    mean: Tensor,
    variance: Tensor,
    c: Mapping[str, Tensor | float],
) -> TorchState:
    """See `vehicle.remember`, `vehicle.slip_residual` and `vehicle.constrain`."""
    forward = (s.C[:, :, 0] * (accel - s.accel_bias)).sum(-1)
    forward = s.forward_accel + (dt / SMOOTHING).clamp(max=1.0) * (forward - s.forward_accel)
    omega = gyro - s.gyro_bias
    x = _rotated(s.R.mT, s.v) + torch.linalg.cross(omega, s.lever)
    Ct = s.C.mT
    by_omega = skew(omega)
    none = torch.zeros(len(dt), 3, 3, dtype=torch.float64)
    rows = torch.cat([none, Ct @ s.R.mT, none, Ct @ skew(s.lever), none, Ct @ skew(x), Ct @ by_omega], 2)
    out = _rotated(Ct, x)
    z = Ct[:, 2:]
    none = none[:, :1]
    by_rate = torch.cat([none, none, none, -z, none, z @ by_omega, none], 2)
    speed, rate = out[:, 0], (z[:, 0] * omega).sum(-1)
    lateral = c["slip"] + c["slip_speed"] * speed.abs()
    vertical = c["squat"] * forward + c["lift"] * rate * rate
    r = torch.stack([lateral * rate * speed - out[:, 1], vertical * speed - out[:, 2]], 1) + mean
    by_speed = (c["slip"] + 2.0 * c["slip_speed"] * speed.abs()) * rate
    H = rows[:, 1:3] - torch.cat(
        [
            by_speed[:, None, None] * rows[:, :1] + (lateral * speed)[:, None, None] * by_rate,
            vertical[:, None, None] * rows[:, :1] + (2.0 * c["lift"] * rate * speed)[:, None, None] * by_rate,
        ],
        1,
    )
    noise = variance * (PERIOD / dt.clamp(max=LONGEST))[:, None]
    PH = s.P @ H.mT
    S = H @ PH + torch.diag_embed(noise)
    gain = torch.linalg.solve(S, PH.mT).mT
    dx = _rotated(gain, r)
    P = s.P - gain @ PH.mT
    P = 0.5 * (P + P.mT)
    turn, w = so3_exp(dx[:, :3]), left_jacobian(dx[:, :3])
    return TorchState(
        R=turn @ s.R,
        v=_rotated(turn, s.v) + _rotated(w, dx[:, 3:6]),
        p=_rotated(turn, s.p) + _rotated(w, dx[:, 6:9]),
        gyro_bias=s.gyro_bias + dx[:, 9:12],
        accel_bias=s.accel_bias + dx[:, 12:15],
        C=_orthonormal(so3_exp(dx[:, 15:18]) @ s.C),
        lever=s.lever + dx[:, 18:21],
        P=P,
        forward_accel=forward,
    )

"""The filter in torch equals the compiled one, and its gradients are those of finite differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nn_estimation.dead_reckoning.constants import Constants  # noqa: E402
from nn_estimation.dead_reckoning.estimator import earth_rate, first_state, track  # noqa: E402
from nn_estimation.dead_reckoning.through_filter.network import TorchState, left_jacobian, run, so3_exp  # noqa: E402

CONSTANTS = Constants(
    slip=-0.06, slip_speed=-5e-4, squat=-0.005, lift=0.01, mount_pitch=-0.01, lever_x=0.3, lateral=11.0
)
LATITUDE = 0.85


def a_drive(count=200, period=0.1, seed=0):
    rng = np.random.default_rng(seed)
    stamp = np.cumsum(np.r_[0.0, period * (1.0 + 0.1 * rng.random(count - 1))])
    gyro = 0.1 * np.sin(0.05 * stamp)[:, None] * [0.1, 0.1, 1.0] + 0.002 * rng.standard_normal((count, 3))
    accel = [0.0, 0.0, 9.8] + 0.3 * rng.standard_normal((count, 3))
    return stamp, gyro, accel


def start(c):
    return first_state(c, 0.0, np.array([5.0, -3.0, 1.0]), np.eye(3), np.array([12.0, 0.5, 0.1]))


def as_torch(state):
    arrays = [torch.tensor(a[None].copy()) for a in state.arrays()[:-1]]
    return TorchState(*arrays, forward_accel=torch.zeros(1, dtype=torch.float64))


def torch_inputs(stamp, gyro, accel):
    dt = torch.tensor(np.diff(stamp))[:, None]
    return torch.tensor(gyro[1:, None]), torch.tensor(accel[1:, None]), dt


def test_it_equals_the_compiled_filter():
    stamp, gyro, accel = a_drive()
    found = track(CONSTANTS, stamp, gyro, accel, start(CONSTANTS), LATITUDE, covariances=True)
    inputs = torch_inputs(stamp, gyro, accel)
    mean = torch.zeros(len(stamp) - 1, 1, 2, dtype=torch.float64)
    variance = torch.tensor([CONSTANTS.lateral, CONSTANTS.vertical], dtype=torch.float64).expand_as(mean)
    earth = torch.tensor(earth_rate(LATITUDE))[None]
    states = list(run(as_torch(start(CONSTANTS)), *inputs, earth, mean, variance, CONSTANTS))
    for name in ("R", "velocity", "position", "P"):
        part = {"velocity": "v", "position": "p"}.get(name, name)
        in_torch = np.array([getattr(state, part)[0].numpy() for state in states])
        compiled = getattr(found, name)[1:]
        np.testing.assert_allclose(in_torch, compiled, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-5, 1e-3, 1.0])
@pytest.mark.parametrize("function", [so3_exp, left_jacobian])
def test_gradients_of_the_exponential_are_right_everywhere(function, scale):
    w = scale * torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(function, w.requires_grad_())


NAMES = (
    "gyro",
    "accel",
    "gyro_walk",
    "accel_walk",
    "mount_walk",
    "lever_walk",
    "slip",
    "slip_speed",
    "squat",
    "lift",
)


def test_gradients_through_the_filter_are_those_of_finite_differences():
    stamp, gyro, accel = a_drive(count=15)
    inputs = torch_inputs(stamp, gyro, accel)
    earth = torch.tensor(earth_rate(LATITUDE))[None]

    def end(log_variance, mean, change):
        factors = dict(zip(NAMES, 1.0 + change, strict=True))
        c = {n: v * factors[n] if n in factors else v for n, v in CONSTANTS._asdict().items()}
        variance = log_variance.exp()
        *_, last = run(as_torch(start(CONSTANTS)), *inputs, earth, mean, variance, c)
        return torch.cat([last.p[0], last.v[0], last.R[0].flatten()])

    torch.manual_seed(0)
    mean = 0.1 * torch.randn(len(stamp) - 1, 1, 2, dtype=torch.float64)
    given = (torch.randn_like(mean), mean, torch.zeros(len(NAMES), dtype=torch.float64))
    assert torch.autograd.gradcheck(
        end, tuple(g.requires_grad_() for g in given), eps=1e-6, atol=1e-6, rtol=1e-3, fast_mode=True
    )

# ruff: noqa: E402
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.learning import losses
from nn_estimation.learning.batches import Batch
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import Loss, Trainer, reproducible

errors = st.floats(-1e3, 1e3)
logs = st.floats(-5.0, 5.0)
scales = st.floats(1e-2, 1e2)


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(errors, logs)
def test_likelihoods_are_those_of_torch_distributions_up_to_a_constant(error: float, log: float) -> None:
    from torch.distributions import Laplace, Normal, StudentT

    e, s = double(error), double(log)
    zero = double(0.0)
    for ours, density, constant in (
        (losses.gaussian_nll(e, s), Normal(zero, torch.exp(0.5 * s)), 0.5 * math.log(2 * math.pi)),
        (losses.laplace_nll(e, s), Laplace(zero, torch.exp(s)), math.log(2.0)),
        (losses.student_t_nll(e, s, 4.0), StudentT(double(4.0), zero, torch.exp(s)), math.log(8.0 / 3.0)),
    ):
        torch.testing.assert_close(ours + constant, -density.log_prob(e), rtol=1e-9, atol=1e-9)


@given(errors, scales)
def test_robust_losses_never_exceed_half_the_square_and_touch_it_near_zero(
    error: float, scale: float
) -> None:
    e, small = double(error), double(1e-4 * scale)
    for loss in (losses.huber, losses.geman_mcclure):
        assert 0.0 <= loss(e, scale) <= losses.squared(e) * (1 + 1e-12)
        torch.testing.assert_close(loss(small, scale), losses.squared(small), rtol=1e-6, atol=0.0)
        assert loss(-e, scale) == loss(e, scale)


@given(st.floats(1.0, 1e3), scales)
def test_beyond_its_scale_huber_is_linear_and_geman_mcclure_lets_go(factor: float, scale: float) -> None:
    error = double(factor * scale).requires_grad_()
    (slope,) = torch.autograd.grad(losses.huber(error, scale), error)
    torch.testing.assert_close(slope, double(scale))
    (slope,) = torch.autograd.grad(losses.geman_mcclure(error, scale), error)
    torch.testing.assert_close(slope, error.detach() / (1 + factor**2) ** 2)
    assert losses.geman_mcclure(error, scale) <= 0.5 * scale**2


def heteroscedastic(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """x in [-1, 1], y = sin(3 x) with a standard deviation of exp(-1.5 + x)."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, 1, generator=generator) - 1
    std = torch.exp(-1.5 + x[:, 0])
    return x, torch.sin(3 * x[:, 0]) + std * torch.randn(count, generator=generator), std


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_gaussian_nll_recovers_a_variance_that_varies(beta: float) -> None:
    x, y, _ = heteroscedastic(4000, 0)
    with reproducible(0):
        module = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 2))

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        mean, log_variance = module(x).unbind(1)
        return losses.gaussian_nll(mean - y, log_variance, beta)

    Trainer(module, loss, TrainConfig(60, 128, lr=0.02, schedule="one_cycle")).fit((x, y))
    x, y, std = heteroscedastic(20000, 1)
    with torch.no_grad():
        mean, log_variance = module(x).unbind(1)
    predicted = torch.exp(0.5 * log_variance)
    # 4000 samples give the standard deviation of a tenth of the range to 1/sqrt(800) = 3.5 %.
    assert (predicted / std).log().square().mean().sqrt() < 0.1
    error = (mean - y).abs()
    for low, high in ((-1.0, -0.5), (-0.5, 0.5), (0.5, 1.0)):
        part = (x[:, 0] >= low) & (x[:, 0] < high)
        assert (error[part] < predicted[part]).double().mean() == pytest.approx(0.683, abs=0.04)
        assert (error[part] < 2 * predicted[part]).double().mean() == pytest.approx(0.954, abs=0.02)


def slope_learned_with(loss_of_error, outlier: float) -> float:
    """The slope of y = 2 x with a tenth of the samples off by `outlier`."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1000, 1, generator=generator) + 0.5
    y = 2 * x[:, 0] + 0.05 * torch.randn(1000, generator=generator)
    y[::10] += outlier
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.5)
    loss: Loss = lambda m, b: loss_of_error(m(b[0])[:, 0] - b[1])  # noqa: E731
    Trainer(module, loss, TrainConfig(60, 100, lr=0.02, schedule="cosine")).fit((x, y))
    return module.weight.item()


@pytest.mark.parametrize(
    ("loss", "tolerance"),
    [
        (lambda e: losses.huber(e, 0.1), 0.03),  # bounded pull: 0.1 scale * density, not zero
        (lambda e: losses.geman_mcclure(e, 0.2), 0.01),
        (lambda e: losses.laplace_nll(e, torch.tensor(0.0)), 0.03),
        (lambda e: losses.student_t_nll(e, torch.tensor(math.log(0.05))), 0.01),
    ],
    ids=["huber", "geman_mcclure", "laplace", "student_t"],
)
def test_outliers_move_a_robust_fit_little_however_far_they_are(loss, tolerance: float) -> None:
    assert slope_learned_with(losses.squared, 10.0) > 2.7
    near, far = slope_learned_with(loss, 3.0), slope_learned_with(loss, 10.0)
    assert near == pytest.approx(2.0, abs=tolerance)
    assert far == pytest.approx(near, abs=5e-3)

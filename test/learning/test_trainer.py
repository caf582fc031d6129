"""Claims about a training: optimizers, schedules, stopping, penalties, and what it refuses."""

# ruff: noqa: E402
import itertools
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.configuration import ConfigError
from nn_estimation.learning.batches import Stream
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.losses import squared
from nn_estimation.learning.trainer import Trainer, TrainingError, reproducible

from .trainings import ALL_SCHEDULES, linear, linear_data, network, squared_error, weights


@pytest.mark.parametrize("schedule", ALL_SCHEDULES)
@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.3), ("momentum", 0.05), ("adam", 0.05)])
def test_every_optimizer_and_schedule_finds_the_least_squares_solution(optimizer, lr, schedule) -> None:
    x, y = linear_data()
    design = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    solution = torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
    module = linear()
    config = TrainConfig(60, 64, optimizer, lr, schedule=schedule, step_epochs=20)
    history = Trainer(module, squared_error, config).fit((x, y))
    assert history.train_loss[-1] < 0.02 * history.train_loss[0]
    # A constant rate keeps wandering about the solution by the noise of its batches, about lr times it.
    torch.testing.assert_close(weights(module), solution, rtol=0.0, atol=0.03)


@pytest.mark.parametrize("schedule", ALL_SCHEDULES)
def test_the_learning_rate_follows_its_schedule(schedule: str) -> None:
    config = TrainConfig(10, 128, lr=0.1, schedule=schedule, step_epochs=4, decay=0.5, plateau_epochs=2)
    module = linear()
    nothing_to_gain = (torch.zeros(512, 4), torch.zeros(512))
    rates = Trainer(module, lambda m, b: 0.0 * squared_error(m, b), config).fit(nothing_to_gain).lr
    first = {"one_cycle": 0.1 / 25}.get(schedule, 0.1)
    assert rates[0] == pytest.approx(first)
    expected = {
        "constant": [0.1] * 10,
        "step": [0.1] * 4 + [0.05] * 4 + [0.025] * 2,
        "cosine": [0.05 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)],
        "plateau": [0.1] * 4 + [0.05] * 3 + [0.025] * 3,
    }.get(schedule)
    if expected:
        assert rates == pytest.approx(expected)
    else:
        assert max(rates) > 0.09 and rates.index(max(rates)) == 3 and rates[-1] < 0.01


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    def trained(seed: int) -> Tensor:
        module = network()
        Trainer(module, squared_error, TrainConfig(3, 32, seed=seed)).fit(linear_data())
        return weights(module)

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_the_seed_does_not_depend_on_what_the_caller_drew_before() -> None:
    torch.manual_seed(99)
    first = network()
    torch.rand(5)
    assert torch.equal(weights(first), weights(network()))


def test_the_random_state_and_threads_of_the_caller_are_left_alone() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(network(), squared_error, TrainConfig(1, threads=threads + 1)).fit(linear_data())
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_early_stopping_ends_with_the_best_weights() -> None:
    train, valid = linear_data(16, noise=1.0), linear_data(400, noise=1.0, seed=1)
    with reproducible(0):
        module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    config = TrainConfig(2000, 16, lr=0.02, patience=20)
    history = Trainer(module, squared_error, config).fit(train, valid)
    assert history.stopped_early
    assert len(history.valid_loss) == history.best_epoch + 1 + 20 < 2000
    assert history.valid_loss[history.best_epoch] == min(history.valid_loss) < history.valid_loss[-1]
    with torch.no_grad():
        assert squared_error(module, valid).mean().item() == pytest.approx(min(history.valid_loss), rel=1e-6)
    assert not module.training


def test_patience_without_validation_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="patience needs validation data"):
        Trainer(linear(), squared_error, TrainConfig(patience=3)).fit(linear_data())


def test_l2_finds_the_ridge_solution() -> None:
    x, y = linear_data()
    module = nn.Linear(4, 1, bias=False)
    strength = 0.5
    config = TrainConfig(200, 512, "momentum", 0.1, l2=strength)
    Trainer(module, squared_error, config).fit((x, y))
    ridge = torch.linalg.solve(x.T @ x / len(x) + strength * torch.eye(4), x.T @ y / len(x))
    torch.testing.assert_close(weights(module), ridge, rtol=1e-4, atol=1e-5)


def test_l1_finds_the_sparse_solution() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 20, generator=generator)
    truth = torch.zeros(20)
    truth[:3] = torch.tensor([1.0, -1.0, 0.5])
    y = x @ truth + 0.1 * torch.randn(2000, generator=generator)
    module = nn.Linear(20, 1, bias=False)
    config = TrainConfig(200, 2000, "adam", 0.02, schedule="cosine", l1=0.1)
    Trainer(module, squared_error, config).fit((x, y))
    sklearn = pytest.importorskip("sklearn.linear_model")
    lasso = torch.tensor(sklearn.Lasso(alpha=0.1, fit_intercept=False).fit(x, y).coef_, dtype=torch.float32)
    assert int((lasso == 0).sum()) == 17
    assert weights(module)[lasso == 0].abs().max() < 1e-3
    torch.testing.assert_close(weights(module), lasso, rtol=0.0, atol=2e-3)


def test_penalties_act_on_the_named_parameters_only() -> None:
    x, y = linear_data()
    module = linear()
    Trainer(module, squared_error, TrainConfig(200, 512, "momentum", 0.1, l2=5.0)).fit((x, y))
    design = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    free_bias = torch.diag(torch.tensor([5.0, 5.0, 5.0, 5.0, 0.0]))
    ridge = torch.linalg.solve(design.T @ design / len(x) + free_bias, design.T @ y / len(x))
    torch.testing.assert_close(weights(module), ridge, rtol=1e-4, atol=1e-5)


def test_a_pattern_that_names_no_parameter_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'deviation\*' matches no parameter of Linear; it has weight, bias"
    ):
        Trainer(linear(), squared_error, TrainConfig(l2=1.0, penalised=("deviation*",))).fit(linear_data())


def test_the_regularisation_of_the_module_is_added_to_the_objective() -> None:
    class Anchored(nn.Linear):
        def regularisation(self) -> Tensor:
            return 1e3 * (self.weight - 7.0).square().sum()

    module = Anchored(4, 1)
    history = Trainer(module, squared_error, TrainConfig(100, 512, lr=0.3)).fit(linear_data())
    torch.testing.assert_close(module.weight.detach(), torch.full((1, 4), 7.0), rtol=0.0, atol=0.05)
    with torch.no_grad():
        assert history.train_loss[-1] == pytest.approx(
            squared_error(module, linear_data()).mean().item(), rel=0.05
        )


def test_clipping_bounds_every_step() -> None:
    x, y = linear_data()
    steps = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            steps.append(weights(self).clone())
            return super().forward(x)

    config = TrainConfig(2, 64, "sgd", 0.1, grad_clip=0.5)
    history = Trainer(Watched(4, 1), squared_error, config).fit((x, 1e3 * y))
    lengths = torch.stack([(b - a).norm() for a, b in itertools.pairwise(steps)])
    assert history.grad_norm[0] > 100.0
    assert lengths.max() <= 0.1 * 0.5 * (1 + 1e-3)
    assert lengths.min() >= 0.1 * 0.5 * (1 - 1e-3)


def test_nan_in_the_data_is_named_with_epoch_and_batch() -> None:
    x, y = linear_data(64)
    x[40, 2] = math.nan
    with pytest.raises(TrainingError, match=r"training loss is nan at epoch 0, batch \d: .*\(0 holds 1\)"):
        Trainer(linear(), squared_error, TrainConfig(1, 16)).fit((x, y))


def test_divergence_is_named_with_the_way_out() -> None:
    with pytest.raises(TrainingError, match=r"finite inputs: lower lr \(now 1e\+10\), set grad_clip"):
        Trainer(linear(), squared_error, TrainConfig(50, 64, "sgd", 1e10)).fit(linear_data())


def test_weights_that_become_infinite_in_the_last_step_are_noticed() -> None:
    module = linear()
    with pytest.raises(TrainingError, match="weights are not finite after epoch 0"):
        Trainer(module, squared_error, TrainConfig(1, 512, "sgd", 1e38)).fit(
            (1e3 * linear_data()[0], linear_data()[1])
        )


def test_a_module_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        Trainer(linear().requires_grad_(False), squared_error).fit(linear_data())


def test_frozen_parameters_do_not_change() -> None:
    module = linear()
    module.bias.requires_grad_(False)
    before = module.bias.clone()
    Trainer(module, squared_error, TrainConfig(3)).fit(linear_data())
    assert torch.equal(module.bias, before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that must be absent")
def test_an_absent_device_is_an_error_not_a_fall_to_cpu() -> None:
    with pytest.raises(TrainingError, match="device 'cuda' cannot be used"):
        Trainer(linear(), squared_error, TrainConfig(device="cuda")).fit(linear_data())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_cuda_agrees_with_the_cpu() -> None:
    cpu, cuda = linear(), linear()
    Trainer(cpu, squared_error, TrainConfig(20, lr=0.05)).fit(linear_data())
    Trainer(cuda, squared_error, TrainConfig(20, lr=0.05, device="cuda")).fit(linear_data())
    torch.testing.assert_close(weights(cuda).cpu(), weights(cpu), rtol=1e-3, atol=1e-4)


def test_batches_may_be_dictionaries_and_losses_their_mean() -> None:
    x, y = linear_data()

    def loss(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return squared(module(batch["x"])[:, 0] - batch["y"]).mean()

    by_name, by_place = linear(), linear()
    Trainer(by_name, loss, TrainConfig(3, 100)).fit({"x": x, "y": y})
    Trainer(by_place, squared_error, TrainConfig(3, 100)).fit((x, y))
    assert torch.equal(weights(by_name), weights(by_place))


def test_one_cycle_on_a_stream_of_unknown_length_moves_once_an_epoch() -> None:
    x, y = linear_data()
    stream = Stream(lambda generator: iter([(x, y)]))
    config = TrainConfig(20, 64, lr=0.05, schedule="one_cycle")
    module = linear()
    history = Trainer(module, squared_error, config).fit(stream)
    assert max(history.lr) == pytest.approx(0.05, rel=0.05) and len(set(history.lr)) == 20
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]


def test_tensorboard_logs_hold_every_epoch(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = Trainer(linear(), squared_error, TrainConfig(4, 64, grad_clip=1.0), log_dir=tmp_path).fit(
        linear_data(), linear_data(seed=1)
    )
    log = events.EventAccumulator(str(tmp_path)).Reload()
    for tag, series in (
        ("loss/train", history.train_loss),
        ("loss/valid", history.valid_loss),
        ("lr", history.lr),
        ("grad_norm", history.grad_norm),
    ):
        assert [event.value for event in log.Scalars(tag)] == pytest.approx(series)


def test_progress_is_shown_only_when_asked_for(capsys: pytest.CaptureFixture) -> None:
    Trainer(linear(), squared_error, TrainConfig(2)).fit(linear_data())
    assert capsys.readouterr() == ("", "")
    Trainer(linear(), squared_error, TrainConfig(2), progress=True).fit(linear_data())
    assert "2/2" in capsys.readouterr().err

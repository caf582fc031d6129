"""Claims about checkpoints: a training that was interrupted goes on as if it had not been."""

# ruff: noqa: E402
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.learning.batches import Batch
from nn_estimation.learning.checkpoint import CheckpointError
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import CHECKPOINT, Loss, Trainer

from .trainings import ALL_SCHEDULES, linear, linear_data, network, squared_error, weights


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("schedule", ALL_SCHEDULES)
def test_resumed_training_equals_uninterrupted_training_bit_for_bit(tmp_path, optimizer, schedule) -> None:
    train, valid = linear_data(300), linear_data(100, seed=1)
    config = TrainConfig(6, 32, optimizer, 0.02, schedule=schedule, step_epochs=2, plateau_epochs=0, seed=3)
    whole = network()
    expected = Trainer(whole, squared_error, config).fit(train, valid)

    class StopHereError(Exception):
        pass

    steps = 0

    def stops_in_epoch_3(module: nn.Module, batch: Batch) -> Tensor:
        nonlocal steps
        steps += module.training
        if steps == 35:  # ten steps an epoch
            raise StopHereError
        return squared_error(module, batch)

    resumed = network()
    with pytest.raises(StopHereError):
        Trainer(resumed, stops_in_epoch_3, config, checkpoint_dir=tmp_path).fit(train, valid)
    fresh = network(seed=77)
    history = Trainer(fresh, squared_error, config, checkpoint_dir=tmp_path).fit(train, valid, resume=True)
    assert torch.equal(weights(fresh), weights(whole))
    assert history.valid_loss == expected.valid_loss
    assert history.train_loss == expected.train_loss
    assert history.lr == expected.lr
    assert history.best_epoch == expected.best_epoch


def small_training(directory: Path, loss: Loss) -> Tensor:
    """Four steps an epoch for eight epochs, resumed where there is a checkpoint."""
    module = network()
    config = TrainConfig(8, 16)
    Trainer(module, loss, config, checkpoint_dir=directory).fit(linear_data(64), resume=True)
    return weights(module)


def train_slowly(directory: str) -> None:
    """What the interrupted process runs: a step, a line on stdout, a pause."""
    # A background job of a script inherits that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def slow_loss(module: nn.Module, batch: Batch) -> Tensor:
        print("step", flush=True)
        time.sleep(0.05)
        return squared_error(module, batch)

    small_training(Path(directory), slow_loss)


def test_ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_weights(tmp_path: Path) -> None:
    program = (
        f"from learning.test_checkpoint import train_slowly; train_slowly({str(tmp_path / 'interrupted')!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    saved = torch.load(tmp_path / "interrupted" / CHECKPOINT, weights_only=True)
    assert 2 <= saved["epoch"] < 8
    resumed = small_training(tmp_path / "interrupted", squared_error)
    assert torch.equal(resumed, small_training(tmp_path / "whole", squared_error))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(linear(), squared_error, TrainConfig(1), checkpoint_dir=tmp_path)
    trainer.fit(linear_data())
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be read"):
        trainer.fit(linear_data(), resume=True)


def test_a_checkpoint_of_another_training_is_refused_with_the_differences(tmp_path: Path) -> None:
    Trainer(linear(), squared_error, TrainConfig(2), checkpoint_dir=tmp_path).fit(linear_data())
    other = Trainer(linear(), squared_error, TrainConfig(2, lr=0.5), checkpoint_dir=tmp_path)
    with pytest.raises(
        CheckpointError, match=r"lr was 0\.001 and is 0\.5; training samples was 512 and is 100"
    ):
        other.fit(linear_data(100), resume=True)


def test_a_checkpoint_with_code_in_it_is_not_executed(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"version": 1, "epoch": Harmful()}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError):
        Trainer(linear(), squared_error, TrainConfig(1), checkpoint_dir=tmp_path).fit(
            linear_data(), resume=True
        )
    assert not (tmp_path / "executed").exists()


def test_a_finished_training_goes_on_when_given_more_epochs(tmp_path: Path) -> None:
    module = network()
    Trainer(module, squared_error, TrainConfig(2), checkpoint_dir=tmp_path).fit(linear_data())
    Trainer(module, squared_error, TrainConfig(5), checkpoint_dir=tmp_path).fit(linear_data(), resume=True)
    whole = network()
    Trainer(whole, squared_error, TrainConfig(5)).fit(linear_data())
    assert torch.equal(weights(module), weights(whole))

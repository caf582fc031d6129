# ruff: noqa: E402
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs torch")
from torch import Tensor, nn

from nn_estimation.learning.batches import Batch, DataError, InMemory, Stream, stream_shards, write_shards
from nn_estimation.learning.config import TrainConfig
from nn_estimation.learning.trainer import Trainer, TrainingError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chunked(values: Tensor, lengths: list[int]) -> Stream:
    return Stream(lambda _: ((part,) for part in values.split(lengths)), buffer=16)


def collect(source: InMemory | Stream, batch_size: int, seed: int | None) -> list[Tensor]:
    return [batch[0] for batch in source.batches(batch_size, None if seed is None else generator(seed))]


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 24), st.integers(0, 9))
def test_a_stream_gives_every_sample_once_a_pass(lengths: list[int], batch_size: int, seed: int) -> None:
    values = torch.arange(sum(lengths))
    batches = collect(chunked(values, lengths), batch_size, seed)
    seen = torch.cat(batches) if batches else torch.empty(0)
    assert sorted(seen.tolist()) == values.tolist()
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 24))
def test_without_a_generator_the_order_is_the_stored_one(lengths: list[int], batch_size: int) -> None:
    values = torch.arange(sum(lengths))
    batches = collect(chunked(values, lengths), batch_size, None)
    assert (torch.cat(batches) if batches else values).tolist() == values.tolist()
    if len(values):
        expected = collect(InMemory((values,)), batch_size, None)
        assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in expected]


@pytest.mark.parametrize("make", [lambda v: InMemory((v,)), lambda v: chunked(v, [100] * 10)])
def test_the_order_depends_on_the_generator_alone(make) -> None:
    source = make(torch.arange(1000))
    first, again, other = (torch.cat(collect(source, 32, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, torch.arange(1000))


def test_samples_of_all_tensors_stay_together() -> None:
    values = torch.arange(300)
    for source in (
        InMemory({"a": values, "b": -values}),
        Stream(lambda _: ({"a": v, "b": -v} for v in values.split(70)), buffer=100),
    ):
        for batch in source.batches(16, generator()):
            assert isinstance(batch, dict)
            assert torch.equal(batch["a"], -batch["b"])


def test_a_stream_learns_what_memory_learns() -> None:
    x = torch.randn(2000, 3, generator=generator())
    y = x @ torch.tensor([1.0, 2.0, 3.0])

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return (module(batch[0])[:, 0] - batch[1]).square()

    module = nn.Linear(3, 1)
    stream = Stream(lambda _: zip(x.split(333), y.split(333), strict=True), buffer=500)
    Trainer(module, loss, TrainConfig(30, 50, lr=0.05)).fit(stream, stream)
    torch.testing.assert_close(module.weight.detach()[0], torch.tensor([1.0, 2.0, 3.0]), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_training_on_a_stream_takes_no_more_memory_for_ten_times_the_data() -> None:
    program = textwrap.dedent(
        """
        import re, torch
        from torch import nn
        from nn_estimation.learning.batches import Stream
        from nn_estimation.learning.config import TrainConfig
        from nn_estimation.learning.trainer import Trainer

        def peak():
            return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

        def train(count):
            chunks = lambda generator: (
                (torch.randn(8192, 128, generator=generator),) for _ in range(count)  # 4.2 MB each
            )
            loss = lambda module, batch: module(batch[0]).square()
            Trainer(nn.Linear(128, 1), loss, TrainConfig(1, 1024)).fit(Stream(chunks, buffer=16384))
            return peak()

        print(train(10), train(100))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    short, long = map(int, done.stdout.split())
    # 420 MB of samples pass through; the buffer and its shuffled copy are 17 MB.
    assert long < short + 20


def test_shards_come_back_as_they_were_written(tmp_path: Path) -> None:
    values = torch.arange(1000)
    write_shards(tmp_path, ({"x": v, "y": v.float()} for v in values.split(300)))
    stream = stream_shards(tmp_path, buffer=256)
    stored = [batch["x"] for batch in stream.batches(64, None) if isinstance(batch, dict)]
    assert torch.equal(torch.cat(stored), values)
    shuffled = torch.cat([batch["x"] for batch in stream.batches(64, generator()) if isinstance(batch, dict)])
    assert torch.equal(shuffled.sort().values, values)
    # The order of the shards is drawn too: samples of the last third come first in some passes.
    heads = [next(iter(stream.batches(8, generator(seed)))) for seed in range(20)]
    assert len({int(batch["x"].max()) // 300 for batch in heads if isinstance(batch, dict)}) >= 3


def test_shards_are_not_written_over_others(tmp_path: Path) -> None:
    write_shards(tmp_path, [{"x": torch.zeros(3)}])
    with pytest.raises(DataError, match="holds shards already"):
        write_shards(tmp_path, [{"x": torch.zeros(3)}])
    with pytest.raises(DataError, match="holds no shard"):
        stream_shards(tmp_path / "absent")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "at least one tensor"),
        ((torch.zeros(0),), "no samples"),
        ({"x": torch.zeros(3), "y": torch.zeros(4)}, "these have x: 3, y: 4"),
    ],
)
def test_tensors_that_are_no_batch_are_refused(tensors, message: str) -> None:
    with pytest.raises(DataError, match=message):
        InMemory(tensors)


def test_an_empty_stream_is_an_error_of_the_training() -> None:
    def nothing(_: torch.Generator | None) -> Iterator[Batch]:
        return iter(())

    with pytest.raises(TrainingError, match="training data gave no batch in epoch 0"):
        Trainer(nn.Linear(1, 1), lambda m, b: m(b[0])).fit(Stream(nothing))
    with pytest.raises(TrainingError, match="validation data gave no batch in epoch 0"):
        Trainer(nn.Linear(1, 1), lambda m, b: m(b[0])).fit((torch.zeros(3, 1),), Stream(nothing))

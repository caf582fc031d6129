"""Training data in batches: tensors in memory, or a stream of chunks with constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

Batch: TypeAlias = tuple[Tensor, ...] | dict[str, Tensor]
"""Tensors whose first dimension counts the samples, all of the same length."""


class DataError(ValueError):
    """Data that cannot be cut into batches."""


class Source(Protocol):
    """What the trainer reads its batches from."""

    @property
    def size(self) -> int | None:
        """Samples a pass, None where a stream does not know."""

    def batches(self, batch_size: int, generator: torch.Generator | None) -> Iterator[Batch]:
        """One pass in batches of `batch_size` (the last may be smaller).

        The order depends on the generator alone; without one the samples come as they are stored.
        """


Data: TypeAlias = Source | Batch


class InMemory:
    """Tensors in memory, indexed directly: a DataLoader costs a small network more than its own step."""

    def __init__(self, tensors: Sequence[Tensor] | Mapping[str, Tensor]):
        """Raises DataError where the tensors are none, empty or of different lengths."""
        self.tensors: Batch = dict(tensors) if isinstance(tensors, Mapping) else tuple(tensors)
        self.size = length(self.tensors)
        if self.size == 0:
            raise DataError("there are no samples: every tensor has length 0")

    def batches(self, batch_size: int, generator: torch.Generator | None) -> Iterator[Batch]:
        """One pass; see `Source.batches`."""
        if generator is None:
            for start in range(0, self.size, batch_size):
                yield _map(lambda t, i=start: t[i : i + batch_size], self.tensors)  # type: ignore[misc]
            return
        for index in torch.randperm(self.size, generator=generator).split(batch_size):
            yield take(self.tensors, index)

    def to(self, device: torch.device) -> InMemory:
        """The same samples on `device`; itself where they are there already."""
        if all(tensor.device == device for tensor in _values(self.tensors)):
            return self
        return InMemory(_map(lambda t: t.to(device), self.tensors))


class Stream:
    """Samples that come in chunks of any length, shuffled within a buffer: memory does not grow with them.

    At most `buffer` samples, one chunk and one batch are held. The buffer shuffles over its own length only:
    a stream of long recordings mixes better when `chunks` also draws their order from the generator.
    """

    def __init__(
        self,
        chunks: Callable[[torch.Generator | None], Iterable[Batch]],
        *,
        buffer: int = 65536,
        size: int | None = None,
    ):
        """A stream over what `chunks` yields.

        Args:
            chunks: called once a pass with the generator of that pass (None: stored order).
            buffer: samples to shuffle among.
            size: samples a pass, where known; without it the first epoch counts them.
        """
        if buffer < 1:
            raise DataError(f"a shuffle buffer of {buffer} samples holds nothing: use at least 1")
        self.chunks = chunks
        self.buffer = buffer
        self.size = size

    def batches(self, batch_size: int, generator: torch.Generator | None) -> Iterator[Batch]:
        """One pass; see `Source.batches`."""
        pool: list[Batch] = []
        held = 0
        # Half a buffer stays behind to be mixed with what comes next.
        capacity, keep = (
            (batch_size, 0) if generator is None else (max(self.buffer, batch_size), self.buffer // 2)
        )
        for chunk in self.chunks(generator):
            for piece in InMemory(chunk).batches(capacity, None) if length(chunk) else ():
                pool.append(piece)
                held += length(piece)
                if held >= capacity:
                    count = max((held - keep) // batch_size, 1) * batch_size
                    samples = _shuffled(_join(pool), generator)
                    yield from _split(samples, count, batch_size)
                    pool = [_map(lambda t, i=count: t[i:].clone(), samples)]  # type: ignore[misc]
                    held = length(pool[0])
        if held:
            yield from _split(_shuffled(_join(pool), generator), held, batch_size)


def write_shards(directory: str | Path, chunks: Iterable[Mapping[str, Tensor]]) -> list[Path]:
    """Write each chunk to `directory`/shard_00000.npz and so on, so that slow decoding happens once.

    Raises:
        DataError: the directory holds shards already.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.glob("shard_*.npz")):
        raise DataError(f"{directory} holds shards already: remove them or choose another directory")
    paths = []
    for number, chunk in enumerate(chunks):
        path = directory / f"shard_{number:05d}.npz"
        np.savez(path, **{name: tensor.numpy() for name, tensor in chunk.items()})  # type: ignore[arg-type]
        paths.append(path)
    return paths


def stream_shards(directory: str | Path, *, buffer: int = 65536) -> Stream:
    """The shards of `directory` as a stream, in an order drawn anew each pass.

    Raises:
        DataError: there are no shards.
    """
    paths = sorted(Path(directory).glob("shard_*.npz"))
    if not paths:
        raise DataError(f"{directory} holds no shard_*.npz: write them with write_shards")

    def chunks(generator: torch.Generator | None) -> Iterator[Batch]:
        count = len(paths)
        order = range(count) if generator is None else torch.randperm(count, generator=generator).tolist()
        for number in order:
            with np.load(paths[number], allow_pickle=False) as arrays:
                yield {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    return Stream(chunks, buffer=buffer)


def as_source(data: Data) -> Source:
    """Tensors as they are become an `InMemory`; a source stays what it is."""
    return InMemory(data) if isinstance(data, (tuple, list, dict)) else data


def length(batch: Batch) -> int:
    """The number of samples of a batch.

    Raises:
        DataError: no tensors, or tensors of different lengths.
    """
    lengths = {str(name): tensor.shape[0] for name, tensor in _items(batch)}
    if not lengths:
        raise DataError("a batch needs at least one tensor")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in lengths.items())
        raise DataError(f"all tensors need the same number of samples, these have {listed}")
    return next(iter(lengths.values()))


def take(batch: Batch, index: Tensor) -> Batch:
    """The samples at `index` (int64)."""
    return _map(lambda t: t.index_select(0, index.to(t.device)), batch)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`, without a copy where it is there already."""
    return _map(lambda t: t.to(device), batch)


def non_finite(batch: Batch) -> dict[str, int]:
    """How many NaN or infinite values each tensor holds, for those that hold any."""
    counts = {
        str(name): int((~torch.isfinite(tensor)).sum())
        for name, tensor in _items(batch)
        if tensor.is_floating_point()
    }
    return {name: count for name, count in counts.items() if count}


def _items(batch: Batch) -> Iterable[tuple[str | int, Tensor]]:
    return batch.items() if isinstance(batch, dict) else enumerate(batch)


def _values(batch: Batch) -> Iterable[Tensor]:
    return batch.values() if isinstance(batch, dict) else batch


def _map(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    if isinstance(batch, dict):
        return {name: function(tensor) for name, tensor in batch.items()}
    return tuple(map(function, batch))


def _join(pieces: Sequence[Batch]) -> Batch:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, dict):
        return {name: torch.cat([piece[name] for piece in pieces]) for name in first}  # type: ignore[call-overload]
    return tuple(torch.cat(tensors) for tensors in zip(*pieces, strict=True))  # type: ignore[arg-type]


def _shuffled(batch: Batch, generator: torch.Generator | None) -> Batch:
    if generator is None:
        return batch
    return take(batch, torch.randperm(length(batch), generator=generator))


def _split(batch: Batch, count: int, batch_size: int) -> Iterator[Batch]:
    for start in range(0, count, batch_size):
        yield _map(lambda t, i=start: t[i : min(i + batch_size, count)], batch)  # type: ignore[misc]

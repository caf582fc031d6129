"""Checkpoints: the state of a training between two epochs, written atomically and read without pickles."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

VERSION = 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or belongs to another training."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values); the old file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        torch.save({"version": VERSION, **state}, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state as written, on the CPU.

    Raises:
        CheckpointError: damaged, no checkpoint of this trainer, or of another version of it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): remove it and start afresh") from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != VERSION:
        raise CheckpointError(
            f"{path} is no checkpoint of version {VERSION} (it says {version}): start afresh"
        )
    return state


def check_same_run(path: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume what is not the same training.

    Raises:
        CheckpointError: with every value that differs.
    """
    differences = [
        f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name) != now.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{path} is of another training: {'; '.join(differences)}. "
            "Use the same settings and data, or start afresh"
        )

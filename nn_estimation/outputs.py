"""Where results go: a place that cannot be written is refused before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path


class OutputError(ValueError):
    """A place that cannot be written; the message names it."""


def check_file(path: str | Path) -> None:
    """Refuse a path where no file can be written.

    Raises:
        OutputError: it is a folder, or there can be no folder for it.
    """
    if Path(path).is_dir():
        raise OutputError(f"{path} is a folder: name a file")
    check_folder(Path(path).parent)


def check_folder(path: str | Path) -> None:
    """Refuse a path where no folder can be made or written to.

    Raises:
        OutputError: it, or what it would be in, is a file or not to be written to.
    """
    there = next(place for place in (Path(path), *Path(path).absolute().parents) if place.exists())
    if not there.is_dir():
        raise OutputError(f"{there} is a file: name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{there} may not be written to: name another folder")

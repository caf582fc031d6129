"""Which data sets can be imported, and the loop over their recordings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from nn_estimation.datasets.recording import DatasetError, Recording

SETS = ("lias", "hanyang", "starloc", "util", "kitti", "euroc", "comma", "broad", "repoimu")
Loader = Callable[[], Recording]


def import_set(name: str, source: str | Path, out: str | Path, only: str = "*") -> Iterator[tuple[str, Path]]:
    """Import the recordings of a set one by one.

    Args:
        name: one of `SETS`.
        source: folder with the layout of the public data set; recordings missing from it are left out.
        out: folder that gets one bag a recording.
        only: shell pattern of recording names.

    Yields:
        (recording name, path of its bag).

    Raises:
        DatasetError: unknown set, no such folder, or no recording in it.
        BagError: a bag of that name exists already.
    """
    if name not in SETS:
        raise DatasetError(f"unknown data set {name}: choose one of {', '.join(SETS)}")
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder")
    module = importlib.import_module(f"nn_estimation.datasets.{name}")
    loaders: dict[str, Loader] = module.recordings(source)
    chosen = {key: load for key, load in loaders.items() if fnmatch(key, only)}
    if not chosen:
        has = f"; it has {', '.join(sorted(loaders))}" if loaders else ""
        raise DatasetError(f"no recording of {name} in {source} matches {only}{has}\n{module.__doc__}")
    for key, load in chosen.items():
        yield key, load().write(out)

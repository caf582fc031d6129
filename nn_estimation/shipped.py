"""The files that come with the package."""

from __future__ import annotations

import sys
from pathlib import Path


def default_model(name: str = "uwb_bias.onnx") -> Path:
    """A model shipped with the package.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    return shipped_file("models", name)


def shipped_file(folder: str, name: str) -> Path:
    """A file of one of the package's folders: in the source tree or installed under share/.

    Raises:
        FileNotFoundError: it is in neither.
    """
    here = Path(__file__).resolve()
    prefixes = [
        *here.parents[4:5],
        Path(sys.prefix),
    ]  # of PREFIX/lib/python3/site-packages, as colcon installs
    candidates = [
        here.parents[1] / folder / name,
        *(prefix / "share" / "nn_estimation" / folder / name for prefix in prefixes),
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"the shipped {name} is in none of {', '.join(map(str, candidates))}")

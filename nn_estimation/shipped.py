"""The models that come with the package."""

from __future__ import annotations

import sys
from pathlib import Path


def default_model(name: str = "uwb_bias.onnx") -> Path:
    """A model shipped with the package: in the source tree or installed under share/.

    Raises:
        FileNotFoundError: it is in neither.
    """
    here = Path(__file__).resolve()
    prefixes = [
        *here.parents[4:5],
        Path(sys.prefix),
    ]  # of PREFIX/lib/python3/site-packages, as colcon installs
    candidates = [
        here.parents[1] / "models" / name,
        *(prefix / "share" / "nn_estimation" / "models" / name for prefix in prefixes),
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"the shipped model {name} is in none of {', '.join(map(str, candidates))}")

"""Fixtures every test may use."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# Speed is measured in benchmarks/; a busy machine must not fail a property.
settings.register_profile("nn_estimation", deadline=None)
settings.load_profile("nn_estimation")

DATA = Path(os.environ.get("NN_ESTIMATION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The public recordings; see docs/data.md for where they come from."""
    if not DATA.is_dir():
        pytest.skip(f"no public recordings at {DATA}: set NN_ESTIMATION_DATA to their folder")
    return DATA


@pytest.fixture(scope="session")
def recorded(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Path]:
    """The bag of a public recording, imported once, by its set, folder and name."""
    from nn_estimation.datasets.registry import import_set

    @cache
    def bag(name: str, folder: str, pattern: str) -> Path:
        source = data_root / folder
        if not source.is_dir():
            pytest.skip(f"no {source}")
        [(_, path)] = import_set(name, source, tmp_path_factory.mktemp(name), pattern)
        return path

    return bag


@pytest.fixture(scope="session")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds by the radios of `uwb_demo.onnx`, which was trained on the seeds 1 to 3."""
    from nn_estimation.uwb.simulation import SimulationParams, simulate_flight

    return simulate_flight(SimulationParams(seed=5, duration=10.0), tmp_path_factory.mktemp("sim") / "flight")

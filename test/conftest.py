"""Fixtures every test may use."""

import os
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
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds by the radios of `uwb_demo.onnx`, which was trained on the seeds 1 to 3."""
    from nn_estimation.uwb.simulation import SimulationParams, simulate_flight

    return simulate_flight(SimulationParams(seed=5, duration=10.0), tmp_path_factory.mktemp("sim") / "flight")

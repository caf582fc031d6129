"""A model file that more than one test runs: exporting it takes seconds."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wahba_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that believes fields more or less by their features, without having learned it."""
    pytest.importorskip("torch", reason="training needs torch")
    pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")
    from .trials import WAHBA_SEED
    from .wahba import network, write_network

    return write_network(tmp_path_factory.mktemp("wahba") / "wahba.onnx", network(seed=WAHBA_SEED))

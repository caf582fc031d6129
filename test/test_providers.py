"""What a provider is asked for; TensorRT itself needs hardware that these tests do not."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nn_estimation.contract import ModelError, TensorSpec
from nn_estimation.providers import LONGEST, choose_session, provider_options

DIGEST = "ab" * 32
SPECS = (
    TensorSpec("features", "float32", ("batch", 9), "m"),
    TensorSpec("link", "int64", ("batch",)),
    TensorSpec("gravity", "float32", (3,), "m/s^2"),
)


def options(batch: int = 24, digest: str = DIGEST) -> dict[str, str]:
    shapes = {"features": (batch, 9), "link": (batch,), "gravity": (3,)}
    inputs = {spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in SPECS}
    return provider_options("tensorrt", digest, SPECS, inputs)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all engines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nn_estimation" / "tensorrt"


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_other_providers_get_no_options(provider: str, cache: Path) -> None:
    assert provider_options(provider, DIGEST, SPECS, {}) == {}
    assert not cache.exists()


def test_tensorrt_gets_one_profile_for_every_length_of_the_symbolic_dimensions() -> None:
    found = options()
    assert found["trt_profile_min_shapes"] == "features:1x9,link:1"
    assert found["trt_profile_opt_shapes"] == "features:24x9,link:24"
    assert found["trt_profile_max_shapes"] == f"features:{LONGEST}x9,link:{LONGEST}"


def test_a_typical_length_beyond_the_longest_is_the_longest() -> None:
    assert options(batch=LONGEST + 1)["trt_profile_max_shapes"].startswith(f"features:{LONGEST + 1}x9,")


def test_a_model_of_fixed_shapes_needs_no_profile() -> None:
    found = provider_options("tensorrt", DIGEST, SPECS[2:], {"gravity": np.zeros(3, np.float32)})
    assert not any("profile" in name for name in found)


def test_switches_are_spelled_as_the_python_binding_wants_them() -> None:
    # ONNX Runtime documents True and False for Python; releases that parse nothing else refuse "1".
    assert options()["trt_engine_cache_enable"] == "True"


def test_engines_are_kept_by_model_runtime_and_profile(cache: Path) -> None:
    folders = [
        Path(options(**by)["trt_engine_cache_path"]) for by in ({}, {"batch": 8}, {"digest": "cd" * 32})
    ]
    assert len(set(folders)) == 3
    for folder in folders:
        assert folder.is_dir() and folder.parent == cache
        assert onnxruntime.__version__ in folder.name
    assert folders[0].name.startswith(DIGEST[:16])
    assert Path(options()["trt_engine_cache_path"]) == folders[0]


def test_a_provider_that_is_not_installed_leaves_no_folder(cache: Path) -> None:
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    with pytest.raises(ModelError, match="is not in this onnxruntime"):
        choose_session(b"", DIGEST, SPECS, {}, "tensorrt", "model.onnx")
    assert not cache.exists()

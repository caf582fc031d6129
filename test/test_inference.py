from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import CONTRACT, expected, write_model

from nn_estimation.contract import ModelError, TensorSpec
from nn_estimation.inference import Bound, Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = write_model(tmp_path_factory.mktemp("models") / "model.onnx")
    return Model.load(path, task="uwb_bias", provider="cpu", sizes={"batch": 24})


def draw(size: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.uniform(-3, 3, (size, 3)).astype(np.float32)
    return {"features": features, "link": rng.integers(-1, 2, size)}


def test_what_was_loaded_says_what_it_is(model: Model) -> None:
    assert model.contract == CONTRACT
    assert model.path.name == "model.onnx" and len(model.sha256) == 64
    assert model.provider == "cpu" and 0 < model.timings["cpu"] < 1


@given(st.integers(1, 40), st.integers(0, 99))
def test_run_computes_the_graph(model: Model, size: int, seed: int) -> None:
    inputs = draw(size, seed)
    outputs = model.run(inputs)
    for name, want in expected(**inputs).items():
        # float32 sums of three products in another order
        np.testing.assert_allclose(outputs[name], want, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 40), st.integers(0, 99))
def test_bound_and_run_agree_to_the_last_bit(model: Model, size: int, seed: int) -> None:
    bound = model.bind({"features": (size, 3), "link": (size,)})
    kept = dict(bound.outputs)
    for step in range(3):
        inputs = draw(size, seed + step)
        for name, value in inputs.items():
            bound.inputs[name][:] = value
        bound()
        for name, want in model.run(inputs).items():
            assert np.array_equal(bound.outputs[name], want)
            assert bound.outputs[name] is kept[name]


def test_two_bounds_do_not_share_their_buffers(model: Model) -> None:
    def bound_to(seed: int) -> Bound:
        bound = model.bind({"features": (4, 3), "link": (4,)})
        for name, value in draw(4, seed).items():
            bound.inputs[name][:] = value
        return bound

    first, second = bound_to(1), bound_to(2)
    first()
    second()
    for bound, seed in ((first, 1), (second, 2)):
        for name, want in model.run(draw(4, seed)).items():
            assert np.array_equal(bound.outputs[name], want)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": np.zeros((2, 4), np.float32)},
            r"input features is float32 \(2, 4\), the contract says",
        ),
        ({"features": np.zeros((2, 3))}, "input features is float64"),
        ({"features": np.zeros(3, np.float32)}, r"input features is float32 \(3,\)"),
        ({"link": np.zeros(3, np.int64)}, "input (link|features) is"),
        ({"power": np.zeros(2)}, "there is no input power"),
        ({"link": np.array([0, 7])}, "cannot run"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_never_indexed_past(
    model: Model, change: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        model.run({**draw(2, 0), **change})


def test_a_missing_input_is_named(model: Model) -> None:
    with pytest.raises(ModelError, match="input link is missing"):
        model.run({"features": np.zeros((1, 3), np.float32)})


def test_a_bound_call_that_fails_says_so_and_works_again(model: Model) -> None:
    bound = model.bind({"features": (2, 3), "link": (2,)})
    bound.inputs["link"][:] = 7
    with pytest.raises(ModelError, match="cannot run"):
        bound()
    bound.inputs["link"][:] = 1
    bound()
    np.testing.assert_allclose(bound.outputs["bias"], 0.02)


@pytest.mark.parametrize(
    "shapes", [{"features": (2, 4), "link": (2,)}, {"features": (2, 3), "link": (3,)}, {}]
)
def test_shapes_that_do_not_fit_are_not_bound(model: Model, shapes: dict) -> None:
    with pytest.raises(ModelError, match="cannot be bound"):
        model.bind(shapes)


def test_a_model_for_another_task_is_refused_naming_both(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", task="attitude")
    with pytest.raises(ModelError, match="for the task 'attitude', 'uwb_bias' is needed"):
        Model.load(path, task="uwb_bias")


def test_a_contract_that_does_not_fit_the_graph_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", outputs=(TensorSpec("bias", "float32", ("batch",)),))
    with pytest.raises(ModelError, match="the graph has an output variance that the contract does not name"):
        Model.load(path, task="uwb_bias")


def test_auto_chooses_the_fastest_of_the_providers_that_load(tmp_path: Path) -> None:
    model = Model.load(write_model(tmp_path / "model.onnx"), task="uwb_bias", provider="auto")
    assert model.provider == min(model.timings, key=lambda name: model.timings[name])
    assert "cpu" in model.timings


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_named_provider_that_does_not_load_is_an_error_not_a_fall_to_cpu(
    tmp_path: Path, provider: str
) -> None:
    full = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[provider]
    path = write_model(tmp_path / "model.onnx")
    if full in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {full}: what is tested here is its absence")
    with pytest.raises(
        ModelError, match=f"provider {provider} is not in this onnxruntime .*set provider to auto"
    ):
        Model.load(path, task="uwb_bias", provider=provider)


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'gpu' is not one of auto, cpu, cuda, tensorrt"):
        Model.load(write_model(tmp_path / "model.onnx"), task="uwb_bias", provider="gpu")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_other_providers_agree_with_the_cpu(tmp_path: Path, provider: str) -> None:
    full = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[provider]
    if full not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {full}")
    path = write_model(tmp_path / "model.onnx")
    cpu = Model.load(path, task="uwb_bias", provider="cpu")
    other = Model.load(path, task="uwb_bias", provider=provider)
    bound = other.bind({"features": (24, 3), "link": (24,)})
    for seed in range(3):
        inputs = draw(24, seed)
        for name, value in inputs.items():
            bound.inputs[name][:] = value
        bound()
        for name, want in cpu.run(inputs).items():
            np.testing.assert_allclose(bound.outputs[name], want, rtol=1e-3, atol=1e-4)

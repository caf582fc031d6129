# ruff: noqa: E402
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")
from torch import Tensor, nn

from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.inference import Model
from nn_estimation.learning.export import ExportError, export
from nn_estimation.learning.trainer import reproducible

CONTRACT = Contract(
    task="uwb_bias",
    inputs=(TensorSpec("features", "float32", ("batch", 4)), TensorSpec("link", "int64", ("batch",))),
    outputs=(
        TensorSpec("bias", "float32", ("batch",), "m"),
        TensorSpec("variance", "float32", ("batch",), "m^2"),
    ),
    features=("distance", "azimuth", "elevation", "power"),
    valid_range=((0.5, 20.0), (-3.2, 3.2), (-1.6, 1.6), (-110.0, -70.0)),
    parameters={},
    training={},
    metrics={},
    licence="Apache-2.0",
    package_version="0.1.0",
)
EXAMPLE = {"features": torch.rand(6, 4), "link": torch.arange(6) - 1}


class Bias(nn.Module):
    """A table per link (0 for -1, never seen) and a small network with dropout."""

    def __init__(self) -> None:
        super().__init__()
        with reproducible(0):
            self.table = nn.Parameter(torch.randn(5))
            self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))

    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
        known = link >= 0
        out = self.net(features / torch.tensor([10.0, 3.0, 1.0, 100.0]))
        offset = torch.where(known, self.table[torch.where(known, link, 0)], 0.0)
        return out[:, 0] + offset, torch.exp(out[:, 1])


def exported(
    module: nn.Module, path: Path, contract: Contract = CONTRACT, example: dict = EXAMPLE, **more
) -> Path:
    return export(module.eval(), example, path, contract, **more)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(Bias(), tmp_path_factory.mktemp("models") / "bias.onnx")


def test_the_file_computes_what_the_module_does_at_any_batch(path: Path) -> None:
    module, model = Bias().eval(), Model.load(path, task="uwb_bias", provider="cpu")
    assert model.contract == CONTRACT
    for size in (1, 2, 24, 1000):
        features, link = torch.randn(size, 4), torch.randint(-1, 5, (size,))
        with torch.no_grad():
            want = module(features, link)
        have = model.run({"features": features.numpy(), "link": link.numpy()})
        np.testing.assert_allclose(have["bias"], want[0].numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(have["variance"], want[1].numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_is_one_clean_standard_graph(path: Path) -> None:
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    assert "Dropout" not in {node.op_type for node in model.graph.node}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert list(path.parent.iterdir()) == [path]
    # Neither where the source lay nor how the exporter went about it.
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    assert b"stack_trace" not in path.read_bytes()


def test_the_same_weights_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    assert exported(Bias(), tmp_path / "again.onnx").read_bytes() == path.read_bytes()


class Counting(Bias):
    """Its first calls, those that the exporter traces, differ from the later ones."""

    calls = 0

    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
        bias, variance = super().forward(features, link)
        self.calls += 1
        return (bias if self.calls <= 1 else bias + 0.01), variance


class OnlyBatchesOfMany(Bias):
    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
        bias, variance = super().forward(features, link)
        return (bias if features.shape[0] > 1 else 2 * bias), variance


class Random(Bias):
    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
        bias, variance = super().forward(features, link)
        return bias + random.random(), variance


class Clock(Bias):
    def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
        bias, variance = super().forward(features, link)
        return bias, variance * (1 + time.monotonic() % 1)


@pytest.mark.parametrize("module", [Counting, OnlyBatchesOfMany, Random, Clock])
def test_a_module_that_computes_something_else_in_onnx_is_refused_with_the_worst_input(
    module, tmp_path: Path
) -> None:
    with pytest.raises(
        ExportError, match=rf"{module.__name__} computes something else.*in ONNX, for features = "
    ) as e:
        exported(module(), tmp_path / "model.onnx")
    assert "in torch" in str(e.value) and "link = " in str(e.value)
    assert not list(tmp_path.iterdir())


def test_a_batch_that_the_module_fixes_is_refused(tmp_path: Path) -> None:
    class FixedBatch(Bias):
        def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
            bias, variance = super().forward(features, link)
            return bias + torch.zeros(6), variance

    with pytest.raises(ExportError, match=r"FixedBatch"):
        exported(FixedBatch(), tmp_path / "model.onnx")


def test_disagreement_on_an_edge_input_alone_is_found(tmp_path: Path) -> None:
    class OneSample(Bias):
        def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
            bias, variance = super().forward(features, link)
            return (bias + 1.0 if features.shape[0] == 37 else bias), variance

    exported(OneSample(), tmp_path / "model.onnx")
    edge = {"features": torch.zeros(37, 4), "link": torch.zeros(37, dtype=torch.int64)}
    with pytest.raises(ExportError, match="on edge input 1, bias"):
        exported(OneSample(), tmp_path / "other.onnx", edge_inputs=[EXAMPLE, edge])
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_nan_in_an_edge_input_must_come_out_equal(tmp_path: Path) -> None:
    class Guarded(Bias):
        def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
            bias, variance = super().forward(torch.nan_to_num(features), link)
            return torch.where(torch.isnan(features[:, 3]), torch.nan, bias), variance

    absent = {"features": torch.tensor([[1.0, 0.0, 0.0, torch.nan]]), "link": torch.tensor([0])}
    exported(Guarded(), tmp_path / "model.onnx", edge_inputs=[absent])


def test_an_output_that_is_not_finite_within_the_range_is_refused(tmp_path: Path) -> None:
    class Logarithm(Bias):
        def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
            bias, variance = super().forward(features, link)
            return bias + torch.log(features[:, 1].abs()), variance

    with pytest.raises(ExportError, match="on zeros, bias is not finite although the inputs are"):
        exported(Logarithm(), tmp_path / "model.onnx")


def test_a_failed_export_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = exported(Bias(), tmp_path / "model.onnx")
    before = path.read_bytes()
    with pytest.raises(ExportError):
        exported(Random(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_training_mode_is_refused(tmp_path: Path) -> None:
    module = Bias().eval()
    module.net[2].train()
    with pytest.raises(ExportError, match="is in training mode"):
        export(module, EXAMPLE, tmp_path / "model.onnx", CONTRACT)


def test_a_branch_on_data_is_refused_with_its_line(tmp_path: Path) -> None:
    class Branch(Bias):
        def forward(self, features: Tensor, link: Tensor) -> tuple[Tensor, ...]:
            bias, variance = super().forward(features, link)
            if bias.sum() > 0:
                bias = 2 * bias
            return bias, variance

    with pytest.raises(ExportError, match=r"Branch cannot be exported to ONNX: .*if bias\.sum\(\) > 0:"):
        exported(Branch(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": CONTRACT.inputs[:1]}, r"the inputs are \['features', 'link'\], the contract names"),
        ({"inputs": (CONTRACT.inputs[0], TensorSpec("link", "int32", ("batch",)))}, "input link is int64"),
        ({"outputs": CONTRACT.outputs[:1]}, "outputs"),
        ({"outputs": (CONTRACT.outputs[0], TensorSpec("variance", "float64", ("batch",)))}, "float64"),
        ({"outputs": (CONTRACT.outputs[0], TensorSpec("variance", "float32", ("batch", 2)))}, "variance"),
        ({"valid_range": ()}, "valid_range has 0 entries for 4 features"),
    ],
)
def test_a_module_that_does_not_fit_its_contract_is_refused(
    change: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        exported(Bias(), tmp_path / "model.onnx", replace(CONTRACT, **change))
    assert not list(tmp_path.iterdir())


def test_an_example_that_does_not_fit_the_contract_is_refused(tmp_path: Path) -> None:
    example = {"features": torch.zeros(6, 4), "link": torch.zeros(5, dtype=torch.int64)}
    with pytest.raises(
        ExportError, match=r"input link is int64 \(5,\), the contract says int64 \('batch',\)"
    ):
        exported(Bias(), tmp_path / "model.onnx", example=example)


def test_windows_of_samples_export_too(tmp_path: Path) -> None:
    class Window(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, imu: Tensor) -> Tensor:
            return self.head(self.gru(imu)[0][:, -1])

    contract = replace(
        CONTRACT,
        task="attitude",
        inputs=(TensorSpec("imu", "float32", ("batch", 8, 6)),),
        outputs=(TensorSpec("rotation", "float32", ("batch", 3)),),
        features=(),
        valid_range=(),
        window=8,
        rate=200.0,
    )
    with reproducible(0):
        module = Window().eval()
    path = export(module, {"imu": torch.randn(4, 8, 6)}, tmp_path / "window.onnx", contract)
    assert Model.load(path, task="attitude").contract.window == 8

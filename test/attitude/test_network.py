"""Heads, losses and the projection: gradients, and the ONNX graph beside numpy's SVD."""

# ruff: noqa: E402
import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")
from torch import Tensor, nn

from nn_estimation.attitude.network import (
    HEADS,
    LOSSES,
    ProjectToSO3,
    SvdProjection,
    chordal_loss,
    frobenius_loss,
    geodesic_loss,
    rotation_head,
    rotation_loss,
)
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.learning.export import export
from nn_estimation.rotations import from_6d, geodesic_distance, project_to_so3

seeds = st.integers(0, 2**31 - 1)


def turns(count: int, seed: int = 0) -> np.ndarray:
    return Rotation.random(count, random_state=seed).as_matrix()


def double(values) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def with_singular_values(*s: float) -> np.ndarray:
    u, v = turns(2, 7)
    return u @ np.diag(s) @ v.T


PLACES = {
    "the identity": np.eye(3),
    "twice the identity": 2 * np.eye(3),
    "two equal singular values": np.diag([3.0, 1.0, 1.0]),
    "a rotation": with_singular_values(1, 1, 1),
    "the larger two equal": with_singular_values(2, 2, 0.5),
    "two nearly equal": with_singular_values(2, 1 + 1e-9, 1),
    "a determinant of zero": with_singular_values(2, 1, 0),
    "nearly zero, positive": with_singular_values(2, 1, 1e-9),
    "nearly zero, negative": with_singular_values(2, 1, -1e-9),
    "negative": with_singular_values(3, 2, -1),
    "negative, equal singular values": with_singular_values(2, 2, -1),
    "random": np.random.default_rng(0).normal(size=(3, 3)),
}


def numerical_jacobian(m: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """(9, 9) of project_to_so3 by central differences, entry by entry."""
    columns = []
    for n in range(9):
        d = np.zeros(9)
        d[n] = step
        d = d.reshape(3, 3)
        columns.append((project_to_so3(m + d) - project_to_so3(m - d)).ravel() / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("place", PLACES)
def test_the_gradient_is_that_of_finite_differences(place: str) -> None:
    m = PLACES[place]
    jacobian = torch.autograd.functional.jacobian(SvdProjection.apply, double(m)).reshape(9, 9)
    np.testing.assert_allclose(jacobian.numpy(), numerical_jacobian(m), atol=1e-8)
    assert torch.autograd.gradcheck(SvdProjection.apply, double(m).requires_grad_(), eps=1e-5, atol=1e-7)


@pytest.mark.parametrize("place", ["the identity", "two equal singular values"])
def test_the_gradient_of_torchs_own_svd_is_not_there_where_ours_is(place: str) -> None:
    """What the closed form is for."""
    m = double(PLACES[place]).requires_grad_()
    u, _, vt = torch.linalg.svd(m)
    (grad,) = torch.autograd.grad((u @ vt)[0, 1], m)
    assert not torch.isfinite(grad).all() or abs(grad).max() > 1e3
    (grad,) = torch.autograd.grad(SvdProjection.apply(m)[0, 1], m)
    assert 0.1 < abs(grad).max() < 1.0


def test_the_gradient_grows_as_the_smallest_singular_values_cancel_and_stays_finite() -> None:
    largest = []
    for gap in (1e-1, 1e-2, 1e-3, 0.0):
        m = double(with_singular_values(2, 1, -1 + gap)).requires_grad_()
        (grad,) = torch.autograd.grad(SvdProjection.apply(m)[0, 1], m)
        largest.append(abs(grad).max().item())
    np.testing.assert_allclose(np.divide(largest[1:3], largest[:2]), 10.0, rtol=0.15)
    assert np.isfinite(largest).all()
    zeros = torch.zeros(3, 3, requires_grad=True)
    assert torch.isfinite(torch.autograd.grad(SvdProjection.apply(zeros).sum(), zeros)[0]).all()


@pytest.mark.parametrize("place", PLACES)
def test_the_gradient_through_the_squarings_is_the_same(place: str) -> None:
    m = double(PLACES[place])
    by_squaring = torch.autograd.functional.jacobian(ProjectToSO3().eval(), m)
    torch.testing.assert_close(by_squaring, torch.autograd.functional.jacobian(SvdProjection.apply, m))


def test_gradients_of_a_batch_are_those_of_its_matrices() -> None:
    m = double(np.random.default_rng(1).normal(size=(4, 5, 3, 3))).requires_grad_()
    weight = double(np.random.default_rng(2).normal(size=(4, 5, 3, 3)))
    (grad,) = torch.autograd.grad((SvdProjection.apply(m) * weight).sum(), m)
    (one,) = torch.autograd.grad((SvdProjection.apply(m[2, 3]) * weight[2, 3]).sum(), m)
    torch.testing.assert_close(grad[2, 3], one[2, 3])


@given(seeds, st.booleans())
def test_the_projection_is_idempotent_and_turns_with_the_matrix(seed: int, training: bool) -> None:
    project = ProjectToSO3().train(training)
    rng = np.random.default_rng(seed)
    m = rng.normal(size=(20, 3, 3))
    s = np.linalg.svd(m, compute_uv=False)
    m = double(m[s[:, 1] + np.sign(np.linalg.det(m)) * s[:, 2] > 1e-3 * s[:, 0]])
    r, u, v = project(m), double(turns(len(m), seed)), double(turns(len(m), seed // 2))
    torch.testing.assert_close(project(r), r, rtol=0, atol=1e-13)
    torch.testing.assert_close(project(u @ m @ v), u @ r @ v, rtol=0, atol=1e-11)


class Wrapped(nn.Module):
    """A projection inside something larger, with another output beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.project = ProjectToSO3()

    def forward(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        m = 2.0 * matrix
        return self.project(m), m.diagonal(dim1=-2, dim2=-1).sum(-1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    contract = Contract(
        task="attitude",
        inputs=(TensorSpec("matrix", "float64", ("batch", 3, 3)),),
        outputs=(
            TensorSpec("rotation", "float64", ("batch", 3, 3)),
            TensorSpec("trace", "float64", ("batch",)),
        ),
        features=(),
        valid_range=(),
        parameters={},
        training={},
        metrics={},
        licence="Apache-2.0",
        package_version="0.1.0",
    )
    example = {"matrix": torch.randn(5, 3, 3, dtype=torch.float64)}
    path = export(Wrapped().eval(), example, tmp_path_factory.mktemp("onnx") / "so3.onnx", contract)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def hard_matrices(count: int, seed: int) -> np.ndarray:
    """A third random, a third nearly singular (s2 + s3 from s1 / 10 down to s1 / 10^6), a third reflected."""
    rng, third = np.random.default_rng(seed), count // 3
    s = np.empty((third, 3))
    total, share = 10.0 ** rng.uniform(-6, -1, third), rng.uniform(0.5, 2.0, third)
    s[:] = np.stack([np.ones(third), share * total, (1 - share) * total], axis=1)  # s3 < 0 where share > 1
    nearly_singular = turns(third, seed) @ (s[..., None] * turns(third, seed + 1))
    reflected = turns(third, seed + 2) + 0.2 * rng.normal(size=(third, 3, 3))
    reflected[:, :, 0] *= -rng.uniform(0.5, 0.8, (third, 1))
    return np.concatenate([rng.normal(size=(count - 2 * third, 3, 3)), nearly_singular, reflected])


def test_onnx_agrees_with_numpy_over_a_hundred_thousand_matrices(
    session: onnxruntime.InferenceSession,
) -> None:
    negative = 0
    for seed in range(10):
        m = hard_matrices(10_000, seed)
        (r,) = session.run(["rotation"], {"matrix": m})
        assert abs(np.linalg.det(r) - 1.0).max() < 1e-14
        assert abs(r - project_to_so3(m)).max() < 1e-7
        negative += np.count_nonzero(np.linalg.det(m) < 0)
    assert negative > 50_000


def test_onnx_gives_a_rotation_where_none_is_nearest(session: onnxruntime.InferenceSession) -> None:
    between = [
        np.zeros((3, 3)),
        -np.eye(3),
        np.diag([1.0, 0, 0]),
        np.diag([2.0, 1, -1]),
        np.full((3, 3), 1e9),
    ]
    r, trace = session.run(None, {"matrix": np.stack(between)})
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-14)
    np.testing.assert_array_equal(r[0], np.eye(3))
    np.testing.assert_array_equal(trace, [0, -6, 2, 4, 6e9])


def test_a_single_matrix_passes_through_onnx_too(session: onnxruntime.InferenceSession) -> None:
    m = np.random.default_rng(3).normal(size=(1, 3, 3))
    (r,) = session.run(["rotation"], {"matrix": m})
    np.testing.assert_allclose(r, project_to_so3(m), atol=1e-12)


@given(seeds, st.floats(1e-30, 1e30))
def test_in_float32_the_two_projections_agree_to_its_rounding_at_any_scale(seed: int, scale: float) -> None:
    m = turns(20, seed) @ np.diag([3.0, 1.0, -0.5]) @ turns(20, seed // 2)
    single = torch.tensor(scale * m, dtype=torch.float32)
    for training, tolerance in ((True, 1e-5), (False, 1e-6)):  # one computes in float32, one in float64
        r = ProjectToSO3().train(training)(single)
        assert r.dtype == torch.float32 and abs(r.numpy() - project_to_so3(m)).max() < tolerance


@pytest.mark.parametrize("shape", [(), (1,), (0,), (4, 5)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_gives_rotations_in_any_batch_shape(name: str, training: bool, shape: tuple[int, ...]) -> None:
    head = rotation_head(name).train(training)
    x = torch.randn(*shape, head.width, generator=torch.Generator().manual_seed(0))
    r = head(x)
    assert r.shape == (*shape, 3, 3) and r.dtype == torch.float32
    eye = torch.eye(3).expand(r.shape)
    torch.testing.assert_close(r @ r.mT, eye, rtol=0, atol=2e-6)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(shape), rtol=0, atol=2e-6)


def test_heads_compute_what_numpy_and_scipy_do() -> None:
    x = np.random.default_rng(0).normal(size=(50, 9))
    found = {name: rotation_head(name)(double(x[:, : HEADS[name].width])).numpy() for name in HEADS}
    quaternion = Rotation.from_quat(x[:, [1, 2, 3, 0]]).as_matrix()
    np.testing.assert_allclose(found["quaternion"], quaternion, atol=1e-14)
    np.testing.assert_allclose(found["sixd"], from_6d(x[:, :6]), atol=1e-12)
    np.testing.assert_allclose(found["svd"], project_to_so3(x.reshape(50, 3, 3)), atol=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_can_be_trained_from_any_start(name: str) -> None:
    head = rotation_head(name)
    x = double(np.random.default_rng(0).normal(size=(8, head.width))).requires_grad_()
    assert torch.autograd.gradcheck(head, x)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="no rotation head is called '9d': choose one of quaternion, sixd, svd"
    ):
        rotation_head("9d")
    with pytest.raises(ValueError, match="no rotation loss is called 'l1'"):
        rotation_loss("l1")


@given(st.floats(0.0, np.pi), seeds)
def test_losses_are_functions_of_the_angle_between(angle: float, seed: int) -> None:
    a, turn = turns(2, seed)
    b = a @ Rotation.from_rotvec(angle * turn[0]).as_matrix()
    sine = np.sin(angle / 2)
    for name, expected in {"frobenius": 8 * sine**2, "chordal": np.sqrt(8) * sine, "geodesic": angle}.items():
        assert rotation_loss(name)(double(a), double(b)).item() == pytest.approx(expected, abs=1e-14)
    assert rotation_loss("geodesic")(double(a), double(b)).item() == pytest.approx(geodesic_distance(a, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 1.0, np.pi - 1e-5, np.pi - 1e-12, np.pi])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_loss_is_finite_at_any_angle(name: str, angle: float, dtype: torch.dtype) -> None:
    for axis in (*np.eye(3), turns(1)[0, 0]):
        a = torch.eye(3, dtype=dtype).requires_grad_()
        b = torch.tensor(Rotation.from_rotvec(angle * axis).as_matrix(), dtype=dtype)
        loss = rotation_loss(name)(SvdProjection.apply(a), b)
        (grad,) = torch.autograd.grad(loss, a)
        assert torch.isfinite(loss) and torch.isfinite(grad).all() and abs(grad).max() < 10.0


@pytest.mark.parametrize("loss", [frobenius_loss, chordal_loss, geodesic_loss])
def test_the_gradient_of_a_loss_is_that_of_finite_differences(loss) -> None:
    b = double(turns(6, 1).reshape(2, 3, 3, 3))
    a = double(np.random.default_rng(0).normal(size=(2, 3, 3, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(SvdProjection.apply(a), b), a)

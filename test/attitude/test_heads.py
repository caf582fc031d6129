"""The heads side by side: clouds, equal conditions, and the table."""

# ruff: noqa: E402
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch", reason="training needs torch")

from nn_estimation.attitude.heads import comparison
from nn_estimation.attitude.heads.clouds import CloudError, Clouds, read_clouds
from nn_estimation.attitude.heads.network import COMPARED, EulerHead, PointNet
from nn_estimation.attitude.heads.training import Effort, TurnedClouds, angular_errors, train_head
from nn_estimation.cli import main

SMALL = Effort(epochs=3, seeds=(0, 1), per_point=(8, 16), behind=(16,), points=16, batch_size=16, turns=2)


def write_clouds(path: Path, count: int, seed: int) -> None:
    """Clouds of 40 to 60 points of a body without symmetry: three arms of different lengths."""
    rng = np.random.default_rng(seed)
    clouds = []
    for n in rng.integers(40, 60, count):
        along = rng.uniform(0, 1, (n, 1))
        arms = np.array([[0.5, 0, 0], [0, 0.3, 0], [0.1, 0, 0.2]])[rng.integers(0, 3, n)]
        clouds.append(along * arms + rng.normal(0, 0.01, (n, 3)))
    scale = 2e-5
    np.savez(
        path,
        pts=np.round(np.concatenate(clouds) / scale).astype(np.int16),
        scale=scale,
        offsets=np.cumsum([0, *map(len, clouds)]),
        ids=np.array([str(n) for n in range(count)]),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clouds")
    write_clouds(path / "train.npz", 96, 0)
    write_clouds(path / "test.npz", 20, 1)
    return path


@pytest.fixture(scope="module")
def clouds(folder: Path) -> Clouds:
    return read_clouds(folder / "train.npz")


def test_clouds_come_back_in_their_unit(clouds: Clouds) -> None:
    assert len(clouds) == 96 and clouds.points.shape == (clouds.offsets[-1], 3)
    np.testing.assert_allclose(clouds.points.max(axis=0), [0.5, 0.3, 0.2], atol=0.05)


def test_a_missing_or_foreign_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"no clouds of airplanes at .*NN_ESTIMATION_DATA"):
        read_clouds(tmp_path / "train.npz")
    np.savez(tmp_path / "train.npz", points=np.zeros(3))
    with pytest.raises(CloudError, match="holds points and no offsets, pts, scale"):
        read_clouds(tmp_path / "train.npz")
    (tmp_path / "train.npz").write_text("not an archive")
    with pytest.raises(CloudError, match="cannot be read"):
        read_clouds(tmp_path / "train.npz")


def test_the_truth_is_the_turn_from_the_cloud_at_rest(clouds: Clouds) -> None:
    source = TurnedClouds(clouds, 30)
    for cloud, rotation in source.batches(10, torch.Generator().manual_seed(3)):
        r = rotation.double().numpy()
        np.testing.assert_allclose(r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=1e-6)
        # Turned back, every point is one of the set.
        back = (cloud @ rotation).reshape(-1, 3).numpy()
        nearest = np.abs(back[:20, None] - clouds.points).max(axis=2).min(axis=1)
        assert nearest.max() < 1e-6


def test_turns_are_uniform_on_so3(clouds: Clouds) -> None:
    source, generator = TurnedClouds(clouds, 1), torch.Generator().manual_seed(0)
    r = torch.cat([r for _ in range(50) for _, r in source.batches(96, generator)]).double().numpy()
    # Of uniform rotations, the matrix has mean 0 and entries of variance 1/3, the angle a density of (1 - cos) / pi.
    assert np.abs(r.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / len(r))
    angle = Rotation.from_matrix(r).magnitude()
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.05)


def test_every_head_sees_the_same_clouds_and_starts_from_the_same_weights(clouds: Clouds) -> None:
    seen: dict[str, torch.Tensor] = {}
    for head in COMPARED:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            module = PointNet(head, (8, 16), (16,))
        seen[head] = torch.cat(
            [p.detach().flatten() for p in [*module.points.parameters(), *module.behind.parameters()]]
        )
        assert torch.equal(seen[head], seen["euler"])
    a, b = (list(TurnedClouds(clouds, 5).batches(32, torch.Generator().manual_seed(1))) for _ in range(2))
    assert all(
        torch.equal(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("head", COMPARED)
def test_a_head_learns_and_ends_with_rotations(head: str, clouds: Clouds) -> None:
    effort = Effort(
        epochs=30, seeds=(0,), per_point=(16, 32), behind=(32,), points=16, batch_size=16, lr=5e-3, turns=2
    )
    module = train_head(head, clouds, effort, 0)
    assert not module.training
    cloud, _ = next(iter(TurnedClouds(clouds, 16).batches(20, None)))
    with torch.no_grad():
        r = module(cloud)
    torch.testing.assert_close(r @ r.mT, torch.eye(3).expand(20, 3, 3), rtol=0, atol=1e-5)
    # Of a guess, the mean is that of uniform turns, 126 deg.
    assert np.degrees(angular_errors(module, clouds, effort)).mean() < 110.0


def test_the_euler_head_is_scipys_zyx() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(
        EulerHead()(torch.tensor(x)).numpy(), Rotation.from_euler("ZYX", x).as_matrix(), atol=1e-14
    )


def test_the_table_has_every_head_and_seed_and_comes_out_the_same(folder: Path) -> None:
    lines = list(comparison.report(folder, SMALL))
    rows = [line.split()[:2] for line in lines if line.split()[0] in COMPARED]
    assert [row for row in rows if row[1] == "0"] == [[head, "0"] for head in COMPARED]
    assert len(rows) == 3 * len(COMPARED)
    assert lines[-1].startswith("\nby median: ")
    again = list(comparison.report(folder, SMALL))
    assert [line[:56] for line in lines] == [line[:56] for line in again]  # without the time taken


def test_the_command_prints_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison, "QUICK", SMALL)
    assert main(["bench", "heads", "--quick", "--data", str(folder)]) == 0
    assert capsys.readouterr().out.count("svd-train") == 4  # each seed, all of them, and the last line


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "heads", "--data", str(tmp_path)]) == 2
    assert "no clouds of airplanes at" in capsys.readouterr().err
    assert main(["bench", "uwb", "--quick"]) == 2
    assert "--quick and --data belong to bench heads" in capsys.readouterr().err


def test_the_airplanes_are_those_of_the_paper(data_root: Path) -> None:
    path = data_root / "attitude" / "shapenet_airplane"
    if not path.is_dir():
        pytest.skip(f"no airplanes at {path}")
    clouds = read_clouds(path / "test.npz")
    assert len(clouds) == 400
    size = np.ptp(clouds.points, axis=0)
    assert size[1] < 0.5 * size[2] and 0.8 < size[0] <= 1.0  # flat, with the nose along x

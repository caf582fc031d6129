"""Cost and error of the projection to SO(3) inside an ONNX graph, beside the SVD of numpy and of torch.

python benchmarks/attitude_projection.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from nn_estimation.attitude.network import ProjectToSO3, SvdProjection
from nn_estimation.contract import Contract, TensorSpec
from nn_estimation.learning.export import export
from nn_estimation.rotations import geodesic_distance, project_to_so3

CONTRACT = Contract(
    task="projection",
    inputs=(TensorSpec("m", "float64", ("batch", 3, 3)),),
    outputs=(TensorSpec("rotation", "float64", ("batch", 3, 3)),),
    features=(),
    valid_range=(),
    parameters={},
    training={},
    metrics={},
    licence="Apache-2.0",
    package_version="0",
)
CALLS = 20_000
GAPS = (1e-1, 1e-3, 1e-5, 1e-6)  # s2 + s3 by s1
BATCH, BATCHES = 100_000, 10


def main() -> None:
    """Export, measure, print."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    many = rng.normal(size=(10_000, 3, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = export(
            ProjectToSO3().eval(), {"m": torch.from_numpy(many[:8])}, Path(folder) / "p.onnx", CONTRACT
        )
        nodes = len(onnx.load(path).graph.node)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    print(f"{nodes} nodes, onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, one thread\n")

    one = many[:1]
    tensor = torch.from_numpy(one)
    print(f"{'batch 1':<46}  {'median':>7}  {'p99':>7}  [us]")
    calls: tuple[tuple[str, Callable[[], object]], ...] = (
        ("ONNX Runtime, the projection", lambda: session.run(None, {"m": one})),
        ("numpy, project_to_so3 with its checks", lambda: project_to_so3(one)),
        ("numpy.linalg.svd alone", lambda: np.linalg.svd(one)),
        ("torch, SvdProjection", lambda: SvdProjection.apply(tensor)),
        ("torch.linalg.svd alone", lambda: torch.linalg.svd(tensor)),
    )
    for name, call in calls:
        took = [_time(call) for _ in range(CALLS)]
        print(f"{name:<46}  {np.median(took):7.1f}  {np.quantile(took, 0.99):7.1f}")

    print(f"\n{'error of the nearest rotation, at (s2 + s3) / s1':<50}  {'ONNX':>8}  {'numpy':>8}  [deg]")
    for gap in GAPS:
        for name, s in (("positive", (1.0, 0.6 * gap, 0.4 * gap)), ("negative", (1.0, 0.5, gap - 0.5))):
            u, v = project_to_so3(many), project_to_so3(rng.normal(size=many.shape))
            m, true = u @ np.diag(s) @ v, u @ v
            found = [
                geodesic_distance(r, true).max() for r in (session.run(None, {"m": m})[0], project_to_so3(m))
            ]
            print(
                f"{f'{gap:g}, {name} determinant':<50}  " + "  ".join(f"{np.degrees(e):8.0e}" for e in found)
            )

    worst: dict[str, float] = {}
    for _ in range(BATCHES):
        for name, m in _hard(BATCH, rng).items():
            apart = float(abs(session.run(None, {"m": m})[0] - project_to_so3(m)).max())
            worst[name] = max(worst.get(name, 0.0), apart)
    print(f"\n{f'largest difference to numpy over {BATCH * BATCHES:,} matrices':<50}  an entry")
    for name, apart in worst.items():
        print(f"{name:<50}  {apart:8.0e}")


def _hard(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A third random, a third nearly singular (s2 + s3 from s1 / 10 down to s1 / 10^6), a third reflected."""
    third = count // 3
    u, v, near = (project_to_so3(rng.normal(size=(third, 3, 3))) for _ in range(3))
    total, share = 10.0 ** rng.uniform(-6, -1, third), rng.uniform(0.5, 2.0, third)  # s3 < 0 where share > 1
    s = np.stack([np.ones(third), share * total, (1.0 - share) * total], axis=1)
    reflected = near + 0.2 * rng.normal(size=near.shape)
    reflected[:, :, 0] *= -rng.uniform(0.5, 0.8, (third, 1))
    return {
        "random": rng.normal(size=(count - 2 * third, 3, 3)),
        "nearly singular": u @ (s[..., None] * v),
        "reflected": reflected,
    }


def _time(call: Callable[[], object]) -> float:
    """Microseconds of a call."""
    begin = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - begin)


if __name__ == "__main__":
    main()

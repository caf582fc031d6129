"""How much each step of the range correction gains on recordings that were not trained on.

    nn_estimation import lias SRC --out bags/lias        (the same for hanyang, util and starloc)
    python benchmarks/uwb_accuracy.py bags --out benchmarks/uwb_accuracy.md

Every split is trained anew; raw, constant, affine, ridge and network are rows of one file, scored on the same ranges.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import norm

from nn_estimation.inference import Model
from nn_estimation.metrics import auc, pose_metrics
from nn_estimation.traces import ErrorTrace, PoseTrace
from nn_estimation.uwb.bias import METHODS
from nn_estimation.uwb.calibration import apply_table, fit_table
from nn_estimation.uwb.evaluation import evaluate
from nn_estimation.uwb.features import FeatureReader
from nn_estimation.uwb.samples import Samples, read_samples
from nn_estimation.uwb.training import UwbTrainConfig, train, train_on

PLAIN = "plain MLP"
LARGE = 0.15  # [m] an error worth a warning, as in Zhao et al. 2022
UTIL_FOLDS = 6
Found = dict[str, list[tuple[ErrorTrace, PoseTrace | None]]]


@dataclass(frozen=True)
class Row:
    """One method on one split."""

    split: str
    method: str
    rmse: float  # [m]
    below_affine: float  # share
    coverage: tuple[float, float]  # of one and two sigma
    position: float | None = None  # [m]
    position_coverage: tuple[float, float] | None = None
    yaw: float | None = None  # [deg]


def run(
    train_bags: Sequence[Path],
    test_bags: Sequence[Path],
    config: UwbTrainConfig | None = None,
    methods: Sequence[str] = METHODS,
) -> Found:
    """Traces of the methods on bags left out."""
    found: Found = {}
    with tempfile.TemporaryDirectory() as folder:
        trained = train(train_bags, Path(folder) / "model.onnx", config)
        evaluation = evaluate(test_bags, trained.path, methods=methods)
    for recording in evaluation.traces.values():
        for method, pair in recording.items():
            found.setdefault(method, []).append(pair)
    return found


def rows(split: str, found: Found) -> Iterator[Row]:
    """Pooled over the recordings of a split."""
    affine = rmse(np.concatenate([trace.error for trace, _ in found["affine"]]))
    for method, pairs in found.items():
        error = np.concatenate([trace.error for trace, _ in pairs])
        ratio = np.abs(error) / np.concatenate([trace.sigma for trace, _ in pairs])
        position = inside = yaw = None
        poses = [pose for _, pose in pairs if pose is not None]
        if poses:
            off = np.concatenate([(p.position - p.truth)[:, : p.dimensions] for p in poses])
            turn = np.concatenate([p.yaw - p.yaw_truth for p in poses])
            position = float(np.sqrt((off**2).sum(axis=1).mean()))
            found_metrics = [(len(p.stamp), pose_metrics(p)) for p in poses]
            inside = tuple(
                np.average([m[key] for _, m in found_metrics], weights=[n for n, _ in found_metrics])
                for key in ("position_coverage_1sigma", "position_coverage_2sigma")
            )
            yaw = float(np.degrees(rmse(np.angle(np.exp(1j * turn)))))
        coverage = (float(np.mean(ratio < 1)), float(np.mean(ratio < 2)))
        yield Row(split, method, rmse(error), 1 - rmse(error) / affine, coverage, position, inside, yaw)


def rmse(error: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(error**2)))


def lias(bags: Path) -> Iterator[Row]:
    """One run for training, the other for the test; the plain network beside the structured one."""
    for here, there in (("mid", "slow"), ("slow", "mid")):
        found = run([bags / here], [bags / there])
        plain = run([bags / here], [bags / there], UwbTrainConfig(network="plain", hidden=24), ["network"])
        yield from rows(f"lias {here} -> {there}", {**found, PLAIN: plain["network"]})


def lias_tags(bags: Path) -> Iterator[Row]:
    """A tag never trained on: its own affine calibration, without and with the others' antenna pattern."""
    runs = {name: read_samples([bags / name]) for name in ("mid", "slow")}
    for here, there in (("mid", "slow"), ("slow", "mid")):
        for tag in sorted({link.split("|")[0] for link in runs[here].links}):
            own = np.array([link.split("|")[0] == tag for link in runs[here].links])
            known, held = runs[here], runs[there]
            with tempfile.TemporaryDirectory() as folder:
                path = train_on(known[~own[known.link]], Path(folder) / "model.onnx").path
                model = Model.load(path)
            known, held = known[own[known.link]], held[own[held.link]]
            found: Found = {}
            for method in ("affine", "affine + pattern of the other tags"):
                added = [_pattern(model, s) if method != "affine" else 0.0 for s in (known, held)]
                table = fit_table("affine", known.error - added[0], known.distance, known.link, len(own))
                bias, variance = apply_table(table, held.distance, held.link)
                error = held.error - bias - added[1]
                trace = ErrorTrace(held.stamp, error, np.sqrt(variance), held.link, error, held.distance)
                found[method] = [(trace, None)]
            yield from rows(f"lias {here} -> {there}, without {tag}", found)


def _pattern(model: Model, samples: Samples) -> np.ndarray:
    """(N,) [m] what the tags it was trained on would see there, on average; their calibration is absorbed below."""
    features = FeatureReader(model.contract.features).read(samples.geometry, samples.power)
    known = {name: row for row, name in enumerate(model.contract.parameters["links"])}
    tags = sorted({name.split("|")[0] for name in known})
    anchors = [name.split("|")[1] for name in samples.links]
    total = np.zeros(len(samples))
    for tag in tags:
        rows = np.array([known.get(f"{tag}|{anchor}", -1) for anchor in anchors])
        inputs = {"features": features.astype(np.float32), "link": rows[samples.link]}
        total += model.run(inputs)["bias"]
    return total / len(tags)


def hanyang(bags: Path) -> Iterator[Row]:
    """Each height left out once."""
    yield from rows("hanyang, heights left out", _left_out([[bag] for bag in sorted(bags.iterdir())]))


def util(bags: Path) -> Iterator[Row]:
    """Tests left out in six groups."""
    tests = sorted(bags.iterdir())
    found = _left_out([tests[number::UTIL_FOLDS] for number in range(UTIL_FOLDS)])
    yield from rows("util, tests left out", found)
    raw = np.concatenate([trace.error for trace, _ in found["raw"]])
    for method in ("affine", "ridge", "network"):
        error = np.concatenate([trace.error for trace, _ in found[method]])
        sigma = np.concatenate([trace.sigma for trace, _ in found[method]])
        bias = raw - error
        large = norm.sf((LARGE - bias) / sigma) + norm.cdf((-LARGE - bias) / sigma)
        area = auc(large, np.abs(raw) > LARGE)
        print(f"util: {method} tells |error| > {LARGE} m with an AUC of {area:.3f}", flush=True)
        NOTES.append(f"util: AUC of predicting |error| > {LARGE} m from {method}: {area:.3f}")


def starloc(bags: Path) -> Iterator[Row]:
    """One loop by another of the same rig, then of another rig, then stretches of one loop by the others."""
    fast, flat, climbing = "loop-2d-fast_s1", "loop-2d_s5", "loop-3d_s5"
    for here, there in ((flat, climbing), (climbing, flat), (fast, flat), (flat, fast)):
        yield from rows(f"starloc {here} -> {there}", run([bags / here], [bags / there]))
    with tempfile.TemporaryDirectory() as folder:
        held_out = train([bags / fast], Path(folder) / "model.onnx").contract.metrics
    for method, found in held_out.items():
        gain = 1 - found["rmse_m"] / held_out["affine"]["rmse_m"]
        coverage = (found["coverage_1sigma"], found["coverage_2sigma"])
        yield Row(f"starloc {fast}, stretches of time left out", method, found["rmse_m"], gain, coverage)


def _left_out(groups: list[list[Path]]) -> Found:
    found: Found = {}
    for number, held in enumerate(groups):
        others = [bag for i, group in enumerate(groups) if i != number for bag in group]
        for method, pairs in run(others, held).items():
            found.setdefault(method, []).extend(pairs)
    return found


NOTES: list[str] = []
SETS = {"lias": lias, "lias_tags": lias_tags, "hanyang": hanyang, "util": util, "starloc": starloc}
HEADER = (
    "| split | method | range RMSE [m] | below affine | within 1, 2 sigma | position RMSE [mm] "
    "| within 1, 2 sigma | yaw RMSE [deg] |"
)


def line(row: Row) -> str:
    """A row of the Markdown table."""
    position = "" if row.position is None else f"{1e3 * row.position:.1f}"
    yaw = "" if row.yaw is None else f"{row.yaw:.2f}"
    coverage, inside = (
        ", ".join(f"{100 * share:.0f} %" for share in shares or ())
        for shares in (row.coverage, row.position_coverage)
    )
    gain = "" if row.method == "affine" else f"{100 * row.below_affine:.1f} %"
    return f"| {row.split} | {row.method} | {row.rmse:.4f} | {gain} | {coverage} | {position} | {inside} | {yaw} |"


def main() -> None:
    """Run the sets and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "bags", type=Path, help="folder with the folders lias, hanyang, util, starloc of imported bags"
    )
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = [HEADER, "|" + "---|" * 8]
    print("\n".join(table))
    for name in arguments.only:
        for row in SETS[name](arguments.bags / name.split("_")[0]):
            table.append(line(row))
            print(table[-1], flush=True)
    if arguments.out:
        command = f"python benchmarks/uwb_accuracy.py BAGS --only {' '.join(arguments.only)}"
        notes = "".join(f"\n{note}" for note in NOTES)
        arguments.out.write_text(f"# UWB accuracy\n\n    {command}\n\n" + "\n".join(table) + f"\n{notes}\n")


if __name__ == "__main__":
    main()

"""What a file holds, in words: the contract of a model, or the topics of a bag."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from nn_estimation.bags import BagReader
from nn_estimation.contract import Contract

AMOUNTS = ("ranges", "kilometres")  # of training data


def describe(path: str | Path) -> str:
    """Text about a model file or a bag.

    Raises:
        ModelError: an .onnx file that is no model of this package.
        BagError: anything else that is no bag.
    """
    if Path(path).suffix == ".onnx":
        from nn_estimation.inference import Model

        model = Model.load(path, provider="cpu")
        return _model(model.path, model.sha256, model.contract)
    return _bag(path)


def _model(path: Path, sha256: str, contract: Contract) -> str:
    lines = [f"{path}: {contract.task}, contract version {contract.version}", f"sha256    {sha256}"]
    lines.append(
        f"licence   {contract.licence or 'not stated'}, made with nn_estimation {contract.package_version}"
    )
    recordings = contract.training.get("recordings", [])
    size = [f"{_text(contract.training[key], '.6g')} {key}" for key in AMOUNTS if key in contract.training]
    size += [f"IMU at {contract.rate:.0f} Hz"] if contract.rate else []
    lines.append(f"trained   on {_listed(recordings)} ({', '.join(size)})")
    if contract.training.get("command"):
        lines.append(f"command   {contract.training['command']}")
    lines.append("")
    for kind, specs in (("input", contract.inputs), ("output", contract.outputs)):
        for spec in specs:
            shape = ", ".join(map(str, spec.shape))
            lines.append(f"{kind:9s} {spec.name} {spec.dtype} ({shape}) {spec.unit}".rstrip())
    if links := contract.parameters.get("links"):
        lines += ["", f"links     {_listed(links)}"]
    lines += ["", f"{'feature':28s} trained range"]
    for name, (low, high) in zip(contract.features, contract.valid_range, strict=True):
        lines.append(f"{name:24s} {low:8.2f} to {high:.2f}")
    lines += [f"{name:24s} {value}" for name, value in contract.parameters.items() if isinstance(value, bool)]
    rows = {method: row for method, row in contract.metrics.items() if isinstance(row, dict)}
    metrics = sorted({metric for row in rows.values() for metric in row})
    lines += ["", f"{'held out':10s}" + "".join(f"  {metric}" for metric in metrics)]
    for method, row in rows.items():
        cells = (f"  {_text(row.get(metric, math.nan), '.4f'):>{len(metric)}}" for metric in metrics)
        lines.append(f"{method:10s}" + "".join(cells))
    return "\n".join(lines)


def _listed(values: Any) -> str:
    """Of what nobody has checked: a contract's notes may hold anything."""
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _text(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, (int, float)) else str(value)


def _bag(path: str | Path) -> str:
    with BagReader(path) as bag:
        lines = [f"{bag.path}: {bag.storage}, {bag.end - bag.start:.1f} s"]
        if bag.damage:
            lines.append(f"damaged: {bag.damage}")
        lines += [f"{bag.counts[topic]:9d}  {topic}  {bag.topics[topic]}" for topic in sorted(bag.topics)]
        for key, value in bag.custom_data.items():
            lines += ["", f"{key}:", *(f"  {line}" for line in value.rstrip().splitlines())]
    return "\n".join(lines)

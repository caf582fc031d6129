"""What a range costs on one core: the whole path of the node, its parts, and the textbook filter beside them."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nn_estimation.bags import BagReader
from nn_estimation.inference import Model
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import outputs
from nn_estimation.uwb.simulation import SimulationParams, room_layout, simulate_flight
from nn_estimation.uwb.stream import UwbStream
from nn_estimation.uwb.textbook import TextbookLocalization
from nn_estimation.uwb.warm_up import warm_up

# As many ranges a second as three tags and eight anchors give at 100 Hz.
FLIGHT = SimulationParams(seed=3, duration=8.0, range_rate=150.0)


@dataclass(frozen=True)
class Cost:
    """Of one way of doing it."""

    name: str
    median: float  # [s] a range
    p99: float  # [s] a range, over epochs


def report(path: str | Path) -> str:
    """Table of `measure`, with what it was measured on.

    Args:
        path: of a bias model for the simulated room.

    Raises:
        ModelError: the file is none.
    """
    model = Model.load(path, task="uwb_bias")
    costs, apart = measure(model)
    layout = room_layout()
    head = (
        f"{path} on {model.provider}: a simulated flight, {len(layout.tags) * len(layout.anchors)} links at "
        f"{FLIGHT.range_rate:g} Hz\n\n{'':<42}  {'median':>7}  {'p99':>7}  [us a range]"
    )
    rows = [f"{c.name:<42}  {1e6 * c.median:>7.1f}  {1e6 * c.p99:>7.1f}" for c in costs]
    return "\n".join([head, *rows, f"\nthe two filters' positions differ by at most {apart:.1g} m"])


def measure(model: Model) -> tuple[list[Cost], float]:
    """Costs on the same ranges, and how far [m] the positions of the two filters are apart."""
    with tempfile.TemporaryDirectory() as folder:
        with BagReader(simulate_flight(FLIGHT, Path(folder) / "flight")) as bag:
            layout = Layout.from_yaml(bag.custom_data["layout"])
            models = load_bias_models(model, layout)
            topics = UwbStream(UwbEstimator(layout, models["raw"])).topics
            messages = [(topic, data) for topic, _, data in bag.raw([t for t in topics if t in bag.topics])]
    epochs: list[Epoch] = []
    costs = [_whole_path(UwbEstimator(layout, models["network"]), messages, epochs)]
    # The textbook filter has no strapdown step: from here on without the IMU.
    tracks = []
    for name, method, textbook in (
        ("estimator, network", "network", False),
        ("estimator, affine", "affine", False),
        ("estimator, affine, textbook numpy filter", "affine", True),
    ):
        estimator = UwbEstimator(layout, models[method])
        if textbook:
            estimator.localization = TextbookLocalization(layout)
        cost, track = _estimator(estimator, epochs, name)
        costs.append(cost)
        tracks.append(track)
    return costs, float(np.nanmax(np.abs(tracks[1] - tracks[2])))


def _whole_path(estimator: UwbEstimator, messages: list[tuple[str, bytes]], epochs: list[Epoch]) -> Cost:
    """CDR bytes in, CDR bytes out, as in the node; keeps the epochs."""
    warm_up(estimator)
    stream = UwbStream(estimator)
    spent, seconds = 0.0, []
    for topic, data in messages:
        begin = time.perf_counter()
        stream.feed(topic, data)
        for result in stream.corrected():
            for _ in outputs(stream.layout, result):
                pass
            seconds.append((spent + time.perf_counter() - begin) / len(result.epoch.tag))
            epochs.append(result.epoch)
            begin, spent = time.perf_counter(), 0.0
        spent += time.perf_counter() - begin
    return _cost("bytes to bytes, network and IMU", seconds)


def _estimator(estimator: UwbEstimator, epochs: list[Epoch], name: str) -> tuple[Cost, np.ndarray]:
    warm_up(estimator)
    seconds, track = [], np.full((len(epochs), 3), np.nan)
    for number, epoch in enumerate(epochs):
        begin = time.perf_counter()
        result = estimator.update(epoch)
        seconds.append((time.perf_counter() - begin) / len(epoch.tag))
        if result.pose is not None:
            track[number] = result.pose.position
    return _cost(name, seconds), track


def _cost(name: str, seconds: list[float]) -> Cost:
    return Cost(name, float(np.median(seconds)), float(np.quantile(seconds, 0.99)))

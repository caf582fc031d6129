"""The localization with an IMU: one that begins, pauses, stops, or says nothing of use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.bags import BagReader
from nn_estimation.inference import Model
from nn_estimation.shipped import default_model
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.localization import PoseEstimate
from nn_estimation.uwb.replay import layout_of, replay
from nn_estimation.uwb.stream import UwbStream

from .walking import (
    SPACE,
    Loop,
    epoch,
    started,
    yaw_of,
)

pytestmark = pytest.mark.once


def test_an_imu_that_stops_leaves_a_level_body_at_constant_velocity() -> None:
    loop, rng = Loop(SPACE), np.random.default_rng(7)
    for i in range(100):
        if i < 60:
            for k in range(4):
                loop.filter.update_imu(i / 20 - 0.05 + k / 80, np.zeros(3), np.array([0.0, 0.0, 9.80665]))
        pose = loop(epoch(SPACE, i / 20, np.array([4.0, 3.0, 1.0]), 0.5, rng=rng))
        if i == 59:
            assert loop.filter.uses_imu
    assert pose is not None and not loop.filter.uses_imu and loop.filter.restarts == 0
    np.testing.assert_allclose(pose.position, [4.0, 3.0, 1.0], atol=0.15)
    np.testing.assert_allclose(pose.R_world_body[2], [0.0, 0.0, 1.0], atol=1e-12)
    assert abs(yaw_of(pose) - 0.5) < 0.2


def test_a_gap_of_all_inputs_is_not_filled_with_what_was_measured_before_it() -> None:
    """The IMU, whose turn was not to last, comes back first."""
    loop, rng, at, up = Loop(SPACE), np.random.default_rng(7), np.array([4.0, 3.0, 1.0]), [0.0, 0.0, 9.80665]
    for i in range(60):
        turn = 0.4 if i == 59 else 0.0
        for k in range(4):
            loop.filter.update_imu(i / 20 - 0.05 + k / 80, np.array([0.0, 0.0, turn]), np.array(up))
        before = loop(epoch(SPACE, i / 20, at, 0.5, rng=rng))
    loop.filter.update_imu(59 / 20 + 1.5, np.zeros(3), np.array(up))
    after = loop.filter.pose()
    assert before is not None and after is not None
    assert abs(yaw_of(after) - 0.5) < 0.1 and after.yaw_std > 2.0 * before.yaw_std
    assert loop.filter.restarts == 0


def test_an_imu_that_begins_during_a_track_levels_it_by_its_first_sample() -> None:
    loop, tilt = started(SPACE), Rotation.from_euler("x", 0.3)
    loop.filter.update_imu(2.0, np.zeros(3), tilt.inv().apply([0.0, 0.0, 9.80665]))
    pose = loop.filter.pose()
    assert pose is not None
    np.testing.assert_allclose(pose.R_world_body[2], tilt.as_matrix()[2], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_imu_sample_that_is_no_number_is_ignored(bad: float) -> None:
    loop = started(SPACE)
    before = loop.filter.p.copy()
    loop.filter.update_imu(2.0, np.array([bad, 0.0, 0.0]), np.array([0.0, 0.0, 9.81]))
    loop.filter.update_imu(2.0, np.zeros(3), np.array([0.0, 0.0, bad]))
    np.testing.assert_array_equal(loop.filter.p, before)
    assert not loop.filter.uses_imu


def poses(flight: Path, topics: Callable[[str], bool]) -> Iterator[PoseEstimate]:
    with BagReader(flight) as bag:
        layout = layout_of(bag)
        model = load_bias_models(Model.load(default_model("uwb_demo.onnx"), provider="cpu"), layout)[
            "network"
        ]
        stream = UwbStream(UwbEstimator(layout, model))
        stream.topics = {topic: kind for topic, kind in stream.topics.items() if topics(topic)}
        yield from (result.pose for result in replay(bag, stream) if result.pose is not None)


def test_an_imu_makes_the_flight_of_a_tilting_drone_more_accurate(flight: Path) -> None:
    with BagReader(flight) as bag:
        from nn_estimation.uwb.evaluation import _true_poses

        stamps, truth, _ = _true_poses(bag, "ground_truth/odometry")
    rmse = {}
    for name, chosen in (("with", lambda t: True), ("without", lambda t: "imu" not in t)):
        found = [pose for pose in poses(flight, chosen) if pose.stamp > stamps[0] + 3.0]
        at = np.array([pose.stamp for pose in found])
        true = np.stack([np.interp(at, stamps, truth[:, i]) for i in range(3)], axis=1)
        error = np.array([pose.position for pose in found]) - true
        rmse[name] = np.sqrt(np.mean(np.sum(error**2, axis=1)))
    assert rmse["with"] < 0.8 * rmse["without"], rmse

"""The evaluation: known answers, the same drives for all methods, and bounds that hold where the model is true."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drive_scene import KNOWN, drive, write_bag, write_model
from scipy.spatial.transform import Rotation

from nn_estimation.bags import BagError
from nn_estimation.datasets.recording import Recording
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive, DriveError
from nn_estimation.dead_reckoning.evaluation import DriveTrace, dead_reckon, evaluate, metrics
from nn_estimation.dead_reckoning.model import METHODS, Setup
from nn_estimation.dead_reckoning.tuning import drift

BOUNDS = {"position_coverage_3sigma", "velocity_coverage_3sigma", "position_nees", "velocity_nees", "nis"}
ALWAYS = {"position_rmse_m", "end_error_m", *BOUNDS}
DRIFT = {"t_rel_percent", "r_rel_deg_per_km"}


class Oracle:
    """Stands in for a network: it measures the slip that the vehicle has, which is none, with the noise it states."""

    def __init__(self, variance: tuple[float, float], seed: int) -> None:
        self.rng = np.random.default_rng(1000 + seed)
        self.variance, self.mean, self.counts = np.array(variance), np.zeros(2), {"network": 0}

    def reset(self) -> None:
        self.mean[:] = 0.0

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> None:
        self.mean[:] = np.sqrt(self.variance) * self.rng.standard_normal(2)
        self.counts["network"] += 1


def of_true_model(seeds: range, constants: Constants = KNOWN) -> dict[str, float]:
    traces = []
    for seed in seeds:
        oracle = Oracle((KNOWN.lateral, KNOWN.vertical), seed)
        setup = Setup("network", constants, False, oracle)  # type: ignore[arg-type]
        traces.append(dead_reckon(drive(seed, seconds=40.0), setup))
    return metrics(traces)


def test_bounds_hold_where_the_model_of_the_filter_is_true() -> None:
    found = of_true_model(range(24))
    # 24 drives, whose errors last as long as the drive: a mean of 72 squares, .17 wide at one sigma.
    assert found["position_nees"] == pytest.approx(1.0, abs=0.4)
    assert found["velocity_nees"] == pytest.approx(1.0, abs=0.4)
    assert found["position_coverage_3sigma"] == pytest.approx(0.997, abs=0.012)
    assert found["velocity_coverage_3sigma"] == pytest.approx(0.997, abs=0.012)
    assert found["nis"] == pytest.approx(1.0, abs=0.02)  # 96 000 pairs of independent innovations
    assert found["network_share"] == 1.0


def test_a_filter_that_is_too_sure_of_its_imu_is_seen_by_its_bounds() -> None:
    sure = KNOWN._replace(
        gyro=KNOWN.gyro / 100, accel=KNOWN.accel / 100, gyro_bias_0=1e-10, accel_bias_0=1e-7
    )
    found = of_true_model(range(6), sure)
    assert found["position_nees"] > 5.0 and found["velocity_nees"] > 5.0
    assert found["position_coverage_3sigma"] < 0.9


def trace(
    position_error: np.ndarray, velocity_error: np.ndarray, variance: float = 1.0, speed: float = 0.0
) -> DriveTrace:
    """Frames that are off by (K, 3), of a vehicle that goes east."""
    count = len(position_error)
    stamp = 5.0 + 0.1 * np.arange(count)
    R = np.tile(np.eye(3), (count, 1, 1))
    truth = np.column_stack([speed * (stamp - 5.0), np.zeros(count), np.zeros(count)])
    covariance = variance * R
    settled = np.arange(count) >= 10
    return DriveTrace(
        stamp, R, truth + position_error, velocity_error, R, truth, np.zeros((count, 3)), covariance, covariance,
        np.ones((count, 2)), settled, np.array([1.0, 3.0, 8.0]), 20, 15,
    )  # fmt: skip


def test_errors_give_the_numbers_one_works_out_by_hand() -> None:
    position = np.tile([3.0, -4.0, 0.0], (40, 1))
    position[-1] = [0.0, 6.0, 8.0]
    found = metrics([trace(position, np.tile([2.0, 0.0, 0.0], (40, 1)))])
    assert found == {
        "position_rmse_m": pytest.approx(math.sqrt((39 * 25 + 100) / 40)),
        "end_error_m": 10.0,
        "position_coverage_3sigma": pytest.approx(
            (2 * 29 + 1) / 90
        ),  # of 30 settled frames; 4, 6 and 8 are outside
        "velocity_coverage_3sigma": 1.0,
        "position_nees": pytest.approx((29 * 25 + 100) / 30 / 3),
        "velocity_nees": pytest.approx(4 / 3),
        "nis": pytest.approx(2.0),
        "network_share": 0.75,
    }


def test_a_speed_that_is_two_per_cent_wrong_drifts_by_two_per_cent() -> None:
    plain = trace(np.zeros((600, 3)), np.zeros((600, 3)), speed=10.0)
    error = 0.02 * plain.true_position
    found = metrics([replace(plain, position=plain.position + error)])
    # The segment ends at the first frame beyond its length, up to a frame's metre later: 1 % of 100 m.
    assert found["t_rel_percent"] == pytest.approx(2.0, abs=0.02)
    assert found["r_rel_deg_per_km"] == 0.0
    assert found["end_error_m"] == pytest.approx(0.02 * 599.0)


def test_a_frame_before_the_filter_has_settled_says_nothing_of_its_bounds() -> None:
    error = np.zeros((40, 3))
    error[:10] = 1e6
    assert metrics([trace(error, error)])["position_nees"] == 0.0
    error[10] = 1e6
    assert metrics([trace(error, error)])["position_nees"] > 1e9


def test_an_error_along_a_direction_the_filter_knows_well_counts_more() -> None:
    c, s = math.cos(0.5), math.sin(0.5)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    covariance = np.tile(turn @ np.diag([100.0, 0.01, 1.0]) @ turn.T, (40, 1, 1))
    found = []
    for direction in turn.T[:2]:
        error = np.tile(direction, (40, 1))
        found.append(metrics([replace(trace(error, error), position_covariance=covariance)])["position_nees"])
    assert found == [pytest.approx(0.01 / 3), pytest.approx(100.0 / 3)]


def test_the_drift_is_that_of_the_benchmark_to_the_last_digit() -> None:
    found = drive(3)
    for setup in (Setup("constant", Constants(), False, None), Setup("tuned", KNOWN, True, None)):
        errors = drift(found, setup.constants)
        got = metrics([dead_reckon(found, setup)])
        assert got["t_rel_percent"] == pytest.approx(errors.t_rel_percent, rel=1e-9)
        assert got["r_rel_deg_per_km"] == pytest.approx(errors.r_rel_deg_per_km, rel=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "dr.onnx", says=2.0, corrections=True)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(drive(1), tmp_path_factory.mktemp("bag"))


def test_the_results_have_the_shape_of_every_report(bag: Path, model: Path) -> None:
    found = evaluate([bag], model)
    assert set(found.results) == {"task", "model", "recordings", "summary"}
    assert found.results["task"] == "dead_reckoning" and found.results["model"] == str(model)
    assert list(found.results["recordings"]) == ["road1"]
    for rows in (found.results["recordings"]["road1"], found.results["summary"]):
        assert tuple(rows) == METHODS == ("constant", "tuned", "network")
        for method, row in rows.items():
            assert set(row) == ALWAYS | DRIFT | ({"network_share"} if method == "network" else set())
            assert all(np.isfinite(value) for value in row.values())
    shares = found.results["summary"]["network"]["network_share"]
    assert 0.8 < shares < 1.0  # the features settle first


def test_all_methods_are_scored_at_the_same_frames_and_only_the_network_says_variances(
    bag: Path, model: Path
) -> None:
    traces = [found[0] for found in evaluate([bag], model).traces["road1"].values()]
    for each in traces:
        np.testing.assert_array_equal(each.stamp, traces[0].stamp)
        np.testing.assert_array_equal(each.true_position, traces[0].true_position)
        np.testing.assert_array_equal(each.position[0], each.true_position[0])
    assert np.diff(traces[0].stamp) == pytest.approx(0.1)
    assert [np.ptp(each.variance[:, 0]) > 0 for each in traces] == [False, False, True]


def test_a_file_that_left_its_corrections_out_is_said_to_and_equals_tuned(bag: Path, tmp_path: Path) -> None:
    found = evaluate([bag], write_model(tmp_path / "dr.onnx", corrections=False))
    assert "network: its training left the corrections out, it says the tuned constants" in found.notes
    rows = found.results["summary"]
    assert rows["network"]["t_rel_percent"] == pytest.approx(rows["tuned"]["t_rel_percent"], abs=1e-4)


def test_what_a_short_drive_has_no_number_for_is_left_out_and_said(model: Path, tmp_path: Path) -> None:
    found = evaluate([write_bag(drive(2, seconds=12.0, speed=4.0), tmp_path)], model)
    for row in found.results["summary"].values():
        assert not DRIFT & set(row) and set(row) >= ALWAYS
    assert "road2: shorter than 100 m, no t_rel" in found.notes
    json.dumps(found.results, allow_nan=False)


def test_every_stretch_between_gaps_starts_anew_from_the_truth(model: Path, tmp_path: Path) -> None:
    whole = drive(4)
    rows = np.r_[0:2000, 2300:6001]
    parted = Drive(whole.name, *(getattr(whole, n)[rows] for n in ("stamp", "gyro", "accel", "R", "position")),
                   whole.velocity[rows], whole.scored[rows])  # fmt: skip
    found = evaluate([write_bag(parted, tmp_path)], model)
    assert "road4: 2 stretches between gaps, each from its true start" in found.notes
    stretches = found.traces["road4"]["tuned"]
    assert [len(trace.stamp) for trace in stretches] == [200, 371]
    for each in stretches:
        np.testing.assert_allclose(each.position[0], each.true_position[0])
    ends = [np.linalg.norm(each.position_error[-1]) for each in stretches]
    assert found.results["summary"]["tuned"]["end_error_m"] == pytest.approx(np.mean(ends))


def test_only_scored_stretches_count_though_the_filter_runs_from_the_first_sample(
    model: Path, tmp_path: Path
) -> None:
    bag = write_bag(drive(1), tmp_path, intervals=[[31.0, 61.0]])
    found = evaluate([bag], model).traces["road1"]["tuned"][0]
    assert found.stamp[0] == pytest.approx(31.0) and len(found.stamp) == 301
    assert np.linalg.norm(found.position_error[0]) > 0.01  # half a minute of drift
    assert len(found.nis) <= 3001


def test_the_summary_pools_segments_and_frames(model: Path, tmp_path: Path) -> None:
    bags = [write_bag(drive(n, seconds), tmp_path) for n, seconds in ((5, 30.0), (6, 60.0))]
    found = evaluate(bags, model)
    for method in METHODS:
        segments = [trace.segments for traces in found.traces.values() for trace in traces[method]]
        share = np.concatenate([each.translation for each in segments])
        assert found.results["summary"][method]["t_rel_percent"] == pytest.approx(100 * share.mean())
        rows = [found.results["recordings"][name][method]["position_rmse_m"] ** 2 for name in found.traces]
        assert found.results["summary"][method]["position_rmse_m"] ** 2 == pytest.approx(
            np.average(rows, weights=[301, 601])
        )


def test_an_imu_of_another_rate_than_the_model_was_trained_at_is_said(model: Path, tmp_path: Path) -> None:
    fast = drive(7, seconds=30.0)
    slow = fast.cut(slice(None, None, 2), "slow")
    notes = evaluate([write_bag(slow, tmp_path)], model).notes
    assert "slow: IMU at 50 Hz, the model was trained at 100 Hz" in notes


def test_what_flies_is_told_from_a_vehicle_by_its_innovations(model: Path, tmp_path: Path) -> None:
    found, flying = drive(10, seconds=30.0), drive(10, seconds=30.0, sway=8.0)
    note = "NIS above 1: it moves as no vehicle does that neither slips nor flies"
    folders = [
        write_bag(each, tmp_path / name) for name, each in (("a", found), ("b", flying), ("c", flying))
    ]
    notes = evaluate(folders, model).notes
    assert f"road10 (2), road10 (3): {note}" in notes


def test_bounds_that_are_too_small_are_said_to_be(tmp_path: Path) -> None:
    sure = KNOWN._replace(
        gyro=1e-12, accel=1e-10, gyro_bias_0=1e-14, accel_bias_0=1e-12, lateral=1e-3, vertical=1e-3
    )
    bag = write_bag(drive(8), tmp_path)
    notes = evaluate([bag], write_model(tmp_path / "dr.onnx", tuned=sure, corrections=False)).notes
    assert [note.split(",")[0] for note in notes[-2:]] == [
        "tuned: bounds too small",
        "network: bounds too small",
    ]


def test_a_bag_of_a_few_seconds_or_without_truth_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="has no stretch of 5 s of IMU with truth"):
        evaluate([write_bag(drive(9, seconds=3.0), tmp_path)], model)
    blind = Recording("blind", "", "")
    found = drive(9, seconds=10.0)
    blind.add_imu("imu/data_raw", found.stamp, found.gyro, found.accel)
    with pytest.raises(BagError, match="has no ground_truth/odometry"):
        evaluate([blind.write(tmp_path)], model)


def test_turning_the_world_turns_the_errors_and_changes_no_bound(model: Path) -> None:
    found = drive(1)
    turn = Rotation.from_euler("z", 1.0).as_matrix()
    other = replace(
        found, R=turn @ found.R, position=found.position @ turn.T, velocity=found.velocity @ turn.T
    )
    setup = Setup("tuned", KNOWN, False, None)
    here, there = (metrics([dead_reckon(each, setup)]) for each in (found, other))
    for name in ("t_rel_percent", "position_rmse_m", "position_nees", "velocity_nees", "nis"):
        assert there[name] == pytest.approx(here[name], rel=1e-6)

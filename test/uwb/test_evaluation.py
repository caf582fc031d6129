"""The evaluation: every method on the same ranges, each in its own closed loop, in the shape reports have."""

from pathlib import Path

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.datasets.recording import Recording, yaw_quaternion
from nn_estimation.shipped import default_model
from nn_estimation.uwb.bias import METHODS
from nn_estimation.uwb.evaluation import RangeEvaluation, evaluate
from nn_estimation.uwb.samples import SampleError, read_recording

MODEL = default_model("uwb_demo.onnx")
RANGE = {"rmse_m", "mae_m", "p95_m", "bias_m", "std_m", "coverage_1sigma", "coverage_2sigma"}
POSITION = {
    "position_rmse_m",
    "position_p95_m",
    "yaw_rmse_deg",
    "position_coverage_1sigma",
    "position_coverage_2sigma",
}


@pytest.fixture(scope="module")
def found(flight: Path) -> RangeEvaluation:
    return evaluate([flight], MODEL)


def cut(bag: Path, out: Path, *topics: str, seconds: float = 1e9, **custom: str) -> Path:
    """A bag of some topics, its first seconds, with other metadata."""
    with BagReader(bag) as reader:
        with BagWriter(out, custom_data={**reader.custom_data, **custom}) as writer:
            for topic, stamp, data in reader.raw(topics or None):
                if stamp * 1e-9 < reader.start + seconds:
                    writer.write(topic, reader.topics[topic], stamp, data)
    return out


def test_the_results_have_the_shape_of_every_report(found: RangeEvaluation) -> None:
    assert set(found.results) == {"task", "model", "recordings", "summary"}
    assert found.results["task"] == "uwb" and found.results["model"] == str(MODEL)
    assert list(found.results["recordings"]) == ["flight"]
    for rows in (found.results["recordings"]["flight"], found.results["summary"]):
        assert tuple(rows) == METHODS == ("raw", "constant", "affine", "ridge", "network")
        for row in rows.values():
            assert set(row) == RANGE | POSITION
            assert all(np.isfinite(value) for value in row.values())
    assert found.notes == []


def test_all_methods_are_scored_on_the_same_ranges_against_the_same_truth(
    found: RangeEvaluation, flight: Path
) -> None:
    samples = read_recording(flight)
    traces = [errors for errors, _ in found.traces["flight"].values()]
    for trace in traces:
        assert len(trace.error) == len(samples)
        for column in ("stamp", "link", "distance"):
            np.testing.assert_array_equal(getattr(trace, column), getattr(traces[0], column))


def test_no_scored_range_is_left_out_and_raw_is_what_was_measured(
    found: RangeEvaluation, flight: Path
) -> None:
    samples = read_recording(flight)
    raw, _ = found.traces["flight"]["raw"]
    np.testing.assert_allclose(raw.error, samples.error, atol=1e-12)
    assert found.results["summary"]["raw"]["rmse_m"] == pytest.approx(np.sqrt(np.mean(samples.error**2)))


def test_each_step_adds_what_the_simulation_put_in(found: RangeEvaluation) -> None:
    row = found.results["summary"]
    assert row["constant"]["rmse_m"] < 0.7 * row["raw"]["rmse_m"]
    assert row["network"]["rmse_m"] < 0.7 * row["affine"]["rmse_m"]
    assert row["network"]["position_rmse_m"] < 0.5 * row["affine"]["position_rmse_m"]
    assert row["network"]["yaw_rmse_deg"] < row["affine"]["yaw_rmse_deg"]


def test_predicted_bounds_hold_on_a_flight_never_seen(found: RangeEvaluation) -> None:
    for method in ("ridge", "network"):
        row = found.results["summary"][method]
        # 7 points is what the project promises; ten seconds hold few independent position errors.
        assert row["coverage_1sigma"] == pytest.approx(0.683, abs=0.07)
        assert row["coverage_2sigma"] == pytest.approx(0.954, abs=0.07)
        assert row["position_coverage_2sigma"] == pytest.approx(0.954, abs=0.07)


def test_a_second_evaluation_gives_the_same_numbers(flight: Path, tmp_path: Path) -> None:
    bag = cut(flight, tmp_path / "flight", seconds=4.0)
    assert evaluate([bag], MODEL).results == evaluate([bag], MODEL).results


def test_the_summary_pools_all_recordings_by_their_ranges(flight: Path, tmp_path: Path) -> None:
    bags = [cut(flight, tmp_path / name / "flight", seconds=s) for name, s in (("a", 4.0), ("b", 6.0))]
    results = evaluate(bags, MODEL, methods=("affine", "network")).results
    assert list(results["recordings"]) == ["flight", "flight (2)"]
    assert list(results["summary"]) == ["affine", "network"]
    sizes = [len(read_recording(bag)) for bag in bags]
    for method in ("affine", "network"):
        squares = [rows[method]["rmse_m"] ** 2 for rows in results["recordings"].values()]
        assert results["summary"][method]["rmse_m"] ** 2 == pytest.approx(np.average(squares, weights=sizes))


def test_where_the_anchors_do_not_locate_the_body_geometry_is_the_true_one(tmp_path: Path) -> None:
    recording = Recording(
        "pair",
        "made up",
        "CC0-1.0",
        "anchors: {a0: {position: [0, 0, 1]}}\ntags: {tag0: {position: [0, 0, 0]}}",
    )
    stamps = 10.0 + np.arange(200) / 20
    position = np.column_stack([np.linspace(2.0, 6.0, 200), np.zeros(200), np.ones(200)])
    recording.add_truth(stamps, position, yaw_quaternion(np.zeros(200)))
    for stamp, distance in zip(stamps, position[:, 0], strict=True):
        recording.add_range("tag0/uwb/range", stamp, "a0", distance + 0.1)
    evaluation = evaluate([recording.write(tmp_path)], MODEL)
    assert evaluation.notes == ["pair: the anchors do not locate the body, geometry from the truth"]
    for row in evaluation.results["summary"].values():
        assert set(row) == RANGE
    assert evaluation.results["summary"]["raw"]["bias_m"] == pytest.approx(0.1)


def test_topics_of_other_names_are_read_through_a_remap(flight: Path, tmp_path: Path) -> None:
    with (
        BagReader(flight) as reader,
        BagWriter(tmp_path / "flight", custom_data=reader.custom_data) as writer,
    ):
        for topic, stamp, data in reader.raw():
            if stamp * 1e-9 < reader.start + 4.0:
                writer.write(f"drone/{topic}", reader.topics[topic], stamp, data)
    with BagReader(tmp_path / "flight") as reader:
        names = [topic for topic in reader.topics if "ground_truth" not in topic]
    remap = {name: name.removeprefix("drone/") for name in names}
    renamed = evaluate([tmp_path / "flight"], MODEL, remap=remap, truth="drone/ground_truth/odometry")
    plain = evaluate([cut(flight, tmp_path / "plain" / "flight", seconds=4.0)], MODEL)
    assert renamed.results == plain.results


def test_a_truth_that_loses_sight_now_and_then_is_left_out_there(flight: Path, tmp_path: Path) -> None:
    with BagReader(flight) as reader:
        with BagWriter(tmp_path / "flight", custom_data=reader.custom_data) as writer:
            for number, (topic, stamp, data) in enumerate(reader.raw()):
                if stamp * 1e-9 > reader.start + 5.0:
                    break
                if topic == "ground_truth/odometry" and number % 5 == 0:
                    lost = cdr.decode_odometry(data)
                    nothing = {"position": np.full(3, np.nan)} if number % 2 else {"quaternion": np.zeros(4)}
                    data = cdr.encode_odometry(lost._replace(**nothing))
                writer.write(topic, reader.topics[topic], stamp, data)
    row = evaluate([tmp_path / "flight"], MODEL, methods=["network"]).results["summary"]["network"]
    assert row["rmse_m"] < 0.07
    assert row["position_rmse_m"] < 0.05


def test_a_bag_without_truth_or_layout_or_ranges_is_refused_with_the_way_out(
    flight: Path, tmp_path: Path
) -> None:
    with BagReader(flight) as reader:
        ranges = [topic for topic in reader.topics if topic.endswith("range")]
    blind = cut(flight, tmp_path / "blind", *ranges, seconds=1.0)
    with pytest.raises(SampleError, match="blind has no truth on ground_truth/odometry: name its topic with"):
        evaluate([blind], MODEL)
    deaf = cut(flight, tmp_path / "deaf", "ground_truth/odometry", seconds=1.0)
    with pytest.raises(SampleError, match="deaf has no ranges of the tags tag0, tag1"):
        evaluate([deaf], MODEL)
    with pytest.raises(BagError, match="no bag at"):
        evaluate([tmp_path / "nothing"], MODEL)

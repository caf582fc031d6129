"""What `nn_estimation evaluate dead_reckoning` says: who won and by how much, and never more than that."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from drive_scene import KNOWN, drive, write_bag, write_model

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.cli import main
from nn_estimation.dead_reckoning.commands import gains, verdict
from nn_estimation.dead_reckoning.evaluation import DriveTrace
from nn_estimation.dead_reckoning.model import load_setups
from nn_estimation.dead_reckoning.replay import replay
from nn_estimation.dead_reckoning.starting import Start
from nn_estimation.dead_reckoning.stream import DeadReckoningStream, StreamParams
from nn_estimation.inference import Model
from nn_estimation.metrics import Reduction

NOTHING = Reduction(0.0, 0.0, 0.0)


def rows(constant: float, tuned: float, network: float) -> dict[str, dict[str, float]]:
    values = {"constant": constant, "tuned": tuned, "network": network}
    return {method: {"t_rel_percent": value} for method, value in values.items()}


@pytest.mark.parametrize(
    ("gain", "t_rel", "sentence"),
    [
        (
            Reduction(22.2, 14.0, 31.0),
            (1.5, 0.9, 0.7),
            "network is 22 % below tuned in t_rel, 0.70 against 0.90 % (95 % interval 14 to 31 %)",
        ),
        (
            Reduction(-22.2, -31.0, -14.0),
            (1.5, 0.9, 1.1),
            "network is 22 % above tuned in t_rel, 1.10 against 0.90 % (95 % interval 14 to 31 %)",
        ),
        (
            Reduction(11.1, -4.0, 20.0),
            (1.5, 0.9, 0.8),
            "network is 11 % below tuned in t_rel, 0.80 against 0.90 % (95 % interval -4 to 20 %, not told apart)",
        ),
        (
            Reduction(5.6, 2.0, 9.0),
            (1.5, 0.9, 0.85),
            "network is 6 % below tuned in t_rel, 0.85 against 0.90 % "
            "(95 % interval 2 to 9 %): less than seeds differ",
        ),
        (
            Reduction(22.2, np.nan, np.nan),
            (1.5, 0.9, 0.7),
            "network is 22 % below tuned in t_rel, 0.70 against 0.90 % (too short for an interval)",
        ),
        (NOTHING, (1.5, 0.9, 0.9), "network equals tuned, t_rel 0.90 %"),
    ],
    ids=["below", "above", "unsure", "seeds", "short", "equal"],
)
def test_the_verdict_says_who_won_by_how_much_and_how_sure(
    gain: Reduction, t_rel: tuple[float, float, float], sentence: str
) -> None:
    assert verdict(gain, rows(*t_rel)) == f"{sentence}; constant has 1.50 %"


def test_drives_too_short_for_a_segment_have_no_winner() -> None:
    assert verdict(None, {}) == "no drive is 100 m long: no t_rel to compare"


def stretch(scale: np.ndarray | float, metres: float = 4000.0) -> DriveTrace:
    """A vehicle at 10 m/s to the east whose distances are too long by a share, of each metre or of all."""
    stamp = 0.1 * np.arange(round(metres) + 1)
    count = len(stamp)
    R = np.tile(np.eye(3), (count, 1, 1))
    step = np.zeros((count, 3))
    step[1:, 0] = 1.0
    truth, none = np.cumsum(step, axis=0), np.zeros((count, 3))
    position = np.cumsum(step * (1.0 + np.broadcast_to(scale, count)[:, None]), axis=0)
    return DriveTrace(
        stamp, R, position, none, R, truth, none, R, R, np.ones((count, 2)), stamp > 1, np.ones(3), 0, 0
    )


def test_half_the_drift_is_fifty_per_cent() -> None:
    found = gains({"a": {"tuned": [stretch(0.02)], "network": [stretch(0.01)]}})
    assert found is not None
    assert (found.percent, found.low, found.high) == pytest.approx((50.0, 50.0, 50.0))


def test_rounding_is_no_gain() -> None:
    found = gains({"a": {"tuned": [stretch(0.02)], "network": [stretch(0.02 - 1e-6)]}})
    assert found == NOTHING


def test_a_gain_on_one_stretch_of_many_is_not_told_from_chance() -> None:
    rng = np.random.default_rng(0)
    tuned, network = (np.repeat(0.01 * rng.standard_normal(41), 100)[:4001] for _ in range(2))
    found = gains({"a": {"tuned": [stretch(tuned)], "network": [stretch(network)]}})
    assert found is not None and found.low < 0.0 < found.high


def test_segments_of_one_stretch_of_road_are_one_observation() -> None:
    found = gains({"a": {"tuned": [stretch(0.02, 700.0)], "network": [stretch(0.01, 700.0)]}})
    assert found is not None and found.percent == pytest.approx(50.0) and np.isnan(found.low)
    # A recording of its own, or a stretch after a gap, is another one.
    for traces in (
        {name: {"tuned": [stretch(0.02, 700.0)], "network": [stretch(0.01, 700.0)]} for name in "ab"},
        {"a": {"tuned": [stretch(0.02, 700.0)] * 2, "network": [stretch(0.01, 700.0)] * 2}},
    ):
        found = gains(traces)
        assert found is not None and found.low == pytest.approx(50.0)


def test_a_vehicle_that_hardly_moves_has_no_gain() -> None:
    assert gains({"a": {"tuned": [stretch(0.02, 90.0)], "network": [stretch(0.01, 90.0)]}}) is None


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_bag(drive(1), tmp_path_factory.mktemp("bag")))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "dr.onnx", says=2.0, corrections=True))


def test_evaluate_prints_the_table_and_writes_the_report(
    bag: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    command = ["evaluate", "dead_reckoning", bag, "--model", model, "--report", str(report), "--quiet"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].split()[:2] == ["recording", "method"] and "t_rel [%]" in lines[0]
    assert [line[11:].split()[0] for line in lines[1:4]] == ["constant", "tuned", "network"]
    assert re.fullmatch(r"network is .* tuned in t_rel, .*; constant has .* %.*index\.html", lines[-1])
    page = (report / "index.html").read_text()
    assert f"evaluate dead_reckoning {bag}" in page and "sha256" in page
    pictures = {path.stem for path in report.glob("*.png")}
    assert pictures == {"path", "by_length", "speed", "error_over_time", "learned"}
    assert page.count("data:image/png") == len(pictures)
    results = json.loads((report / "results.json").read_text())
    assert results["task"] == "dead_reckoning" and set(results["recordings"]) == {"road1"}


def test_a_network_without_anything_of_its_own_gets_no_figure_and_no_gain(
    bag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = str(write_model(tmp_path / "same.onnx", corrections=False))
    command = ["evaluate", "dead_reckoning", bag, "--model", same, "--quiet", "--report", str(tmp_path / "r")]
    assert main([*command, "--require", "0.001"]) == 1
    assert main([*command, "--require", "0"]) == 0
    said = capsys.readouterr().out
    assert "network equals tuned" in said
    assert "note: network: its training left the corrections out" in said
    assert not (tmp_path / "r" / "learned.png").exists()


def test_json_is_all_that_a_machine_reads_and_holds_no_nan(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = str(write_bag(drive(2, seconds=12.0, speed=4.0), tmp_path))
    assert main(["evaluate", "dead_reckoning", short, "--model", model, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "NaN" not in said.out
    assert set(json.loads(said.out)["summary"]) == {"constant", "tuned", "network"}


def test_a_bar_that_is_not_met_is_exit_code_1(
    bag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = KNOWN._replace(mount_yaw=0.05)  # a mount that is not there
    good = str(write_model(tmp_path / "good.onnx", tuned=worse, network=KNOWN, corrections=True))
    command = ["evaluate", "dead_reckoning", bag, "--model", good, "--quiet", "--require"]
    assert main([*command, "20"]) == 0
    assert main([*command, "99.9"]) == 1
    assert "below tuned in t_rel" in capsys.readouterr().out


def test_a_drive_too_short_to_tell_meets_no_bar(model: str, tmp_path: Path) -> None:
    short = str(write_bag(drive(2, seconds=12.0, speed=4.0), tmp_path))
    command = ["evaluate", "dead_reckoning", short, "--model", model, "--quiet"]
    assert main(command) == 0
    assert main([*command, "--require", "-50"]) == 1


def test_anchors_are_not_for_vehicles(bag: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "dead_reckoning", bag, "--model", model, "--anchors", "a.yaml"]) == 2
    assert capsys.readouterr().err == "nn_estimation: --anchors is not for dead_reckoning: leave it out\n"


def poses(bag: str) -> list[cdr.OdometryMessage]:
    with BagReader(bag) as reader:
        return [cdr.decode_odometry(data) for _, _, data in reader.raw(["odometry/dead_reckoning"])]


def test_a_replay_is_configured_by_the_parameter_file_of_the_node(
    bag: str, model: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "node.yaml", str(tmp_path / "out")
    file.write_text(
        "/**:\n  ros__parameters: {start: parameters, start_x: 7.0, start_heading: 90.0, start_speed: 9.0, "
        "imu_yaw: 10.0, antenna_x: 1.0, rejoin_after: 2.0, latitude: 49.0, publish_rate: 20.0, "
        "world_frame: map, child_frame: base_link, use_network: false}\n"
    )
    command = [
        "replay",
        "dead_reckoning",
        bag,
        "--model",
        model,
        "--quiet",
        "--params",
        str(file),
        "--out",
        out,
    ]
    assert main(command) == 0
    params = StreamParams(
        start=Start((7.0, 0.0, 0.0), math.radians(90.0), 9.0),
        latitude=math.radians(49.0),
        publish_rate=20.0,
        mounting=(0.0, 0.0, math.radians(10.0)),
        antenna=(1.0, 0.0, 0.0),
        rejoin_after=2.0,
    )
    stream = DeadReckoningStream(load_setups(Model.load(model))["tuned"], params)
    with BagReader(bag) as reader:
        expected = [found.position for *_, found in replay(reader, stream) if found is not None]
    found = poses(out)
    assert len(found) > 1000 and {(m.frame_id, m.child_frame_id) for m in found} == {("map", "base_link")}
    np.testing.assert_array_equal([message.position for message in found], expected)


def test_without_a_parameter_file_the_topics_of_the_bag_say_how(bag: str, model: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert main(["replay", "dead_reckoning", bag, "--model", model, "--quiet", "--out", out]) == 0
    stream = DeadReckoningStream(load_setups(Model.load(model))["network"], StreamParams("odometry"))
    with BagReader(bag) as reader:
        seen = replay(reader, stream, 0.0, {"ground_truth/odometry": "odometry"})
        expected = [found.position for *_, found in seen if found is not None]
    np.testing.assert_array_equal([message.position for message in poses(out)], expected)


def test_a_parameter_file_that_the_node_would_refuse_is_refused(
    bag: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "node.yaml", tmp_path / "out"
    file.write_text("dead_reckoning_node:\n  ros__parameters: {aiding: gps, antenna: [1.0, 0.0, 0.0]}\n")
    command = ["replay", "dead_reckoning", bag, "--model", model, "--out", str(out), "--params", str(file)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"nn_estimation: {file}: aiding is 'gps': choose one of none, odometry, fix; unknown key "
    )
    assert said.count("\n") == 1 and not out.exists()

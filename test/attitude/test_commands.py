"""What `nn_estimation evaluate attitude` says: who won, by how much and where not, and never more than that."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.commands import gains, verdict, worse
from nn_estimation.attitude.evaluation import AttitudeTrace
from nn_estimation.attitude.model import METHODS, load_setups
from nn_estimation.attitude.replay import replay
from nn_estimation.attitude.stream import AttitudeStream, StreamParams
from nn_estimation.bags import BagReader
from nn_estimation.cli import main
from nn_estimation.inference import Model
from nn_estimation.metrics import Reduction

from .trials import trial, write_bag, write_model


def rows(vqf: tuple[float, float], network: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Inclination and total [deg] of both."""
    names = ("inclination_deg", "total_deg")
    return {"vqf": dict(zip(names, vqf, strict=True)), "network": dict(zip(names, network, strict=True))}


def results(**recordings: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    summary = {
        method: {
            metric: float(np.mean([found[method][metric] for found in recordings.values()]))
            for metric in ("inclination_deg", "total_deg")
        }
        for method in ("vqf", "network")
    }
    return {"recordings": recordings, "summary": summary}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("inclination", "total", "network", "sentence"),
    [
        (
            Reduction(50.0, 41.2, 58.0),
            Reduction(8.0, 2.0, 15.0),
            (0.4, 2.3),
            "network is 50 % below vqf in inclination, 0.40 against 0.80 deg (95 % interval 41 to 58 %) "
            "and 8 % below in total, 2.30 against 2.50 deg (95 % interval 2 to 15 %)",
        ),
        (
            Reduction(-25.0, -30.0, -20.0),
            Reduction(-4.0, -9.0, 0.2),
            (1.0, 2.6),
            "network is 25 % above vqf in inclination, 1.00 against 0.80 deg (95 % interval 20 to 30 %) "
            "and 4 % above in total, 2.60 against 2.50 deg (95 % interval 0 to 9 %, not told apart)",
        ),
        (
            Reduction(50.0, np.nan, np.nan),
            Reduction(8.0, np.nan, np.nan),
            (0.4, 2.3),
            "network is 50 % below vqf in inclination, 0.40 against 0.80 deg (too short for an interval) "
            "and 8 % below in total, 2.30 against 2.50 deg (too short for an interval)",
        ),
    ],
    ids=["below", "above", "short"],
)
def test_the_verdict_says_who_won_by_how_much_and_how_sure(
    inclination: Reduction, total: Reduction, network: tuple[float, float], sentence: str
) -> None:
    found = results(one=rows((0.8, 2.5), network))
    assert verdict({"inclination": inclination, "total": total}, found) == sentence


def test_the_verdict_names_the_trial_on_which_the_network_does_worst_against_vqf() -> None:
    found = results(slow=rows((0.8, 2.0), (0.4, 1.0)), fast=rows((0.2, 1.0), (0.21, 1.04)))
    none = Reduction(0.0, 0.0, 0.0)
    said = verdict({"inclination": none, "total": none}, found)
    assert said.endswith("; at worst, on fast, 4 % above in total and 5 % above in inclination")


def test_every_trial_that_got_worse_is_named() -> None:
    found = results(
        a=rows((1.0, 2.0), (0.9, 2.1)), b=rows((1.0, 2.0), (1.2, 2.004)), c=rows((1.0, 2.0), (0.5, 2.2))
    )
    assert worse(found["recordings"]) == [
        "network is above vqf in inclination on b (20.0 %)",
        "network is above vqf in total on a (5.0 %), c (10.0 %)",
    ]
    assert worse(results(a=rows((1.0, 2.0), (1.0, 2.0)))["recordings"]) == []


def trace(degrees: np.ndarray, rate: float = 10.0) -> AttitudeTrace:
    """A level sensor whose estimate leans to the north by (K,) [deg]."""
    stamp = 1000.0 + np.arange(len(degrees)) / rate
    estimate = Rotation.from_euler("x", np.asarray(degrees)[:, None], degrees=True).as_quat()
    return AttitudeTrace(stamp, estimate, np.tile([0.0, 0.0, 0.0, 1.0], (len(degrees), 1)))


def test_half_the_lean_is_fifty_per_cent_in_inclination_and_in_total() -> None:
    found = gains({"a": {"vqf": trace(np.full(2000, 2.0)), "network": trace(np.full(2000, 1.0))}})
    for kind in ("inclination", "total"):
        assert (found[kind].percent, found[kind].low, found[kind].high) == pytest.approx(
            (50, 50, 50), abs=1e-6
        )


def test_errors_that_last_twenty_seconds_are_one_observation() -> None:
    rng = np.random.default_rng(0)
    vqf, network = (np.repeat(1.0 + 0.3 * rng.standard_normal(9), 200) for _ in range(2))
    lasting = gains({"a": {"vqf": trace(vqf), "network": trace(network)}})["total"]
    order = rng.permutation(len(vqf))
    passing = gains({"a": {"vqf": trace(vqf[order]), "network": trace(network[order])}})["total"]
    assert lasting.percent == pytest.approx(passing.percent)
    assert lasting.high - lasting.low > 5.0 * (passing.high - passing.low)


def test_a_gain_on_one_trial_of_many_is_not_told_from_chance() -> None:
    traces = {
        name: {"vqf": trace(np.full(600, 1.0)), "network": trace(np.full(600, 0.2 if name == "a" else 1.02))}
        for name in "abcdefg"
    }
    found = gains(traces)["total"]
    assert found.percent == pytest.approx(100 * (0.8 - 6 * 0.02) / 7)
    assert found.low < 0.0 < found.high


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("bags")
    return [str(write_bag(trial(f"hand{seed}", seed, 12.0, magnet=1e-5), folder)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "attitude.onnx"))


def test_evaluate_prints_the_table_and_writes_the_report(
    bags: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert main(["evaluate", "attitude", *bags, "--model", model, "--report", str(report), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].split()[:3] == ["recording", "method", "total"] and "inclination" in lines[0]
    for method in METHODS:
        assert sum(line[11:].startswith(f"{method} ") for line in lines) == 3  # both and all
    assert re.fullmatch(
        r"network is .* vqf in inclination, .*; at worst, on hand[12], .*index\.html", lines[-1]
    )
    page = (report / "index.html").read_text()
    assert f"evaluate attitude {bags[0]}" in page and "sha256" in page and "vqf 2." in page
    pictures = {path.stem for path in report.glob("*.png")}
    assert pictures == {"error_over_time", "boxes", "by_recording", "coverage"}
    assert page.count("data:image/png") == len(pictures)
    results = json.loads((report / "results.json").read_text())
    assert results["task"] == "attitude" and set(results["recordings"]) == {"hand1", "hand2"}


def test_one_recording_is_not_compared_with_others(
    bags: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "attitude", bags[0], "--model", model, "--quiet", "--report", str(tmp_path)]
    assert main(command) == 0
    assert "at worst" not in capsys.readouterr().out
    assert not (tmp_path / "by_recording.png").exists()


def test_json_is_all_that_a_machine_reads(
    bags: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "attitude", bags[0], "--model", model, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and set(json.loads(said.out)["summary"]) >= set(METHODS)


def test_a_bar_that_is_not_met_is_exit_code_1(
    bags: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "attitude", bags[0], "--model", model]
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["summary"]
    gain = 100.0 * (1.0 - rows["network"]["inclination_deg"] / rows["vqf"]["inclination_deg"])
    assert main([*command, "--quiet", f"--require={gain - 0.1}"]) == 0
    assert main([*command, "--quiet", f"--require={gain + 0.1}"]) == 1


def test_replay_writes_what_the_node_would_have_published(
    bags: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["replay", "attitude", bags[0], "--model", model, "--out", out]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ +\d+  imu/data$", said, re.M) and f"{bags[0]} and its attitude are in {out}" in said
    with BagReader(out) as bag:
        assert 1100 < bag.counts["imu/data"] <= bag.counts["imu/data_raw"] == 1200
    assert main(["replay", "attitude", bags[0], "--model", model, "--out", out]) == 2
    assert "exists already" in capsys.readouterr().err


def quaternions(bag: str) -> np.ndarray:
    with BagReader(bag) as reader:
        return np.array([cdr.decode_imu(data).orientation for _, _, data in reader.raw(["imu/data"])])


def test_a_replay_is_configured_by_the_parameter_file_of_the_node(
    bags: list[str], model: str, tmp_path: Path
) -> None:
    file, out, again = tmp_path / "node.yaml", str(tmp_path / "out"), str(tmp_path / "again")
    file.write_text(
        "/**/attitude_node:\n  ros__parameters: {world_frame: ned, imu_yaw: 90.0, declination: 4.0, "
        "child_frame: base_link, publish_rpy: true, use_network: false}\n"
    )
    command = ["replay", "attitude", bags[0], "--model", model, "--quiet", "--params", str(file)]
    assert main([*command, "--out", out]) == 0
    assert main([*command, "--out", again, "--method", "vqf"]) == 0  # wins over use_network
    params = StreamParams("ned", math.radians(4.0), (0.0, 0.0, math.radians(90.0)))
    for method, bag in (("filter", out), ("vqf", again)):
        stream = AttitudeStream(load_setups(Model.load(model))[method], params)
        with BagReader(bags[0]) as reader:
            expected = [found.quaternion for *_, found in replay(reader, stream) if found is not None]
        np.testing.assert_array_equal(quaternions(bag), expected)
    with BagReader(out) as reader:
        assert reader.counts["imu/rpy"] == reader.counts["imu/data"]
        assert {cdr.decode_imu(data).frame_id for _, _, data in reader.raw(["imu/data"])} == {"base_link"}


def test_a_parameter_file_that_the_node_would_refuse_is_refused(
    bags: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "node.yaml", tmp_path / "out"
    file.write_text("attitude_node:\n  ros__parameters: {imu_yaw: 90, world_fame: ned}\n")
    command = ["replay", "attitude", bags[0], "--model", model, "--out", str(out), "--params", str(file)]
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"nn_estimation: {file}: imu_yaw is 90: write 90.0, it must be a float; "
        "unknown key 'world_fame', the nearest known one is 'world_frame'\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "--anchors", "a.yaml"], "--anchors is not for attitude: leave it out"),
        (["replay", "--out", "o", "--aid-for", "3"], "--aid-for is not for attitude: leave it out"),
        (
            ["replay", "--out", "o", "--method", "tuned"],
            "--method tuned is not of attitude: choose one of vqf, vqf_latency, filter, network",
        ),
    ],
)
def test_what_is_not_for_attitude_is_refused(
    command: list[str], message: str, bags: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], "attitude", bags[0], "--model", model, *command[1:]]) == 2
    assert capsys.readouterr().err == f"nn_estimation: {message}\n"


def test_a_training_goes_through_at_once_and_is_not_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "attitude", "bag", "--out", "x.onnx", "--resume"]) == 2
    assert capsys.readouterr().err == "nn_estimation: --resume is not for attitude: leave it out\n"

"""The command line: what it prints, where, and with which exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_models import write_model

from nn_estimation import __version__, cdr
from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.cli import SETS, _parser, main
from nn_estimation.datasets import registry
from nn_estimation.shipped import default_model

MODEL = str(default_model("uwb_demo.onnx"))
COMMANDS = ("import", "train", "evaluate", "replay", "info", "bench", "demo", "play", "record")


@pytest.fixture(scope="module")
def short(flight: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four seconds of flight."""
    out = tmp_path_factory.mktemp("short") / "flight"
    with BagReader(flight) as reader, BagWriter(out, custom_data=reader.custom_data) as writer:
        for topic, stamp, data in reader.raw():
            if stamp * 1e-9 < reader.start + 4.0:
                writer.write(topic, reader.topics[topic], stamp, data)
    return str(out)


def test_help_fits_a_screen_and_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80
    assert re.findall(r"^    (\w+) ", text, re.M) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: nn_estimation {command}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"nn_estimation {__version__}"


def test_no_command_is_used_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def foreign(folder: Path) -> str:
    return str(write_model(folder / "foreign.onnx", task="attitude"))


def empty(folder: Path) -> str:
    with BagWriter(folder / "empty"):
        pass
    return str(folder / "empty")


def text(folder: Path, name: str = "notes.txt") -> str:
    (folder / name).write_text("no bag, no model, no data set\n")
    return str(folder / name)


WRONG = {
    "missing bag": (lambda d: ["evaluate", "uwb", d / "none", "--model", MODEL], r"no bag at .*none"),
    "no bag": (lambda d: ["evaluate", "uwb", text(d), "--model", MODEL], r"notes\.txt is no bag: expected"),
    "empty bag": (lambda d: ["evaluate", "uwb", empty(d), "--model", MODEL], r"empty carries no layout"),
    "missing model": (lambda d: ["evaluate", "uwb", d, "--model", d / "x.onnx"], r"x\.onnx cannot be read"),
    "no model": (lambda d: ["evaluate", "uwb", d, "--model", text(d, "x.onnx")], r"x\.onnx .*ONNX"),
    "other model": (
        lambda d: ["replay", "uwb", empty(d), "--model", foreign(d), "--out", d / "o", "--anchors", rooms(d)],
        r"foreign\.onnx is a model for the task attitude",
    ),
    "no layout": (
        lambda d: ["replay", "uwb", empty(d), "--model", MODEL, "--out", d / "out"],
        r"empty carries no layout of anchors and tags: give it with --anchors FILE",
    ),
    "unknown anchors": (
        lambda d: ["replay", "uwb", empty(d), "--model", MODEL, "--out", d / "o", "--anchors", d / "a.yaml"],
        r"cannot read .*a\.yaml",
    ),
    "no parameter file": (
        lambda d: ["replay", "uwb", empty(d), "--model", MODEL, "--out", d / "o", "--params", d / "p.yaml"],
        r"p\.yaml cannot be read as YAML",
    ),
    "record with no anchors": (
        lambda d: ["record", d / "out", "uwb/range", "--anchors", d / "a.yaml"],
        r"cannot read .*a\.yaml",
    ),
    "info of nothing": (lambda d: ["info", d / "none"], r"no bag at .*none"),
    "info of a text": (lambda d: ["info", text(d)], r"notes\.txt is no bag"),
    "info of no model": (lambda d: ["info", text(d, "x.onnx")], r"x\.onnx .*ONNX"),
    "missing source": (lambda d: ["import", "lias", d / "none", "--out", d / "out"], r"none is not a folder"),
    "missing config": (
        lambda d: ["train", "uwb", d, "--out", d / "x.onnx", "--config", d / "c.yaml"],
        r"c\.yaml",
    ),
}


def rooms(folder: Path) -> str:
    (folder / "room.yaml").write_text(
        "anchors: {a0: {position: [0, 0, 2]}}\ntags: {tag: {position: [0, 0, 0]}}"
    )
    return str(folder / "room.yaml")


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said_in_one_line_on_stderr(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if case == "missing config":
        pytest.importorskip("torch")
    arguments, message = WRONG[case]
    assert main([str(a) for a in arguments(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith(("reading ", "localizing "))]
    assert len(lines) == 1 and lines[0].startswith("nn_estimation: ")
    assert re.search(message, lines[0]), lines[0]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_another_set_is_told_what_it_should_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "util", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"nn_estimation: no recording of util in {tmp_path} matches *")
    assert "TEST_pose.txt" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "uwb", "bag"], "--model"),
        (["evaluate", "juggling", "bag", "--model", "x"], "invalid choice: 'juggling'"),
        (["import", "moon", "src", "--out", "x"], "invalid choice: 'moon'"),
        (
            ["replay", "uwb", "bag", "--model", "x", "--out", "y", "--remap", "a=b"],
            "'a=b': expected from:=to",
        ),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_arguments_that_do_not_exist_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_process_ends_with_the_code_and_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nn_estimation.cli", "info", str(tmp_path / "none.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a closed pipe is a signal only on POSIX")
def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    command = f"{sys.executable} -m nn_estimation.cli info {MODEL} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and done.stdout.startswith(MODEL)


def test_a_public_recording_is_imported_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "LOS" / "height_75.0cm"
    folder.mkdir(parents=True)
    rows = "\n".join(f"{1000 + 0.1 * i},10.1,-80,-82,12" for i in range(20))
    (folder / "10m.csv").write_text("timestamp,Distance,RSSI(dBm),RSSI_fp(dBm),anchor_id\n" + rows)
    assert main(["import", "hanyang", str(tmp_path), "--out", str(tmp_path / "bags")]) == 0
    bag = tmp_path / "bags" / "height_75.0cm"
    assert capsys.readouterr().out == f"height_75.0cm -> {bag}\n"
    assert main(["info", str(bag)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{bag}: mcap, 2.0 s\n")
    for part in ("20  uwb/range  sensor_msgs/msg/Range", "licence:\n  Apache-2.0", "anchors:"):
        assert part in shown


def test_what_was_imported_once_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_a_public_recording_is_imported_and_shown(tmp_path, capsys)
    assert main(["import", "hanyang", str(tmp_path), "--out", str(tmp_path / "bags")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_evaluate_prints_the_table_and_writes_the_report(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert main(["evaluate", "uwb", short, "--model", MODEL, "--report", str(report), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith("recording  method")
    assert [line[11:].split()[0] for line in lines[1:6]] == ["raw", "constant", "affine", "ridge", "network"]
    assert re.fullmatch(r"network is \d+ % below affine in range RMSE \(.*\) · .*index\.html", lines[-1])
    page = (report / "index.html").read_text()
    assert f"evaluate uwb {short}" in page and "sha256" in page
    pictures = {path.stem for path in report.glob("*.png")}
    assert len(pictures) >= 3 and page.count("data:image/png") == len(pictures)
    results = json.loads((report / "results.json").read_text())
    assert results["task"] == "uwb" and set(results["recordings"]) == {"flight"}


def test_json_is_all_that_a_machine_reads(short: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "uwb", short, "--model", MODEL, "--json"]) == 0
    said = capsys.readouterr()
    results = json.loads(said.out)
    assert said.err == "" and set(results["summary"]) == {"raw", "constant", "affine", "ridge", "network"}


def test_a_bar_that_is_not_met_is_exit_code_1(short: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "uwb", short, "--model", MODEL, "--quiet", "--require"]
    assert main([*command, "20"]) == 0
    assert main([*command, "99"]) == 1
    assert "network is" in capsys.readouterr().out


def test_a_replayed_bag_is_shown_and_evaluated_like_any(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "flight")
    assert main(["replay", "uwb", short, "--model", MODEL, "--out", out]) == 0
    assert re.search(r"\d+  tag0/uwb/range_corrected\n", capsys.readouterr().out)
    assert main(["info", out]) == 0
    assert "tag1/uwb/range_corrected  sensor_msgs/msg/Range" in capsys.readouterr().out
    found = []
    for bag in (short, out):
        assert main(["evaluate", "uwb", bag, "--model", MODEL, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["summary"])
    assert found[0] == found[1]
    assert main(["replay", "uwb", short, "--model", MODEL, "--out", out]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_bag_without_a_layout_takes_the_anchors_beside_it(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, anchors = str(tmp_path / "flight"), str(tmp_path / "anchors.yaml")
    with BagReader(short) as reader:
        custom = reader.custom_data
        Path(anchors).write_text(custom.pop("layout"))
        with BagWriter(own, custom_data=custom) as writer:
            for topic, stamp, data in reader.raw():
                writer.write(topic, reader.topics[topic], stamp, data)
    out = str(tmp_path / "out" / "flight")
    assert main(["replay", "uwb", own, "--model", MODEL, "--out", out, "--anchors", anchors]) == 0
    capsys.readouterr()
    found = []
    for bag in ([short], [own, "--anchors", anchors], [out]):  # the replayed one carries the layout used
        assert main(["evaluate", "uwb", *bag, "--model", MODEL, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["summary"])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["uwb_bias.onnx", "uwb_demo.onnx"])
def test_info_shows_what_a_shipped_model_wants_and_how_good_it_was(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(default_model(name))]) == 0
    shown = capsys.readouterr().out
    assert "uwb_bias, contract version" in shown and re.search(r"^sha256    [0-9a-f]{64}$", shown, re.M)
    for line in (
        r"^command   nn_estimation train uwb",
        r"^distance +\d",
        r"^network +0\.\d{4} +0\.\d{4} +0\.\d{4}$",
    ):
        assert re.search(line, shown, re.M), line


def test_all_sets_of_the_house_can_be_imported() -> None:
    assert set(SETS) == set(registry.SETS)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("rclpy", ["play", "bag"], r"rclpy is not .* 'nn_estimation\[ros\]', or source a ROS 2"),
        (
            "torch",
            ["train", "uwb", "bag", "--out", "x.onnx"],
            r"is not installed: pip install 'nn_estimation\[train\]'",
        ),
        ("onnxruntime", ["info", MODEL], r"onnxruntime is not .* 'nn_estimation\[cpu\]'"),
    ],
)
def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(
    module: str, arguments: list[str], message: str
) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; "
        f"from nn_estimation.cli import main; sys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr


@pytest.mark.parametrize("task", ["uwb", "dead_reckoning", "attitude"])
def test_a_truth_of_another_type_is_named(
    task: str, short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = cdr.encode_pose(cdr.PoseMessage(1, "map", np.zeros(3), np.array([0.0, 0, 0, 1])))
    with BagReader(short) as reader, BagWriter(tmp_path / "bag", custom_data=reader.custom_data) as writer:
        for topic, stamp, data in reader.raw():
            writer.write(topic, reader.topics[topic], stamp, data)
        writer.write("mocap/pose", cdr.POSE, stamp, truth)
    model = {"uwb": MODEL}.get(task) or str(default_model(f"{task}.onnx"))
    assert main(["evaluate", task, str(tmp_path / "bag"), "--model", model, "--truth", "mocap/pose"]) == 2
    said = capsys.readouterr().err
    assert (
        "mocap/pose of" in said
        and "is geometry_msgs/msg/PoseStamped, nav_msgs/msg/Odometry is needed" in said
    )


def test_a_replay_refuses_a_topic_of_another_type(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remap = ["--remap", "ground_truth/odometry:=imu/mag"]
    out, model = tmp_path / "out", str(default_model("attitude.onnx"))
    assert main(["replay", "attitude", short, "--model", model, "--out", str(out), *remap]) == 2
    assert "is nav_msgs/msg/Odometry, sensor_msgs/msg/MagneticField is needed" in capsys.readouterr().err
    assert not out.exists()


def test_the_table_is_printed_before_a_report_that_cannot_be_written(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr("nn_estimation.report.write", fail)
    assert main(["evaluate", "uwb", short, "--model", MODEL, "--report", str(tmp_path / "report")]) == 2
    said = capsys.readouterr()
    assert "network is" in said.out and "recording" in said.out
    assert "disk is full" in said.err


def test_an_option_for_topics_may_be_given_again() -> None:
    given = [
        "play",
        "bag",
        "--remap",
        "a:=b",
        "c:=d",
        "--remap",
        "e:=f",
        "--topics",
        "x",
        "--topics",
        "y",
        "z",
    ]
    args = _parser().parse_args(given)
    assert args.remap == [("a", "b"), ("c", "d"), ("e", "f")] and args.topics == ["x", "y", "z"]
    replay = ["replay", "uwb", "bag", "--model", "m", "--out", "o", "--remap", "a:=b", "--remap", "c:=d"]
    assert _parser().parse_args(replay).remap == [("a", "b"), ("c", "d")]
    assert _parser().parse_args(["play", "bag"]).topics is None


@pytest.mark.parametrize("text", ["-3", "nan", "soon"])
def test_a_time_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    replay = ["replay", "dead_reckoning", "bag", "--model", "m", "--out", "o", f"--aid-for={text}"]
    with pytest.raises(SystemExit) as end:
        main(replay)
    assert end.value.code == 2 and f"{text!r}" in capsys.readouterr().err

"""The demo as a newcomer runs it, and what it says when a part of it fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from nn_estimation.cli import DEMOS
from nn_estimation.demo import DemoError, Outcome, Show, run


@pytest.mark.parametrize("task", DEMOS)
def test_the_demo_ends_with_a_page_that_links_its_report(task: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nn_estimation.cli", "demo", task, "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240.0)
    assert done.returncode == 0, done.stdout + done.stderr
    index = tmp_path / "report" / "index.html"
    [link] = re.findall(r'href="([^"]+)"', index.read_text())
    page = (index.parent / link).resolve()
    assert page == tmp_path / task / "report" / "index.html"
    said = re.search(r"live over DDS: (\d+) of (\d+) ", page.read_text())
    assert said is not None and 0 < int(said[1]) <= int(said[2])
    methods = json.loads((page.parent / "results.json").read_text())["summary"]
    assert "network" in methods and {"constant", "vqf"} & set(methods)


def show(folder: Path, nodes: dict[str, list[str]]) -> Show:
    outcome = Outcome(folder / "page.html", (), True)
    return Show("drive", "A drive", folder / "bag", nodes, ["nothing"], [], [], 1.0, lambda _: outcome)


def test_a_node_that_dies_is_named_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # put back afterwards
    broken = show(tmp_path, {"broken_node": ["nn_estimation.no_such"]})
    with pytest.raises(
        DemoError, match=r"broken_node ended with code 1:\n.*No module named nn_estimation.no_such"
    ):
        run([lambda folder, say: broken], tmp_path)

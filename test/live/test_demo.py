"""The demo as a newcomer runs it, and what it says when a part of it fails."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

import nn_estimation.demo
from nn_estimation.cli import DEMOS, main
from nn_estimation.demo import DemoError, Outcome, Show, run
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of the demo after it ran, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "nn_estimation.cli", "demo", "--directory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300.0)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_demo_ends_with_a_page_that_links_the_report_of_each_show(demo: tuple[Path, str]) -> None:
    index = demo[0] / "report" / "index.html"
    links = re.findall(r'href="([^"]+)"', index.read_text())
    pages = [(index.parent / link).resolve() for link in links]
    assert pages == [demo[0] / task / "report" / "index.html" for task in DEMOS]


@pytest.mark.parametrize("task", DEMOS)
def test_a_show_says_how_many_live_messages_came_and_compares_the_methods(
    task: str, demo: tuple[Path, str]
) -> None:
    page = demo[0] / task / "report" / "index.html"
    said = re.search(r"live over DDS: (\d+) of (\d+) ", page.read_text())
    assert said is not None and 0 < int(said[1]) <= int(said[2])
    methods = json.loads((page.parent / "results.json").read_text())["summary"]
    assert "network" in methods and {"constant", "vqf"} & set(methods)


def test_shows_are_told_in_their_order_however_long_each_takes(demo: tuple[Path, str]) -> None:
    for line in (
        r" s\] starting .*_node",
        r" s\] playing .* over DDS",
        r"^live over DDS: ",
        r"report/index\.html",
    ):
        found = [told for told in demo[1].splitlines() if re.search(line, told)]
        assert len(found) in (len(DEMOS), len(DEMOS) + 1), demo[1]
    pages = [demo[1].index(str(Path(task) / "report" / "index.html")) for task in DEMOS]
    assert pages == sorted(pages)


@pytest.mark.parametrize("task", [None, *DEMOS])
def test_one_show_can_be_asked_for(task: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(makers: Sequence[Callable[..., Show]], directory: str) -> int:
        asked.extend(maker.__module__ for maker in makers)
        return 0

    monkeypatch.setattr(nn_estimation.demo, "run", note)
    assert main(["demo", *([task] if task else [])]) == 0
    assert asked == [f"nn_estimation.{name}.demo" for name in ([task] if task else DEMOS)]


def show(folder: Path, nodes: dict[str, list[str]]) -> Show:
    outcome = Outcome(folder / "page.html", "", (), True)
    return Show("drive", "A drive", folder / "bag", nodes, [], ["clock"], ["clock"], 1.0, lambda _: outcome)


def test_a_node_that_dies_is_named_with_what_it_said(tmp_path: Path) -> None:
    broken = show(tmp_path, {"broken_node": ["nn_estimation.no_such"]})
    with pytest.raises(
        DemoError, match=r"drive: broken_node ended with code 1:\n.*No module named nn_estimation.no_such"
    ):
        run([lambda folder, say: broken], tmp_path)


def test_a_bag_that_cannot_be_played_is_named_with_its_show(tmp_path: Path) -> None:
    flight = simulate_flight(SimulationParams(seed=5, duration=1.0), tmp_path / "flight")
    clocked = show(tmp_path, {"driver": ["nn_estimation.ros.player", str(flight), "--loop"]})
    with pytest.raises(DemoError, match=rf"drive: player ended with code 2:\n.*{clocked.bag}"):
        run([lambda folder, say: clocked], tmp_path)

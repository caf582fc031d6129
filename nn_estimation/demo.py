"""The demo: simulated recordings, the real nodes, the bags over DDS, before and after."""

from __future__ import annotations

import html
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nn_estimation.report import page
from nn_estimation.ros.domain import own_network

READY = 120.0  # [s] at most until the nodes listen; the first start compiles the filters
QUIET = 1.0  # [s] without a message after which a recording is over
STOP = 30.0  # [s] at most until a process ends
DEPTH = 10_000  # messages that wait for a node

Say = Callable[[str], None]


class DemoError(RuntimeError):
    """A part of the demo that did not do what it should; the message holds its output."""


@dataclass(frozen=True)
class Outcome:
    """What came of a show."""

    page: Path  # of its report
    table: str  # of the methods
    lines: tuple[str, ...]  # what it says in a few words
    met: bool  # whether the live nodes did what they should


@dataclass(frozen=True)
class Show:
    """What a wing brings to the demo."""

    name: str  # of its folder
    title: str
    bag: Path  # simulated
    nodes: Mapping[str, Sequence[str]]  # name -> module and its arguments
    listens: Sequence[str]  # topics with a subscriber once the nodes are ready
    played: Sequence[str]  # topics of the bag
    recorded: Sequence[str]  # topics of the nodes
    rate: float  # of the player, times real time
    judge: Callable[[Path], Outcome]  # of the bag that was recorded; runs in a process of its own


def node_arguments(played: Sequence[str], *parameters: str) -> list[str]:
    """Arguments of a node of the demo.

    Args:
        played: topics that it may subscribe to.
        parameters: `name:=value`.
    """
    # Sensor data is best effort; here all that is played is to be heard, on a busy machine too.
    heard = [
        f"qos_overrides./{topic}.subscription.{policy}"
        for topic in played
        for policy in ("reliability:=reliable", f"depth:={DEPTH}")
    ]
    return ["--ros-args", "--log-level", "warn", *(a for p in (*parameters, *heard) for a in ("-p", p))]


def run(makers: Sequence[Callable[[Path, Say], Show]], directory: str | Path = "demo") -> int:
    """Simulate, play to the live nodes, compare, write the reports; all shows at the same time.

    Args:
        makers: of the shows; each gets its folder, and what to say things with.
        directory: gets a folder with bag and report for each show, and report/index.html.

    Returns:
        0, or 1 where a live node did not do what it should.

    Raises:
        DemoError: a process that failed.
    """
    begin, directory = time.monotonic(), Path(directory)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:5.1f} s] {text}", flush=True)

    shows = [maker(directory, say) for maker in makers]
    _perform(shows, directory, say)
    say("comparing the methods")
    outcomes = _judge(shows, directory)
    index = _index(shows, outcomes, directory / "report")
    print(f"\n{index}")
    say("done")
    return 0 if all(outcome.met for outcome in outcomes) else 1


def _perform(shows: Sequence[Show], directory: Path, say: Say) -> None:
    """Play the bags to the live nodes, which a recorder hears, and stop all of them."""
    stages: list[_Stage] = []
    try:
        for show in shows:
            say(f"starting {', '.join(show.nodes)} and a recorder")
            stages.append(_Stage(show, directory / show.name / "live"))
        for stage in stages:
            _wait("listeners", stages, stage)
            stage.play()
            say(f"playing {stage.show.title} over DDS")
        for stage in stages:
            _wait("player", stages, stage)
        for stage in stages:
            stage.lasting["recorder"].send_signal(signal.SIGINT)  # it goes on until all is quiet
        for stage in stages:
            stage.lasting["recorder"].wait(STOP)
    finally:
        for stage in stages:
            stage.interrupt()
        for stage in stages:
            stage.stop()


class _Stage:
    """The processes of a show, on a network of their own."""

    def __init__(self, show: Show, live: Path) -> None:
        self.show, self._environment = show, own_network()
        shutil.rmtree(live, ignore_errors=True)
        self.passing: dict[str, subprocess.Popen[str]] = {}  # those that end by themselves
        self.lasting = {name: self._start(*command) for name, command in show.nodes.items()}
        given = [str(live), *show.recorded, "--quiet", str(QUIET)]
        self.lasting["recorder"] = self._start("nn_estimation.ros.recorder", *given)
        awaited = [*show.listens, *show.recorded, "--timeout", str(READY)]
        self.passing["listeners"] = self._start("nn_estimation.ros.listeners", *awaited)

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops its processes in order
        )

    def play(self) -> None:
        show = self.show
        arguments = [str(show.bag), "--no-clock", "--rate", str(show.rate), "--topics", *show.played]
        heard = [topic for topic in show.listens if topic in show.played]
        self.passing["player"] = self._start("nn_estimation.ros.player", *arguments, "--wait-for", *heard)

    def check(self) -> None:
        """Raise DemoError if a process is gone that should be there."""
        for name, process in self.lasting.items():
            if process.poll() is not None:
                raise self.failed(name, process)

    def failed(self, name: str, process: subprocess.Popen[str]) -> DemoError:
        assert process.stdout is not None
        output = process.stdout.read()
        return DemoError(f"{self.show.name}: {name} ended with code {process.returncode}:\n{output}")

    def interrupt(self) -> None:
        for process in (*self.passing.values(), *self.lasting.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        for process in (*self.passing.values(), *self.lasting.values()):
            try:
                process.communicate(timeout=STOP)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(name: str, stages: Sequence[_Stage], stage: _Stage) -> None:
    """Wait for the end of a process, while nodes and recorders of all shows must not end."""
    process, show = stage.passing[name], stage.show
    while process.poll() is None:
        for each in stages:
            each.check()
        time.sleep(0.05)
    if process.returncode and name == "listeners":
        topics = ", ".join([*show.listens, *show.recorded])
        raise DemoError(f"{show.name}: nobody subscribed to one of {topics} within {READY:.0f} s")
    if process.returncode:
        raise stage.failed(name, process)


def _judge(shows: Sequence[Show], directory: Path) -> list[Outcome]:
    """Judge all shows at the same time; say what came of each, in order."""
    outcomes = []
    # A fork has the modules already, whose import takes seconds.
    with ProcessPoolExecutor(len(shows), multiprocessing.get_context("fork")) as pool:
        for outcome in pool.map(_outcome, shows, [directory / show.name / "live" for show in shows]):
            print("\n".join(["", outcome.table, "", *outcome.lines, str(outcome.page)]), flush=True)
            outcomes.append(outcome)
    return outcomes


def _outcome(show: Show, live: Path) -> Outcome:
    return show.judge(live)


def _index(shows: Sequence[Show], outcomes: Sequence[Outcome], directory: Path) -> Path:
    """The page that links the reports."""
    parts = ["<h1>Before and after</h1>"]
    for show, outcome in zip(shows, outcomes, strict=True):
        link = os.path.relpath(outcome.page, directory)
        parts.append(f'<h2><a href="{html.escape(link)}">{html.escape(show.title)}</a></h2>')
        parts += [f"<p>{html.escape(line)}</p>" for line in outcome.lines]
    directory.mkdir(parents=True, exist_ok=True)
    index = directory / "index.html"
    index.write_text(page("nn_estimation demo", parts))
    return index

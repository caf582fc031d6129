"""The demo: simulated recordings, the real nodes, the bags over DDS, before and after."""

from __future__ import annotations

import html
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nn_estimation.report import page
from nn_estimation.ros.player import play

READY = 60.0  # [s] at most until the nodes listen; the first start compiles the filters
SETTLE = 0.5  # [s] until the last message is recorded

Say = Callable[[str], None]
Processes = dict[str, subprocess.Popen[str]]


class DemoError(RuntimeError):
    """A part of the demo that did not do what it should; the message holds its output."""


@dataclass(frozen=True)
class Outcome:
    """What came of a show."""

    page: Path  # of its report
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
    judge: Callable[[Path], Outcome]  # of the bag that was recorded


def run(makers: Sequence[Callable[[Path, Say], Show]], directory: str | Path = "demo") -> int:
    """Simulate, play to the live nodes, compare, write the reports.

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

    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    shows = [maker(directory, say) for maker in makers]
    running: list[Processes] = []
    try:
        # All at once: they spend seconds on imports, and the first time on compiling. A domain each keeps them apart.
        for number, show in enumerate(shows):
            os.environ["ROS_DOMAIN_ID"] = _domain(number)
            say(f"starting {', '.join(show.nodes)} and a recorder")
            live = directory / show.name / "live"
            shutil.rmtree(live, ignore_errors=True)
            commands = {**show.nodes, "recorder": ["nn_estimation.ros.recorder", str(live), *show.recorded]}
            running.append({name: _start(*command) for name, command in commands.items()})
        for number, show in enumerate(shows):
            os.environ["ROS_DOMAIN_ID"] = _domain(number)
            say(f"waiting for {', '.join(show.nodes)} to listen")
            _wait_for_listeners(running[number], [*show.listens, *show.recorded])
            say(f"playing {show.title} over DDS")
            heard = [topic for topic in show.listens if topic in show.played]
            play(show.bag, rate=show.rate, topics=show.played, clock=False, wait_for=heard, progress=_bar)
            print(file=sys.stderr)
            time.sleep(SETTLE)
            _interrupt(running[number])
    finally:
        for processes in running:
            _interrupt(processes)
        for processes in running:
            _stop(processes)
    outcomes = []
    for show in shows:
        say(f"comparing the methods on {show.title}")
        outcomes.append(show.judge(directory / show.name / "live"))
    index = _index(shows, outcomes, directory / "report")
    print(f"\n{index}")
    say("done")
    return 0 if all(outcome.met for outcome in outcomes) else 1


def _domain(number: int) -> str:
    return str(1 + (2 * os.getpid() + number) % 100)


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *arguments]
    # A session of its own: Ctrl-C reaches the demo alone, which then stops its processes in order.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _wait_for_listeners(processes: Processes, topics: Sequence[str]) -> None:
    waiting = _start("nn_estimation.ros.listeners", *topics, "--timeout", str(READY))
    try:
        while waiting.poll() is None:
            for name, process in processes.items():
                if process.poll() is not None:
                    assert process.stdout is not None
                    raise DemoError(f"{name} ended with code {process.returncode}:\n{process.stdout.read()}")
            time.sleep(0.05)
    finally:
        waiting.kill()
    if waiting.returncode:
        raise DemoError(f"the nodes did not subscribe to {', '.join(topics)} within {READY:.0f} s")


def _bar(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r  {'█' * int(40 * share):40s} {share:4.0%}", end="", file=sys.stderr, flush=True)


def _interrupt(processes: Processes) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)


def _stop(processes: Processes) -> None:
    for process in processes.values():
        try:
            process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()


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

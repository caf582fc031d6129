"""Whether a live node keeps up: messages in, estimates out, its own latency and load, over DDS.

    nn_estimation import lias SRC --out bags/lias
    python benchmarks/live.py uwb bags/lias/mid
    python benchmarks/live.py dead_reckoning bags/kitti/2011_09_30_drive_0016_extract --rate 10
    python benchmarks/live.py attitude bags/broad/01_undisturbed_slow_rotation_A --rate 3.5

Plays the bag in one process, estimates in another on a core of its own, records in a third; prints what the node says
of itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.ros.domain import own_network
from nn_estimation.ros.player import play
from nn_estimation.shipped import default_model
from nn_estimation.uwb.layout import Layout

SAID = ("latency", "pose", "input", "fallback", "network")  # of the aspects in /diagnostics


class Live(NamedTuple):
    """A node, what it hears and what it says."""

    module: str
    heard: list[str]
    said: list[str]
    parameters: tuple[str, ...]


def uwb(bag: BagReader, folder: Path) -> Live:
    """Ranges of all tags, at the layout of the bag."""
    layout, anchors = Layout.from_yaml(bag.custom_data["layout"]), folder / "anchors.yaml"
    anchors.write_text(layout.to_yaml())
    heard = [layout.tag_topic(tag.name, "range") for tag in layout.tags]
    said = [f"{topic}_corrected" for topic in heard]
    return Live("nn_estimation.uwb.node", heard, said, (f"anchors:={anchors}", f"model:={default_model()}"))


def dead_reckoning(bag: BagReader, folder: Path) -> Live:
    """The IMU alone, from a start by parameters."""
    model = default_model("dead_reckoning.onnx")
    parameters = (f"model:={model}", "start:=parameters", "start_speed:=5.0")
    module = "nn_estimation.dead_reckoning.node"
    return Live(module, ["imu/data_raw"], ["odometry/dead_reckoning"], parameters)


def attitude(bag: BagReader, folder: Path) -> Live:
    """IMU and magnetometer."""
    heard, model = ["imu/data_raw", "imu/mag"], default_model("attitude.onnx")
    return Live("nn_estimation.attitude.node", heard, ["imu/data"], (f"model:={model}",))


WINGS: dict[str, Callable[[BagReader, Path], Live]] = {
    "uwb": uwb,
    "dead_reckoning": dead_reckoning,
    "attitude": attitude,
}


def excerpt(bag: BagReader, topics: Iterable[str], out: Path, seconds: float) -> dict[str, int]:
    """The first seconds of some topics as a bag; how many messages each has."""
    counts: dict[str, int] = {}
    with BagWriter(out, custom_data=bag.custom_data) as writer:
        for topic, stamp, data in bag.raw([t for t in topics if t in bag.topics]):
            if stamp * 1e-9 - bag.start > seconds:
                break
            writer.write(topic, bag.topics[topic], stamp, data)
            counts[topic] = counts.get(topic, 0) + 1
    return counts


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process of its own session, so that Ctrl-C reaches it through this one."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], start_new_session=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Play, record, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wing", choices=WINGS)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the bag")
    parser.add_argument("--rate", type=float, default=1.0, help="times real time")
    arguments = parser.parse_args()
    os.environ.update(own_network())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with BagReader(arguments.bag) as bag:
            live = WINGS[arguments.wing](bag, folder)
            counts = excerpt(bag, live.heard, folder / "bag", arguments.seconds)
        parameters = [part for parameter in live.parameters for part in ("-p", parameter)]
        node = start(live.module, "--ros-args", *parameters)
        recorder = start("nn_estimation.ros.recorder", str(folder / "out"), *live.said, "/diagnostics")
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(node.pid, cores[:1])
        if len(cores) > 1:
            for pid in (os.getpid(), recorder.pid):
                os.sched_setaffinity(pid, cores[1:])
        try:
            time.sleep(5.0)
            before, begin = cpu_seconds(node.pid), time.monotonic()
            play(folder / "bag", rate=arguments.rate, clock=False, wait_for=list(counts))
            took = time.monotonic() - begin
            spent = cpu_seconds(node.pid) - before
            time.sleep(1.5)
        finally:
            for process in (node, recorder):
                process.send_signal(signal.SIGINT)
                process.wait(20.0)
        report(folder / "out", sum(counts.values()), took, spent)


def report(out: Path, sent: int, took: float, spent: float) -> None:
    """What came back, and the last diagnostics."""
    published, last = 0, {}
    with BagReader(out) as bag:
        for topic, _, message in bag.messages():
            if not topic.endswith("diagnostics"):
                published += 1
                continue
            for status in message.status:
                values = {value.key: value.value for value in status.values}
                if all(value != "0" for key, value in values.items() if key.startswith("rate [")):
                    last[status.name] = values  # nothing is left to say once the bag is over
    print(
        f"{sent} messages sent in {took:.1f} s ({sent / took:.0f} a second); {published} estimates recorded"
    )
    print(
        f"node: {spent / took:.0%} of a core, {1e6 * spent / sent:.0f} us of processor time a message, DDS included"
    )
    for name, values in last.items():
        if name.endswith(tuple(f": {aspect}" for aspect in SAID)):
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))


if __name__ == "__main__":
    main()

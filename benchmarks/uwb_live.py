"""Whether the live node keeps up: ranges in, corrected ranges out, its own latency and load, over DDS.

    nn_estimation import lias SRC --out bags/lias
    python benchmarks/uwb_live.py bags/lias/mid

Plays the bag in one process, corrects in another on a core of its own, records in a third; prints what the node says
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
from pathlib import Path

from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.ros.player import play
from nn_estimation.shipped import default_model
from nn_estimation.uwb.layout import Layout


def excerpt(bag: Path, out: Path, seconds: float) -> tuple[Layout, dict[str, int]]:
    """The first seconds of the range topics; their layout, and how many messages each has."""
    counts: dict[str, int] = {}
    with BagReader(bag) as reader:
        layout = Layout.from_yaml(reader.custom_data["layout"])
        topics = [layout.tag_topic(tag.name, "range") for tag in layout.tags]
        first = None
        with BagWriter(out, custom_data=reader.custom_data) as writer:
            for topic, stamp, data in reader.raw([t for t in topics if t in reader.topics]):
                first = stamp if first is None else first
                if stamp - first > seconds * 1e9:
                    break
                writer.write(topic, reader.topics[topic], stamp, data)
                counts[topic] = counts.get(topic, 0) + 1
    return layout, counts


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
    parser.add_argument("bag", type=Path)
    parser.add_argument("--model", type=Path, default=default_model())
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=1.0, help="times real time")
    arguments = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory() as folder:
        bag, anchors, out = Path(folder) / "bag", Path(folder) / "anchors.yaml", Path(folder) / "out"
        layout, counts = excerpt(arguments.bag, bag, arguments.seconds)
        anchors.write_text(layout.to_yaml())
        corrected = [f"{topic}_corrected" for topic in counts]
        parameters = ("-p", f"anchors:={anchors}", "-p", f"model:={arguments.model}")
        node = start("nn_estimation.uwb.node", "--ros-args", *parameters)
        recorder = start("nn_estimation.ros.recorder", str(out), *corrected, "odometry/uwb", "/diagnostics")
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(node.pid, cores[:1])
        if len(cores) > 1:
            for pid in (os.getpid(), recorder.pid):
                os.sched_setaffinity(pid, cores[1:])
        try:
            time.sleep(5.0)
            before, begin = cpu_seconds(node.pid), time.monotonic()
            play(bag, rate=arguments.rate, clock=False, wait_for=list(counts))
            took = time.monotonic() - begin
            spent = cpu_seconds(node.pid) - before
            time.sleep(1.5)
        finally:
            for process in (node, recorder):
                process.send_signal(signal.SIGINT)
                process.wait(20.0)
        report(out, sum(counts.values()), took, spent)


def report(out: Path, sent: int, took: float, spent: float) -> None:
    """What came back, and the last diagnostics."""
    published, last = 0, {}
    with BagReader(out) as bag:
        for topic, _, message in bag.messages():
            if topic.endswith("_corrected"):
                published += 1
            elif topic.endswith("diagnostics"):
                for status in message.status:
                    values = {value.key: value.value for value in status.values}
                    if values.get("rate [ranges/s]") != "0":  # nothing is left to say once the bag is over
                        last[status.name] = values
    print(
        f"{sent} ranges sent in {took:.1f} s ({sent / took:.0f} a second); {published} corrected ones recorded"
    )
    print(
        f"node: {spent / took:.0%} of a core, {1e6 * spent / sent:.0f} us of processor time a range, DDS included"
    )
    for name, values in last.items():
        if name.endswith((": latency", ": pose", ": input", ": fallback")):
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))


if __name__ == "__main__":
    main()

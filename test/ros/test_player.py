"""Claims about the player that need no listener."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from nn_estimation import cdr
from nn_estimation.bags import BagWriter
from nn_estimation.cli import main


def test_topics_that_the_bag_lacks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = tmp_path / "bag"
    with BagWriter(bag) as writer:
        writer.write("imu", cdr.IMU, 1, b"")
    assert main(["play", str(bag), "--topics", "imu", "/nosuch"]) == 2
    assert "bag has no nosuch; it has imu" in capsys.readouterr().err

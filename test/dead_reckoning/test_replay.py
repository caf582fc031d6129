"""Claims about the replay: a bag in, the same bag and the odometry out."""

from pathlib import Path

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.dead_reckoning.model import Setup
from nn_estimation.dead_reckoning.replay import OUTPUT_TOPIC, encode_estimate, write_replay
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, ODOMETRY_TOPIC, DeadReckoningStream, StreamParams

from .scene import WIDE, imu, odometry, stamp, started, true_pose

SETUP = Setup("tuned", WIDE, False, None)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Five seconds on a circle, with odometry."""
    path = tmp_path / "bag"
    with BagWriter(path, custom_data={"latitude_deg": "49.0"}) as writer:
        for n in range(500):
            ns = round(stamp(n) * 1e9)
            if n % 10 == 0:
                writer.write(ODOMETRY_TOPIC, cdr.ODOMETRY, ns, odometry(stamp(n)))
            writer.write(IMU_TOPIC, cdr.IMU, ns, imu(n))
    return path


def test_a_replay_adds_the_odometry_and_keeps_the_rest(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag) as reader:
        counts = write_replay(reader, DeadReckoningStream(SETUP, StreamParams("odometry")), tmp_path / "out")
    assert counts == {OUTPUT_TOPIC: 500}
    with BagReader(tmp_path / "out") as out:
        assert set(out.topics) == {IMU_TOPIC, ODOMETRY_TOPIC, OUTPUT_TOPIC}
        assert out.custom_data["latitude_deg"] == "49.0"
        for _, _, data in out.raw([OUTPUT_TOPIC]):
            message = cdr.decode_odometry(data)
            np.testing.assert_allclose(message.position, true_pose(message.stamp_ns * 1e-9)[0], atol=0.1)
            np.testing.assert_allclose(message.velocity, [10.0, 0.0, 0.0], atol=0.1)


def test_aiding_may_end_after_a_while(bag: Path, tmp_path: Path) -> None:
    stream = DeadReckoningStream(SETUP, StreamParams("odometry"))
    with BagReader(bag) as reader:
        write_replay(reader, stream, tmp_path / "out", aid_for=1.0)
    assert 8 <= stream.aided.source(ODOMETRY_TOPIC).counts["accepted"] <= 10


def test_a_bag_without_an_imu_or_already_replayed_is_refused(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag, {IMU_TOPIC: "other"}) as reader, pytest.raises(BagError, match="--remap"):
        write_replay(reader, DeadReckoningStream(SETUP), tmp_path / "out")
    with BagReader(bag) as reader:
        write_replay(reader, DeadReckoningStream(SETUP), tmp_path / "once")
    with BagReader(tmp_path / "once") as reader:
        with BagWriter(tmp_path / "twice") as writer:
            for topic, ns, data in reader.raw():
                writer.write(topic, reader.topics[topic], ns, data)
            estimate = started().estimate()
            assert estimate is not None
            writer.write(OUTPUT_TOPIC, cdr.ODOMETRY, ns, encode_estimate(estimate, ns))
    with BagReader(tmp_path / "twice") as reader, pytest.raises(BagError, match="already"):
        write_replay(reader, DeadReckoningStream(SETUP), tmp_path / "thrice")

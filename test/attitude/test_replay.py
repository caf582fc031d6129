"""Claims about the replay: a bag in, the same bag and the attitude out, as REP-145 has it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.model import classical_setup
from nn_estimation.attitude.replay import BIAS_TOPIC, OUTPUT_TOPIC, RPY_TOPIC, replay, write_replay
from nn_estimation.attitude.stream import IMU_TOPIC, MAG_TOPIC, AttitudeStream, StreamParams
from nn_estimation.bags import BagError, BagReader, BagWriter

from .scene import imu, mag, turned_by_hand

SETUP = classical_setup("filter")
MOTION = turned_by_hand(6.0)
BIAS = np.array([0.01, -0.005, 0.008])  # [rad/s]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Six seconds in a hand, with a gyro bias and covariances."""
    path = tmp_path / "bag"
    with BagWriter(path, custom_data={"place": "hand"}) as writer:
        for n, t in enumerate(MOTION.stamp):
            ns = round(t * 1e9)
            data = imu(t, MOTION.gyro[n] + BIAS, MOTION.accel[n], "wrist", variances=(1e-4, 1e-2))
            writer.write(IMU_TOPIC, cdr.IMU, ns, data)
            writer.write(MAG_TOPIC, cdr.MAG, ns, mag(t, MOTION.field[n]))
            writer.write("note", cdr.CLOCK, ns, cdr.encode_clock(ns))
    return path


def test_a_replay_adds_the_attitude_and_keeps_the_rest(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag) as reader:
        counts = write_replay(reader, AttitudeStream(SETUP), tmp_path / "out")
    assert set(counts) == {OUTPUT_TOPIC, BIAS_TOPIC}
    assert counts[OUTPUT_TOPIC] > 500
    assert counts[BIAS_TOPIC] == pytest.approx(10.0 * (MOTION.stamp[-1] - MOTION.stamp[0]), rel=0.1)
    with BagReader(tmp_path / "out") as out:
        assert set(out.topics) == {IMU_TOPIC, MAG_TOPIC, "note", OUTPUT_TOPIC, BIAS_TOPIC}
        assert out.custom_data["place"] == "hand"
        assert sum(1 for _ in out.raw([IMU_TOPIC])) == len(MOTION.stamp)


def test_what_comes_out_is_the_sample_with_orientation_and_without_bias(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag) as reader:
        write_replay(reader, AttitudeStream(SETUP), tmp_path / "out")
    with BagReader(tmp_path / "out") as out:
        samples = {m.stamp_ns: m for m in (cdr.decode_imu(data) for _, _, data in out.raw([IMU_TOPIC]))}
        biases = {m.stamp_ns: m for m in (cdr.decode_vector3(data) for _, _, data in out.raw([BIAS_TOPIC]))}
        messages = [cdr.decode_imu(data) for _, _, data in out.raw([OUTPUT_TOPIC])]
    for message in messages:
        sample = samples[message.stamp_ns]
        assert message.frame_id == "wrist"
        np.testing.assert_array_equal(message.accel, sample.accel)
        np.testing.assert_array_equal(message.gyro_covariance, sample.gyro_covariance)
        np.testing.assert_array_equal(message.accel_covariance, sample.accel_covariance)
        covariance = message.orientation_covariance.reshape(3, 3)
        np.testing.assert_allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > 0.0
    last = messages[-1]
    assert set(biases) < {message.stamp_ns for message in messages}
    bias = biases[max(biases)]
    assert bias.frame_id == "wrist"
    found = np.array([bias.x, bias.y, bias.z])
    np.testing.assert_allclose(found, BIAS, atol=0.003)
    np.testing.assert_allclose(last.gyro, MOTION.gyro[-1], atol=0.05)
    assert (Rotation.from_quat(last.orientation) * MOTION.truth[-1].inv()).magnitude() < 0.05


def test_frame_and_angles_are_added_where_they_are_asked_for(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag) as reader:
        counts = write_replay(reader, AttitudeStream(SETUP), tmp_path / "out", "base_link", rpy=True)
    assert counts[RPY_TOPIC] == counts[OUTPUT_TOPIC]
    with BagReader(tmp_path / "out") as out:
        *_, (_, _, data) = out.raw([RPY_TOPIC])
        angles = cdr.decode_vector3(data)
        *_, (_, _, data) = out.raw([OUTPUT_TOPIC])
        message = cdr.decode_imu(data)
    assert angles.frame_id == message.frame_id == "base_link"
    expected = Rotation.from_quat(message.orientation).as_euler("xyz")
    np.testing.assert_allclose([angles.x, angles.y, angles.z], expected, atol=1e-9)


def test_the_replay_gives_every_message_once_and_in_order(bag: Path) -> None:
    with BagReader(bag) as reader:
        given = [(topic, stamp) for topic, stamp, _ in reader.raw()]
    with BagReader(bag) as reader:
        stream = AttitudeStream(SETUP, StreamParams(publish_rate=10.0))
        seen = list(replay(reader, stream))
    assert [(topic, stamp) for topic, stamp, _, _ in seen] == given
    assert 40 < sum(attitude is not None for *_, attitude in seen) < 60


def test_a_bag_without_an_imu_or_already_replayed_is_refused(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag, {IMU_TOPIC: "other"}) as reader, pytest.raises(BagError, match="--remap"):
        write_replay(reader, AttitudeStream(SETUP), tmp_path / "out")
    with BagReader(bag) as reader:
        write_replay(reader, AttitudeStream(SETUP), tmp_path / "once")
    with BagReader(tmp_path / "once") as reader, pytest.raises(BagError, match="already"):
        write_replay(reader, AttitudeStream(SETUP), tmp_path / "twice")

"""Claims about a trial on its way from a bag into arrays."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.trial import TrialError, read_trial
from nn_estimation.bags import BagError
from nn_estimation.datasets.recording import Recording


def recording(truth_rate: float = 100.0, count: int = 200, mag: bool = True) -> Recording:
    """Two seconds at 100 Hz of an IMU that turns by 1 rad/s about its z axis."""
    stamp = 1.0 + 0.01 * np.arange(count)
    made = Recording("turn", "", "")
    made.add_imu("imu/data_raw", stamp, np.tile([0.0, 0.0, 1.0], (count, 1)), np.zeros((count, 3)))
    if mag:
        made.add_mag("imu/mag", stamp[::2], np.tile([2e-5, 0.0, -4e-5], (len(stamp[::2]), 1)))
    true_stamp = np.arange(1.1, stamp[-1] - 0.1, 1.0 / truth_rate)
    made.add_truth(true_stamp, None, Rotation.from_euler("z", true_stamp[:, None]).as_quat())
    return made


def test_samples_before_and_after_the_truth_are_kept_without_one(tmp_path: Path) -> None:
    trial = read_trial(recording().write(tmp_path))
    assert trial.name == "turn"
    assert len(trial.stamp) == len(trial.gyro) == len(trial.accel) == 200
    known = np.isfinite(trial.truth).all(axis=1)
    assert not known[:10].any() and not known[-9:].any() and known[10:-11].all()
    np.testing.assert_array_equal(trial.scored, known)
    heading = Rotation.from_quat(trial.truth[known]).as_euler("zyx")[:, 0]
    np.testing.assert_allclose(heading, trial.stamp[known], atol=1e-6)


def test_a_truth_at_other_stamps_is_interpolated(tmp_path: Path) -> None:
    trial = read_trial(recording(truth_rate=73.0).write(tmp_path))
    known = np.isfinite(trial.truth).all(axis=1)
    assert known.sum() > 170
    heading = Rotation.from_quat(trial.truth[known]).as_euler("zyx")[:, 0]
    np.testing.assert_allclose(heading, trial.stamp[known], atol=1e-6)


def test_a_slow_truth_counts_where_it_was_measured_only(tmp_path: Path) -> None:
    trial = read_trial(recording(truth_rate=20.0).write(tmp_path))
    np.testing.assert_array_equal(np.flatnonzero(trial.scored), np.arange(10, 189, 5))


def test_a_magnetometer_has_stamps_of_its_own(tmp_path: Path) -> None:
    trial = read_trial(recording().write(tmp_path))
    np.testing.assert_allclose(trial.mag_stamp, trial.stamp[::2])
    np.testing.assert_allclose(trial.mag[0], [2e-5, 0.0, -4e-5])


def test_a_bag_without_a_magnetometer_has_none(tmp_path: Path) -> None:
    trial = read_trial(recording(mag=False).write(tmp_path))
    assert trial.mag_stamp.shape == (0,) and trial.mag.shape == (0, 3)


def test_topics_have_the_names_they_are_given(tmp_path: Path) -> None:
    path = recording().write(tmp_path)
    trial = read_trial(path, remap={"imu/mag": "compass", "ground_truth/odometry": "mocap"}, truth="mocap")
    assert len(trial.mag) == 0 and trial.scored.any()


def test_the_metadata_says_how_the_heading_counts_and_what_is_scored(tmp_path: Path) -> None:
    made = recording()
    made.facts.update(heading="relative", align="[1.2, 1.4]")
    made.scored["intervals"] = [[1.5, 1.6]]
    trial = read_trial(made.write(tmp_path))
    assert trial.relative_heading and trial.align == (1.2, 1.4)
    np.testing.assert_array_equal(np.flatnonzero(trial.scored), np.arange(50, 61))


@pytest.mark.parametrize("text", ["[1.2", "1.2", "[1.2]", "[a, b]", "{begin: 1.2}"])
def test_an_interval_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    made = recording()
    made.facts["align"] = text
    with pytest.raises(TrialError, match=r"turn has align: .* expected .begin, end. in s"):
        read_trial(made.write(tmp_path))


def test_a_bag_without_truth_is_refused_with_what_it_has(tmp_path: Path) -> None:
    made = Recording("lonely", "", "")
    made.add_imu("imu/data_raw", np.array([1.0, 1.01]), np.zeros((2, 3)), np.ones((2, 3)))
    with pytest.raises(BagError, match="has no ground_truth/odometry; it has imu/data_raw: use --remap or"):
        read_trial(made.write(tmp_path))


def test_a_truth_of_other_times_is_refused(tmp_path: Path) -> None:
    made = recording(count=3)
    made.events = [event for event in made.events if event[2] != "ground_truth/odometry"]
    made.add_truth(np.array([7.0, 7.01]), None, np.tile([0.0, 0.0, 0.0, 1.0], (2, 1)))
    with pytest.raises(TrialError, match=r"none of the 3 IMU samples .* the 2 true orientations"):
        read_trial(made.write(tmp_path))


def test_a_position_without_an_orientation_is_no_truth(tmp_path: Path) -> None:
    made = recording(count=30)
    made.events = [event for event in made.events if event[2] != "ground_truth/odometry"]
    made.add_truth(1.0 + 0.01 * np.arange(30), np.zeros((30, 3)), np.zeros((30, 4)))
    with pytest.raises(TrialError, match=r"none of the 30 IMU samples"):
        read_trial(made.write(tmp_path))

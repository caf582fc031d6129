"""Claims about KITTI drives on their way from the data set through a bag into arrays."""

from pathlib import Path

import numpy as np
import pytest

from nn_estimation.bags import BagError
from nn_estimation.datasets.recording import DatasetError, Recording
from nn_estimation.datasets.registry import import_set
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import read_drive
from nn_estimation.dead_reckoning.estimator import track
from nn_estimation.metrics import segment_errors


def write_drive(folder: Path, stamp: np.ndarray, name: str = "2011_09_30_drive_0001_extract") -> None:
    count = len(stamp)
    rows = np.arange(count, dtype=np.float32)[:, None]
    angles = np.zeros((count, 3), dtype=np.float32)
    angles[:, 2] = np.pi / 2
    np.savez(
        folder / f"{name}.npz", t=stamp, u=rows + np.arange(6) / 10, p_gt=rows * [0.0, 0.1, 0.0],
        v_gt=np.tile([0.0, 10.0, 0.0], (count, 1)), ang_gt=angles,
    )  # fmt: skip


def test_a_drive_comes_back_from_its_bag(tmp_path: Path) -> None:
    write_drive(tmp_path, np.arange(50) * 0.01)
    (tmp_path / "index.csv").write_text(
        "drive,odometry_seq,bench_start,bench_end\n2011_09_30_drive_0001_extract,04,10,40\n"
    )
    [(name, path)] = import_set("kitti", tmp_path, tmp_path / "bags")
    drive = read_drive(path)
    assert drive.name == name
    np.testing.assert_allclose(drive.gyro[:, 1], np.arange(50) + 0.1, atol=1e-5)
    np.testing.assert_allclose(drive.accel[:, 2], np.arange(50) + 0.5, atol=1e-5)
    np.testing.assert_allclose(drive.velocity, np.tile([0.0, 10.0, 0.0], (50, 1)), atol=1e-5)
    np.testing.assert_allclose(drive.R[0] @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-6)
    assert np.flatnonzero(drive.scored).tolist() == list(range(10, 41))
    assert drive.latitude == pytest.approx(np.radians(49.0))


def test_samples_that_arrive_late_are_left_out_as_the_node_leaves_them_out(tmp_path: Path) -> None:
    stamp = np.arange(50) * 0.01
    stamp[20:23] = stamp[[22, 20, 21]]
    write_drive(tmp_path, stamp)
    [(_, path)] = import_set("kitti", tmp_path, tmp_path / "bags")
    drive = read_drive(path)
    assert len(drive.stamp) == 48 and (np.diff(drive.stamp) > 0).all()
    np.testing.assert_allclose(drive.gyro[19:22, 0], [19, 20, 23])


def test_a_gap_parts_a_drive(tmp_path: Path) -> None:
    stamp = np.arange(50) * 0.01
    stamp[20:] += 1.6
    write_drive(tmp_path, stamp)
    [(_, path)] = import_set("kitti", tmp_path, tmp_path / "bags")
    assert [len(part.stamp) for part in read_drive(path).without_gaps()] == [20, 30]


def test_a_file_that_is_no_drive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "2011_09_30_drive_0001_extract.npz", t=np.zeros(3))
    with pytest.raises(DatasetError, match="does not hold t, u"):
        list(import_set("kitti", tmp_path, tmp_path / "bags"))


def test_a_bag_without_truth_is_refused_with_what_it_has(tmp_path: Path) -> None:
    recording = Recording("lonely", "", "")
    recording.add_imu("imu/data_raw", np.array([1.0, 1.01]), np.zeros((2, 3)), np.ones((2, 3)))
    with pytest.raises(BagError, match="has no ground_truth/odometry; it has imu/data_raw"):
        read_drive(recording.write(tmp_path))


def test_the_published_constants_score_as_published(data_root: Path, tmp_path: Path) -> None:
    """AI-IMU with constant covariance: t_rel 1.21 % on sequence 04, 1.48 % on 09."""
    source = data_root / "kitti_oxts"
    for pattern, published in (("2011_09_30_drive_0016*", 1.21), ("2011_09_30_drive_0033*", 1.48)):
        if not list(source.glob(pattern)):
            pytest.skip(f"no {pattern} in {source}")
        [(_, path)] = import_set("kitti", source, tmp_path, pattern)
        drive, c = read_drive(path), Constants()
        found = track(c, drive.stamp, drive.gyro, drive.accel, drive.start(c))
        rows = np.flatnonzero(drive.scored)[::10]
        errors = segment_errors(drive.R[rows], drive.position[rows], found.R[rows], found.position[rows])
        assert errors.t_rel_percent == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize(
    ("name", "folder", "pattern"), [("euroc", "euroc_imu", "MH03"), ("comma", "comma2k19_example", "*")]
)
def test_gravity_is_upright_and_the_truth_moves_as_the_accelerometer_feels(
    data_root: Path, tmp_path: Path, name: str, folder: str, pattern: str
) -> None:
    """A wrong frame or order of a quaternion shows here."""
    if not (data_root / folder).is_dir():
        pytest.skip(f"no {folder} in {data_root}")
    [(_, path)] = import_set(name, data_root / folder, tmp_path, pattern)
    drive = read_drive(path)
    force = np.einsum("nij,nj->ni", drive.R, drive.accel)
    np.testing.assert_allclose(force.mean(axis=0), [0.0, 0.0, 9.8], atol=0.35)
    smooth = np.ones(41) / 41
    speed = np.gradient(drive.position, drive.stamp, axis=0)
    for axis in range(2):
        felt = np.convolve(force[:, axis], smooth, "valid")
        moved = np.gradient(np.convolve(speed[:, axis], smooth, "valid"), drive.stamp[20:-20])
        assert np.corrcoef(felt[200:-200], moved[200:-200])[0, 1] > 0.7

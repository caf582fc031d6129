"""The importers of broad and repoimu, on made-up files and on the public ones."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation import cdr
from nn_estimation.attitude.trial import read_trial
from nn_estimation.bags import BagReader
from nn_estimation.datasets.recording import DatasetError
from nn_estimation.datasets.registry import import_set
from nn_estimation.datasets.repoimu import BODY as BODY_OF_PUBLIC
from nn_estimation.metrics import attitude_errors

pytestmark = pytest.mark.once

COUNT = 400


def turning(count: int) -> Rotation:
    """Sensor to world, by small steps."""
    t = np.linspace(0.0, 3.0, count)
    return Rotation.from_euler("zyx", np.column_stack([t, 0.4 * np.sin(t), 0.2 * t]))


def wxyz(rotation: Rotation) -> np.ndarray:
    return np.roll(rotation.as_quat(), 1, axis=1).astype(np.float32)


def signals(count: int) -> dict[str, np.ndarray]:
    rows = np.arange(count, dtype=np.float32)[:, None]
    offsets = np.array([[0.1, 0.2, 0.3], [-1.0, -2.0, -3.0], [20.0, 0.0, -40.0]])
    return {name: rows + offset for name, offset in zip(("gyr", "acc", "mag"), offsets, strict=True)}


def broad(folder: Path, name: str = "37_disturbed_office_A", **other: np.ndarray) -> Mapping[str, np.ndarray]:
    """A trial whose truth is lost at times, as a file."""
    quat = wxyz(turning(COUNT))
    quat[:10] = quat[150:153] = quat[300:340] = np.nan
    movement = np.zeros(COUNT, dtype=bool)
    movement[5:200] = movement[250:251] = movement[320:] = True
    data = {**signals(COUNT), "quat": quat, "movement": movement, "fs": np.float64(2000 / 7), **other}
    np.savez(folder / f"{name}.npz", allow_pickle=False, **data)
    return data


def test_a_single_unseen_trial_of_broad_is_imported_with_its_units_and_its_scored_samples(
    tmp_path: Path,
) -> None:
    data = broad(tmp_path)
    [(name, path)] = import_set("broad", tmp_path, tmp_path / "out")
    assert name == "37_disturbed_office_A"
    trial = read_trial(path)
    np.testing.assert_allclose(trial.stamp, 1.0 + 0.0035 * np.arange(COUNT), atol=1e-9)
    np.testing.assert_allclose(trial.gyro, data["gyr"])
    np.testing.assert_allclose(trial.accel, data["acc"])
    np.testing.assert_array_equal(trial.mag_stamp, trial.stamp)
    np.testing.assert_allclose(trial.mag, data["mag"] * 1e-6)
    seen = np.isfinite(data["quat"]).all(axis=1)
    np.testing.assert_array_equal(trial.scored, data["movement"] & seen)
    off = Rotation.from_quat(trial.truth[seen]) * turning(COUNT)[seen].inv()
    np.testing.assert_allclose(off.magnitude(), 0.0, atol=1e-6)
    assert not trial.relative_heading and trial.align is None


def test_truth_that_is_lost_for_long_is_unknown_and_never_scored(tmp_path: Path) -> None:
    broad(tmp_path)
    [(_, path)] = import_set("broad", tmp_path, tmp_path / "out")
    trial = read_trial(path)
    lost = np.flatnonzero(np.isnan(trial.truth).any(axis=1))
    np.testing.assert_array_equal(lost, [*range(10), *range(300, 340)])  # 150 to 152 are 14 ms


def test_the_field_of_a_sample_comes_before_it_and_what_the_truth_lacks_is_flagged(tmp_path: Path) -> None:
    broad(tmp_path)
    [(_, path)] = import_set("broad", tmp_path, tmp_path / "out")
    with BagReader(path) as bag:
        events = list(bag.raw())
        assert bag.custom_data["licence"] == "CC BY 4.0"
    order = [topic for topic, _, _ in events if topic.startswith("imu/")]
    assert order == ["imu/mag", "imu/data_raw"] * COUNT
    pose = next(cdr.decode_odometry(data) for topic, _, data in events if topic == "ground_truth/odometry")
    assert np.diag(pose.covariance.reshape(6, 6)).tolist() == [1e6] * 3 + [0.0] * 3
    assert pose.child_frame_id == "imu_link"


def test_a_trial_of_broad_that_is_cut_is_refused(tmp_path: Path) -> None:
    broad(tmp_path, movement=np.ones(7, dtype=bool))
    with pytest.raises(DatasetError, match=r"office_A.npz: movement is not \(400,\) finite numbers"):
        list(import_set("broad", tmp_path, tmp_path / "out"))
    broad(tmp_path, gyr=np.full((COUNT, 3), np.nan))
    with pytest.raises(DatasetError, match=r"gyr is not \(400, 3\) finite numbers"):
        list(import_set("broad", tmp_path, tmp_path / "out"))


BODY = [0.05, -0.02, 0.1]
LEAN = Rotation.from_rotvec([0.02, -0.03, 0.0])  # of the cameras' world


def repoimu(folder: Path, *names: str, body: object = None, count: int = COUNT) -> None:
    """Trials of a wand that its cameras see turned against the IMU, from a world that leans."""
    truth = turning(count)
    seen = LEAN * truth * Rotation.from_rotvec(BODY)
    data = {**signals(count), "acc": truth.inv().apply([0.0, 0.0, 9.81]), "quat": wxyz(seen)}
    for name in names:
        np.savez(folder / f"TStick_{name}.npz", allow_pickle=False, t=0.08 + 0.01 * np.arange(count), **data)
    if body is not None:
        (folder / "body_rotvec_rad.json").write_text(json.dumps(body))


def test_the_truth_of_repoimu_is_turned_from_the_wand_to_its_imu_and_upright(tmp_path: Path) -> None:
    repoimu(tmp_path, "Test02_Trial1", body=BODY)
    [(name, path)] = import_set("repoimu", tmp_path, tmp_path / "out")
    assert name == "TStick_Test02_Trial1"
    trial = read_trial(path)
    errors = attitude_errors(trial.truth, turning(COUNT).as_quat())
    np.testing.assert_allclose(errors.inclination, 0.0, atol=1e-6)
    np.testing.assert_allclose(errors.heading, errors.heading[0], atol=1e-6)
    np.testing.assert_allclose(trial.mag, signals(COUNT)["mag"])  # has no unit to convert
    assert trial.scored.all() and trial.relative_heading
    assert trial.stamp[0] == pytest.approx(1.08)
    assert trial.align == pytest.approx((1.58, 2.58))
    with BagReader(path) as bag:
        assert bag.custom_data["truth_leant_deg"] == f"{np.degrees(LEAN.magnitude()):.2f}"


def test_a_trial_of_repoimu_too_short_to_have_a_rest_is_refused(tmp_path: Path) -> None:
    repoimu(tmp_path, "Test02_Trial1", count=40)
    with pytest.raises(DatasetError, match=r"Test02_Trial1.npz: the truth ends before the rest"):
        list(import_set("repoimu", tmp_path, tmp_path / "out"))


def test_trials_of_repoimu_without_truth_or_with_a_saturated_gyro_are_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unfit = ["Test01_Static", "Test05_Trial2", "Test06_Trial1", "Test10_Trial3"]
    repoimu(tmp_path, *unfit, "Test06_Trial2", body=BODY)
    assert [name for name, _ in import_set("repoimu", tmp_path, tmp_path / "out")] == ["TStick_Test06_Trial2"]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"TStick_{name} is left out" for name in unfit
    ]


def test_a_single_trial_of_repoimu_needs_no_other_file(tmp_path: Path) -> None:
    truths = []
    for folder, body in (("alone", None), ("beside", BODY_OF_PUBLIC)):
        (tmp_path / folder).mkdir()
        repoimu(tmp_path / folder, "Test11_Trial1", body=body)
        [(_, path)] = import_set("repoimu", tmp_path / folder, tmp_path / "out" / folder)
        truths.append(read_trial(path).truth)
    np.testing.assert_array_equal(*truths)


@pytest.mark.parametrize("body", [[1, 2], {"a": 1}, [1, 2, None]])
def test_a_file_that_is_no_rotation_vector_is_named(tmp_path: Path, body: object) -> None:
    repoimu(tmp_path, "Test02_Trial1", body=body)
    with pytest.raises(DatasetError, match=r"body_rotvec_rad.json"):
        list(import_set("repoimu", tmp_path, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "folder", "pattern"),
    [
        ("broad", "broad", "36_disturbed_attached_magnet_5cm"),
        ("repoimu", "repoimu_tstick", "TStick_Test07_Trial1"),
    ],
)
def test_the_public_truth_turns_gravity_upright_and_as_the_gyro_says(
    recorded: Callable[..., Path], data_root: Path, name: str, folder: str, pattern: str
) -> None:
    """A wrong frame, order of a quaternion or sign shows here."""
    source = data_root / "attitude" / folder
    if not list(source.glob(f"{pattern}.npz")):
        pytest.skip(f"no {pattern} in {source}")
    trial = read_trial(recorded(name, f"attitude/{folder}", pattern))
    known = np.isfinite(trial.truth).all(axis=1)
    force = Rotation.from_quat(trial.truth[known]).apply(trial.accel[known])
    np.testing.assert_allclose(force.mean(axis=0), [0.0, 0.0, 9.8], atol=0.1)
    both = np.flatnonzero(known[1:] & known[:-1])
    turn = Rotation.from_quat(trial.truth[both]).inv() * Rotation.from_quat(trial.truth[both + 1])
    rate = turn.as_rotvec() / np.diff(trial.stamp)[both, None]
    for axis in range(3):
        assert np.corrcoef(rate[:, axis], trial.gyro[both + 1, axis])[0, 1] > 0.97
    assert trial.scored.sum() > 0.3 * len(trial.stamp)

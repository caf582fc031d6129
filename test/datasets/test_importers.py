"""The importers of hanyang, starloc and util on made-up files, and all of them on the public ones."""

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.bags import BagError, BagReader
from nn_estimation.datasets import kitti
from nn_estimation.datasets.recording import DatasetError, read_arrays, read_columns
from nn_estimation.datasets.registry import SETS, import_set
from nn_estimation.datasets.starloc import solve_anchor
from nn_estimation.uwb.features import POWER_FIELDS
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.samples import read_samples

pytestmark = pytest.mark.once


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def layout_of(bag: Path) -> Layout:
    with BagReader(bag) as reader:
        return Layout.from_yaml(reader.custom_data["layout"])


HANYANG = ("timestamp", "Distance", "RSSI(dBm)", "RSSI_fp(dBm)", "anchor_id")


def hanyang(root: Path, tapes: Sequence[tuple[str, float, float]]) -> None:
    for kind, tape, start in tapes:
        rows = [(start + 0.14 * i, tape + 0.1 + 0.001 * i, -80.0 - i, -81.5 - i, 12.0) for i in range(50)]
        write_csv(root / f"{kind}/height_75.0cm/{tape:g}m.csv.gz", HANYANG, rows)


def test_a_height_of_hanyang_is_one_bag_with_its_tape_distances(tmp_path: Path) -> None:
    hanyang(tmp_path, [("LOS", 10.0, 1000.0), ("LOS", 2.0, 1100.0), ("NLOS", 10.0, 5000.0)])
    ((name, bag),) = import_set("hanyang", tmp_path, tmp_path / "out")
    assert name == "height_75.0cm"
    samples = read_samples([bag])
    assert len(samples) == 150
    assert samples.links == ("tag|a12",)
    np.testing.assert_allclose(samples.distance, np.repeat([10.0, 2.0, 10.0], 50))
    np.testing.assert_allclose(samples.error, np.tile(0.1 + 0.001 * np.arange(50), 3), atol=1e-6)
    power = samples.power[:50, :2]
    np.testing.assert_allclose(power, np.stack([-80.0 - np.arange(50), -81.5 - np.arange(50)], axis=1))
    assert np.isnan(samples.power[:, 2:]).all()
    assert layout_of(bag).anchor_positions.tolist() == [[0.0, 0.0, 0.75]]


def test_corrupt_rows_of_hanyang_are_left_out(tmp_path: Path) -> None:
    good = [(1000.0 + i, 4.1, -80.0, -81.0, 12.0) for i in range(10)]
    bad = [
        ("Distance Mean", 4.1),
        ("", "", "", "", ""),
        (1003.5, "", -80, -81, 12),
        (1004.5, "x", -80, -81, 12),
    ]
    lost_power = [(1005.5, 4.1, "-inf", -92.78, 12.0), (1006.5, -3.0, -80.0, -81.0, 12.0)]
    write_csv(tmp_path / "LOS/height_50.0cm/4m.csv", HANYANG, [*good, *bad, *lost_power])
    write_csv(tmp_path / "LOS/height_50.0cm/6m.csv", HANYANG, [("", "", "", "", "")])
    ((_, bag),) = import_set("hanyang", tmp_path, tmp_path / "out")
    with BagReader(bag) as reader:
        assert reader.counts["uwb/range"] == 11
        assert reader.counts["uwb/power"] == 10


def test_overlapping_stretches_of_hanyang_are_refused(tmp_path: Path) -> None:
    hanyang(tmp_path, [("LOS", 10.0, 1000.0), ("LOS", 2.0, 1003.0)])
    with pytest.raises(DatasetError, match=r"the file of 2 m begins before another one ends"):
        list(import_set("hanyang", tmp_path, tmp_path / "out"))


STARLOC = "time_s,range,from_id,to_id,x,y,z,w,rot_x,rot_y,rot_z,tag_pos_x,tag_pos_y,tag_pos_z,gt_range".split(
    ","
)
LEVERS = {1: np.array([-0.1, -0.2, 0.07]), 2: np.array([-0.1, 0.0, 0.07])}
ANCHORS = {4: np.array([-3.0, -3.0, 2.0]), 7: np.array([-3.0, 3.1, 0.8])}


def starloc(path: Path, *, powers: bool) -> None:
    rows = []
    for i in range(400):
        t = 0.02 * i
        position = np.array([np.sin(t), np.cos(0.7 * t), 1.5 + 0.2 * np.sin(3 * t)])
        R = Rotation.from_euler("zyx", [t, 0.1 * np.sin(t), 0.2])
        tag, anchor = 1 + i % 2, (4, 7)[i // 2 % 2]
        antenna = position + R.apply(LEVERS[tag])
        true = float(np.linalg.norm(antenna - ANCHORS[anchor]))
        x, y, z, w = R.as_quat()
        extra = [-85.0 - i % 5, -90.0 - i % 3] if powers else []
        rows.append([t, true + 0.25, tag, anchor, *position, w, x, y, z, *antenna, true, *extra])
    write_csv(path, [*STARLOC, *(["fpp1", "fpp2"] if powers else [])], rows)


@pytest.mark.parametrize("powers", [True, False])
def test_anchors_and_lever_arms_of_starloc_are_found_from_its_truth(tmp_path: Path, powers: bool) -> None:
    starloc(tmp_path / "loop-9d_s7" / "uwb.csv.gz", powers=powers)
    ((name, bag),) = import_set("starloc", tmp_path, tmp_path / "out")
    assert name == "loop-9d_s7"
    layout = layout_of(bag)
    np.testing.assert_allclose(layout.anchor_positions, list(ANCHORS.values()), atol=1e-6)
    np.testing.assert_allclose(layout.tag_positions, list(LEVERS.values()), atol=1e-6)
    samples = read_samples([bag])
    assert samples.links == ("tag1|a4", "tag1|a7", "tag2|a4", "tag2|a7")
    np.testing.assert_allclose(samples.error, 0.25, atol=1e-5)
    given = [POWER_FIELDS[i] for i in np.flatnonzero(np.isfinite(samples.power).all(axis=0))]
    assert given == (["first_path_power", "first_path_power_far"] if powers else [])


def test_an_anchor_that_fits_no_point_is_refused() -> None:
    rng = np.random.default_rng(0)
    antenna = rng.uniform(-1, 1, (50, 3))
    distance = np.linalg.norm(antenna - [3.0, 1.0, 2.0], axis=1)
    np.testing.assert_allclose(solve_anchor(antenna, distance, "a"), [3.0, 1.0, 2.0], atol=1e-9)
    distance[7] += 0.1
    with pytest.raises(DatasetError, match=r"anchor 4: gt_range and tag_pos fit no fixed point"):
        solve_anchor(antenna, distance, "anchor 4")


def test_an_antenna_that_moved_in_a_plane_does_not_tell_the_height_of_an_anchor() -> None:
    rng = np.random.default_rng(0)
    antenna = np.column_stack([rng.uniform(-1, 1, (50, 2)), np.full(50, 1.2)])
    distance = np.linalg.norm(antenna - [3.0, 1.0, 2.0], axis=1)
    with pytest.raises(DatasetError, match=r"fit no fixed point"):
        solve_anchor(antenna, distance, "anchor 4")


UTIL = (
    "tdoa12,tdoa21,snr_an1,power_dif_an1,snr_an2,power_dif_an2,"
    "an1_rx_snr,an1_rx_powerdif,an2_rx_snr,an2_rx_powerdif"
).split(",")
POSE = """an1_p,0.0,0.0,1.0
an2_p,3.0,0.0,1.0
tag_p,1.0,2.0,0.5
an1_quat,0.0,0.0,0.0,1.0
an2_quat,0.0,0.0,0.7071067811865476,0.7071067811865476
tag_quat,0.0,0.0,0.0,1.0
"""


def util(folder: Path, name: str) -> float:
    true = float(np.linalg.norm([2.0, 2.0, 0.5]) - np.linalg.norm([1.0, 2.0, 0.5]))
    rows: list[list[object]] = [[true + 0.02, -true, 11, 1, 12, 2, 13, 3, 14, 4] for _ in range(30)]
    rows[3][0] = ""  # a row without a tdoa
    rows[5][2] = rows[5][3] = ""  # a row without the quality of anchor 1
    write_csv(folder / f"{name}_data.csv.gz", UTIL, rows)
    (folder / f"{name}_pose.txt").write_text(POSE)
    return true


def test_a_test_of_util_is_a_bag_of_tdoa_with_the_quality_of_all_four_signals(tmp_path: Path) -> None:
    true = util(tmp_path / "los" / "angleTest" / "angleT5", "angleT5")
    ((name, bag),) = import_set("util", tmp_path, tmp_path / "out")
    assert name == "angleT5"
    samples = read_samples([bag])
    assert samples.links == ("tag|an1-an2",)
    assert samples.is_tdoa
    assert len(samples) == 29
    np.testing.assert_allclose(samples.distance, true, atol=1e-9)
    np.testing.assert_allclose(samples.error, 0.02, atol=1e-6)
    difference = samples.power[0, 0::3] - samples.power[0, 1::3]
    assert difference.tolist() == [1, 2, 3, 4]  # a and b at the tag, b at a, a at b
    assert samples.power[0, 2::3].tolist() == [11, 12, 13, 14]
    assert np.isnan(samples.power[4, :3]).all()
    assert samples.power[4, 5] == 12


def test_a_test_of_util_without_its_poses_is_named(tmp_path: Path) -> None:
    util(tmp_path, "angleT5")
    (tmp_path / "angleT5_pose.txt").write_text("an1_p,0.0,0.0,1.0\n")
    with pytest.raises(DatasetError, match=r"angleT5_pose.txt has no an1_quat of 4 numbers"):
        list(import_set("util", tmp_path, tmp_path / "out"))


@pytest.mark.parametrize("name", SETS)
def test_an_empty_folder_says_what_is_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"Looked for below the source folder"):
        list(import_set(name, tmp_path, tmp_path / "out"))


def test_unknown_sets_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"unknown data set kittty: choose one of lias, hanyang"):
        list(import_set("kittty", tmp_path, tmp_path))
    with pytest.raises(DatasetError, match=r"nowhere is not a folder"):
        list(import_set("lias", tmp_path / "nowhere", tmp_path))


def test_only_chooses_by_pattern_and_says_what_there_is(tmp_path: Path) -> None:
    for name in ("angleT5", "foam-anAn-data1"):
        util(tmp_path / name, name)
    assert [n for n, _ in import_set("util", tmp_path, tmp_path / "out", only="foam*")] == ["foam-anAn-data1"]
    with pytest.raises(DatasetError, match=r"matches metal.*; it has angleT5, foam-anAn-data1"):
        list(import_set("util", tmp_path, tmp_path / "out", only="metal*"))


def test_a_bag_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    util(tmp_path, "angleT5")
    list(import_set("util", tmp_path, tmp_path / "out"))
    with pytest.raises(BagError, match=r"exists already"):
        list(import_set("util", tmp_path, tmp_path / "out"))


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv.gz", ["a"], [[i * 1.1] for i in range(5000)])
    data = (tmp_path / "x.csv.gz").read_bytes()
    (tmp_path / "x.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"x.csv.gz is damaged"):
        read_columns(tmp_path / "x.csv.gz", ["a"])
    with pytest.raises(DatasetError, match=r"has no columns b; it has a"):
        write_csv(tmp_path / "y.csv", ["a"], [[1]])
        read_columns(tmp_path / "y.csv", ["a", "b"])


@pytest.mark.parametrize(
    ("name", "folder", "only", "raw"),
    [
        ("hanyang", "hanyang_static", "height_50.0cm", 0.2637),
        ("starloc", "starloc", "loop-2d-fast_s1", 0.3506),
        ("starloc", "starloc", "loop-?d_s5", 0.2240),
        ("util", "util_identification", "*T[15]*", 0.0801),
    ],
)
def test_the_public_recordings_give_the_known_errors(
    data_root: Path, tmp_path: Path, name: str, folder: str, only: str, raw: float
) -> None:
    bags = [bag for _, bag in import_set(name, data_root / "uwb" / folder, tmp_path, only=only)]
    assert np.sqrt(np.mean(read_samples(bags).error ** 2)) == pytest.approx(raw, abs=2e-3)


def test_a_cut_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, t=np.arange(1000.0))
    whole, first = path.read_bytes(), zipfile.ZipFile(path).infolist()[0]
    start = 30 + len(first.filename) + 20  # behind the local header and its extra field
    for size in (8, 200):
        path.write_bytes(whole[:start] + bytes(size) + whole[start + size :])
        with pytest.raises(DatasetError, match="does not hold t"):
            read_arrays(path, {"t": 1}, same_length=True)


@pytest.mark.parametrize("error", [EOFError, zlib.error])
def test_an_array_that_ends_too_early_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("cut")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(DatasetError, match="does not hold t: cut"):
        read_arrays(tmp_path / "x.npz", {"t": 1}, same_length=True)


def test_a_damaged_index_of_kitti_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("drive,odometry_seq\n2011_09_30_drive_0016_extract,04\n")
    with pytest.raises(DatasetError, match="does not hold drive, odometry_seq, bench_start"):
        kitti.recordings(tmp_path)

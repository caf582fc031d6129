"""The lias importer, on a made-up run in the layout of the public files and on the files themselves."""

import csv
import gzip
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from nn_estimation.bags import BagReader
from nn_estimation.datasets import lias
from nn_estimation.datasets.recording import DatasetError
from nn_estimation.datasets.registry import import_set
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.samples import read_samples

pytestmark = pytest.mark.once

DAY = datetime(2022, 8, 15, 9, 37, 27, tzinfo=UTC)
NOISE = 0.04  # [m]
# [s] An antenna pattern looks a little like an offset, as directions change with the motion; see docs/data.md.
PATTERN_ERROR = 0.05


def clock(seconds: float) -> str:
    return (DAY + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def drive(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and headings (N,) of a trolley at 0.3 to 0.6 m/s."""
    x, y = 1.8 * np.sin(0.23 * t), 1.5 * np.sin(0.31 * t + 1.0)
    return np.stack([x, y, np.full_like(t, 0.97)], axis=1), 0.5 * np.sin(0.17 * t) + 0.2 * t


def make_pair(folder: Path, name: str, late: float, zipped: bool) -> None:
    """Files of a run whose ranges carry stamps `late` seconds behind those of the motion capture."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    layout = lias._layout(folder, "8_14", 0.97)
    t = np.arange(0.0, 60.0, 0.02)
    position, yaw = drive(t)
    R = np.zeros((len(t), 3, 3))
    R[:, 0, 0] = R[:, 1, 1] = np.cos(yaw)
    R[:, 1, 0], R[:, 0, 1], R[:, 2, 2] = np.sin(yaw), -np.sin(yaw), 1.0
    tag, anchor = np.tile(np.tile(np.arange(3), 8), len(t)), np.tile(np.repeat(np.arange(8), 3), len(t))
    pose = np.repeat(np.arange(len(t)), 24)
    geometry = link_geometry(layout, position, R, tag, anchor, np.full(len(tag), NO_ANCHOR), pose)
    pattern = 0.2 + 0.07 * np.cos(geometry[:, 1]) + 0.03 * np.sin(2 * geometry[:, 1])
    ranges = np.round(geometry[:, 0] + pattern + NOISE * rng.standard_normal(len(tag)), 2).reshape(-1, 24)

    def write(file: str, rows: list[list[str]]) -> None:
        path = folder / (file + ".csv" + (".gz" if zipped else ""))
        with gzip.open(path, "wt") if zipped else path.open("w") as out:
            csv.writer(out).writerows(rows)

    write(
        f"UWB_dynamic_exp_{name}",
        [[clock(s + late), *map(str, row)] for s, row in zip(t, ranges.tolist(), strict=True)],
    )
    t = np.arange(-2.0, 62.0, 1 / 120)
    position, yaw = drive(t)
    half = (yaw - lias.YAW_OF_RIGID_BODY) / 2
    rows = [["time", "x", "y", "z", "rotation", "", "", ""]]
    for s, p, h in zip(t, position, half, strict=True):
        rows.append([clock(s), *(f"{v:.6f}" for v in (*p, 0.0, np.cos(h), np.sin(h), 0.0))])
    write(f"motion_capture_dynamic_exp_{name}", rows)


@pytest.mark.parametrize(("late", "zipped"), [(0.35, True), (-0.62, False)], ids=["late", "early"])
def test_an_unseen_run_is_imported_and_its_clock_offset_found(
    tmp_path: Path, late: float, zipped: bool
) -> None:
    make_pair(tmp_path / "source" / "dynamic", "fast", late, zipped)
    ((name, bag),) = import_set("lias", tmp_path / "source", tmp_path / "out")
    assert name == "fast"
    assert bag == tmp_path / "out" / "fast"
    with BagReader(bag) as reader:
        custom = reader.custom_data
        assert reader.counts["tag2/uwb/range"] == 3000 * 8
    assert float(custom["clock_offset_s"]) == pytest.approx(late, abs=PATTERN_ERROR)
    assert yaml.safe_load(custom["scored"]) == {"max_abs_error_m": 0.8}
    assert custom["licence"] == "MIT"
    layout = Layout.from_yaml(custom["layout"])
    assert layout.planar_z == pytest.approx(0.97, abs=1e-3)
    np.testing.assert_allclose(layout.R_body_tag[1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)
    samples = read_samples([bag])
    azimuth = samples.geometry[:, 1]
    residual = samples.error - (0.2 + 0.07 * np.cos(azimuth) + 0.03 * np.sin(2 * azimuth))
    assert np.sqrt(np.mean(residual**2)) < 1.1 * NOISE


def test_the_offset_follows_the_clock_to_a_millisecond(tmp_path: Path) -> None:
    found = []
    for late in (-0.313, 0.204):
        make_pair(tmp_path / f"source{late}", "fast", late, False)
        found.append(lias.recordings(tmp_path / f"source{late}")["fast"]().clock_offset)
    assert found[1] - found[0] == pytest.approx(0.204 + 0.313, abs=1e-3)


def test_cut_lines_and_gaps_in_the_files_are_survived(tmp_path: Path) -> None:
    make_pair(tmp_path, "fast", 0.1, False)
    for kind in ("UWB", "motion_capture"):
        path = tmp_path / f"{kind}_dynamic_exp_fast.csv"
        lines = path.read_text().splitlines()
        lines[100] = lines[100][:20]
        lines[200] = "2022-08-15 nonsense,1,2,3"
        del lines[1000:1200]
        path.write_text("\n".join(lines) + "\n2022-08-15 9:3")
    ((_, bag),) = import_set("lias", tmp_path, tmp_path / "out")
    with BagReader(bag) as reader:
        assert float(reader.custom_data["clock_offset_s"]) == pytest.approx(0.1, abs=PATTERN_ERROR)


def test_a_range_file_without_its_motion_capture_is_not_imported(tmp_path: Path) -> None:
    make_pair(tmp_path, "fast", 0.0, False)
    (tmp_path / "motion_capture_dynamic_exp_fast.csv").unlink()
    with pytest.raises(DatasetError, match=r"no recording of lias in .* matches \*"):
        list(import_set("lias", tmp_path, tmp_path / "out"))


def test_an_empty_range_file_is_named(tmp_path: Path) -> None:
    make_pair(tmp_path, "fast", 0.0, False)
    (tmp_path / "UWB_dynamic_exp_fast.csv").write_text("\n")
    with pytest.raises(DatasetError, match=r"UWB_dynamic_exp_fast.csv has no rows of a time and 24 numbers"):
        list(import_set("lias", tmp_path, tmp_path / "out"))


def test_the_public_raw_run_gives_the_known_error(recorded: Callable[..., Path]) -> None:
    bag = recorded("lias", "uwb/lias_planar", "mid")
    assert np.sqrt(np.mean(read_samples([bag]).error ** 2)) == pytest.approx(0.201, abs=1e-3)


def test_a_run_the_authors_aligned_is_imported(data_root: Path, tmp_path: Path) -> None:
    name = "slow_authors_aligned_outlier_rejected.csv"
    with gzip.open(data_root / f"uwb/lias_planar/dynamic/{name}.gz", "rt") as file:
        lines = file.read().splitlines()[:8000]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_text("\n".join(lines))
    ((recording, bag),) = import_set("lias", tmp_path / "source", tmp_path / "out")
    assert recording == "slow"
    assert np.sqrt(np.mean(read_samples([bag]).error ** 2)) == pytest.approx(0.200, abs=0.01)


def test_a_public_run_under_another_name_and_clock_gives_the_same_geometry(
    data_root: Path, tmp_path: Path
) -> None:
    source = data_root / "uwb/lias_planar"
    run = tmp_path / "source"
    run.mkdir()
    shutil.copy(source / "geometry.json", run)
    with gzip.open(source / "dynamic/UWB_dynamic_exp_mid.csv.gz", "rt") as file:
        lines = file.read().splitlines()[2000:8000]
    shifted = []
    for line in lines:
        stamp, _, rest = line.partition(",")
        moved = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S.%f") + timedelta(seconds=0.5)
        shifted.append(moved.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "," + rest)
    (run / "UWB_dynamic_exp_fast.csv").write_text("\n".join(shifted))
    shutil.copy(
        source / "dynamic/motion_capture_dynamic_exp_mid.csv.gz",
        run / "motion_capture_dynamic_exp_fast.csv.gz",
    )
    ((_, bag),) = import_set("lias", run, tmp_path / "out")
    with BagReader(bag) as reader:
        offset = float(reader.custom_data["clock_offset_s"])
    assert offset == pytest.approx(0.5 + 0.012, abs=0.04)  # 0.012 is what the whole of mid gives


def test_static_poses_have_the_heading_of_the_authors_table(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "uwb/lias_planar"
    ((_, bag),) = import_set("lias", source, tmp_path, only="static_8_14_pos4_deg_60")
    with BagReader(bag) as reader:
        _, _, truth = next(reader.messages(["ground_truth/odometry"]))
    q, p = truth.pose.pose.orientation, truth.pose.pose.position
    assert 2 * np.degrees(np.arctan2(q.z, q.w)) == pytest.approx(59.085 + np.degrees(0.128), abs=1e-6)
    assert (p.x, p.y) == pytest.approx((-1.8072, 1.1900))

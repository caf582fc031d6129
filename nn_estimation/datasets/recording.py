"""A recording on its way into a bag: what every importer fills in and how it is written."""

from __future__ import annotations

import csv
import gzip
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import yaml

from nn_estimation import __version__, cdr
from nn_estimation.bags import BagWriter

UNKNOWN = 1e6  # variance of what a truth does not know


class DatasetError(ValueError):
    """A folder that is not the data set it should be; the message names the file."""


@dataclass
class Recording:
    """Messages of one recording, in any order, and what goes with them.

    `events` holds (stamp [ns], order within the stamp, topic, type, CDR bytes).
    """

    name: str
    source: str
    licence: str
    layout: str = ""  # YAML of anchors and tags, where there are any
    scored: dict[str, object] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)  # more of the metadata
    clock_offset: float | None = None  # [s] added to the truth's stamps
    events: list[tuple[int, int, str, str, bytes]] = field(default_factory=list)

    def add_range(self, topic: str, stamp: float, frame: str, value: float, variance: float = 0.0) -> None:
        """A sensor_msgs/Range; value and variance [m, m^2]."""
        ns = nanoseconds(stamp)
        data = cdr.encode_range(cdr.RangeMessage(ns, frame, value, variance))
        self.events.append((ns, 2, topic, cdr.RANGE, data))

    def add_power(
        self, topic: str, stamp: float, frame: str, rx: float, first_path: float, snr: float
    ) -> None:
        """Received power, first-path power [dBm] and SNR of a transmitter; NaN where not given."""
        ns = nanoseconds(stamp)
        data = cdr.encode_vector3(cdr.Vector3Message(ns, frame, rx, first_path, snr))
        self.events.append((ns, 1, topic, cdr.VECTOR3, data))

    def add_imu(self, topic: str, stamps: np.ndarray, gyro: np.ndarray, accel: np.ndarray) -> None:
        """Samples (N,) [s], (N, 3) [rad/s], (N, 3) [m/s^2] of imu_link, without an orientation.

        In the order given: a stamp that runs backwards arrives late, as it did on the robot.
        """
        for stamp, arrival, w, a in zip(stamps, np.maximum.accumulate(stamps), gyro, accel, strict=True):
            ns = nanoseconds(stamp)
            message = cdr.ImuMessage.of(ns, "imu_link", w, a)
            self.events.append((nanoseconds(arrival), 1, topic, cdr.IMU, cdr.encode_imu(message)))

    def add_mag(self, topic: str, stamps: np.ndarray, field: np.ndarray) -> None:
        """Magnetic field (N, 3) [T] in imu_link at (N,) [s]; before the IMU sample of the same stamp."""
        unknown = np.zeros(9)
        for stamp, vector in zip(stamps, field, strict=True):
            ns = nanoseconds(stamp)
            message = cdr.MagneticFieldMessage(ns, "imu_link", vector, unknown)
            self.events.append((ns, 0, topic, cdr.MAG, cdr.encode_mag(message)))

    def add_speed(self, topic: str, stamps: np.ndarray, speed: np.ndarray) -> None:
        """Forward speed (N,) [m/s] of base_link by the wheels, its variance unknown."""
        covariance = np.zeros(36)
        covariance[7::7] = UNKNOWN
        for stamp, value in zip(stamps, speed, strict=True):
            ns = nanoseconds(stamp)
            message = cdr.TwistCovarianceMessage(
                ns, "base_link", np.array([value, 0.0, 0.0]), np.zeros(3), covariance
            )
            data = cdr.encode_twist_covariance(message)
            self.events.append((ns, 2, topic, cdr.TWIST_COVARIANCE, data))

    def add_truth(
        self,
        stamps: np.ndarray,
        position: np.ndarray | None,
        quaternion: np.ndarray,
        velocity: np.ndarray | None = None,
        child: str = "base_link",
    ) -> None:
        """Poses (N,) [s], (N, 3) [m], (N, 4) x, y, z, w; velocities (N, 3) [m/s] in the child frame.

        What is not given is flagged unknown: the turn rate always, position and velocity where they are None.
        """
        covariance = np.zeros(36)
        if position is None:
            covariance[:21:7] = UNKNOWN
        unknown = np.zeros(36)
        unknown[::7] = UNKNOWN
        if velocity is not None:
            unknown[:21:7] = 0.0
        zero = np.zeros(3)
        nowhere = np.zeros((len(stamps), 3))
        positions = nowhere if position is None else position
        velocities = nowhere if velocity is None else velocity
        for stamp, p, q, v in zip(stamps, positions, quaternion, velocities, strict=True):
            ns = nanoseconds(stamp)
            message = cdr.OdometryMessage(ns, "map", child, p, q, covariance, v, zero, unknown)
            data = cdr.encode_odometry(message)
            self.events.append((ns, 0, "ground_truth/odometry", cdr.ODOMETRY, data))

    def write(self, directory: Path) -> Path:
        """Write `directory`/name as rosbag2 MCAP.

        Raises:
            BagError: it exists already.
        """
        custom = {
            "source": self.source,
            "licence": self.licence,
            "importer": f"nn_estimation {__version__}",
            **self.facts,
        }
        if self.layout:
            custom["layout"] = self.layout
        if self.scored:
            custom["scored"] = yaml.safe_dump(self.scored)
        if self.clock_offset is not None:
            custom["clock_offset_s"] = f"{self.clock_offset:.4f}"
        self.events.sort(key=lambda event: event[:2])
        with BagWriter(directory / self.name, custom_data=custom) as bag:
            for stamp, _, topic, msgtype, data in self.events:
                bag.write(topic, msgtype, stamp, data)
        return directory / self.name


def nanoseconds(stamp: float) -> int:
    """Stamp [s] -> [ns], on the microsecond grid that a double keeps exact for years."""
    return round(stamp * 1e6) * 1000


def intervals(stamp: np.ndarray, inside: np.ndarray) -> list[list[float]]:
    """First and last stamp of every run of samples that are inside; both (N,)."""
    edges = np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [[float(stamp[a]), float(stamp[b])] for a, b in zip(first, last, strict=True)]


def yaw_quaternion(yaw: np.ndarray) -> np.ndarray:
    """(N, 4) x, y, z, w of headings (N,) [rad]."""
    half = np.asarray(yaw) / 2.0
    return np.stack([np.zeros_like(half), np.zeros_like(half), np.sin(half), np.cos(half)], axis=-1)


def open_text(path: Path) -> IO[str]:
    """A text file, gzipped or not.

    Raises:
        DatasetError: cannot be opened.
    """
    try:
        return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error}") from error


def read_columns(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> np.ndarray:
    """(N, C) named columns of a CSV file with a header line; rows that are cut or not numbers are left out.

    Args:
        path: .csv or .csv.gz.
        names: columns the file must have.
        optional: columns that follow, NaN where the file lacks them; an empty cell is NaN.

    Raises:
        DatasetError: cannot be read, or a column is missing.
    """
    rows = []
    with open_text(path) as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
            if missing := [name for name in names if name not in header]:
                raise DatasetError(f"{path} has no columns {', '.join(missing)}; it has {', '.join(header)}")
            index = [header.index(name) if name in header else -1 for name in (*names, *optional)]
            for cells in reader:
                if len(cells) != len(header):
                    continue
                try:
                    rows.append([float(cells[i]) if i >= 0 and cells[i] else math.nan for i in index])
                except ValueError:
                    continue
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path} is damaged: {error}") from error
    return np.array(rows).reshape(-1, len(index))


def read_arrays(
    path: Path, columns: Mapping[str, int], *, same_length: bool, with_gaps: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file as float64: (N,) where one column is named, else (N, columns).

    Args:
        path: of the file.
        columns: name -> number of columns.
        same_length: whether all have as many rows.
        with_gaps: names of those that may hold NaN.

    Raises:
        DatasetError: cannot be read, or an array is missing, of another shape or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: np.atleast_1d(np.asarray(file[name], dtype=np.float64)) for name in columns}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path} does not hold {', '.join(columns)}: {error}") from error
    rows = len(next(iter(data.values())))
    for name, number in columns.items():
        count = rows if same_length else len(data[name])
        wanted = (count,) if number == 1 else (count, number)
        if data[name].shape == (count, 1):
            data[name] = data[name].reshape(wanted)
        whole = name in with_gaps or np.isfinite(data[name]).all()
        if data[name].shape != wanted or not whole or not count:
            raise DatasetError(f"{path}: {name} is not {wanted} finite numbers")
    return data


def find(directory: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """(name, path) of files `pattern`.csv or .csv.gz below a folder; the name is what `*` stands for."""
    before, after = pattern.split("*")
    for path in sorted(directory.rglob(pattern + ".csv*")):
        stem = path.name.removesuffix(".gz").removesuffix(".csv")
        if path.name.endswith((".csv", ".csv.gz")) and stem.endswith(after):
            yield stem[len(before) : len(stem) - len(after)], path

"""Bags: what is written is read, whatever happens to the file in between."""

import logging
import os
import struct
import subprocess
import sys
from pathlib import Path

import lz4.frame
import pytest
from backports import zstd
from rosbags.rosbag2 import Reader

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter

STORAGES = ("mcap", "sqlite3")
COUNT = 30_000
CUSTOM = {"layout": "anchors:\n  a0: {position: [0, 0, 0]}\n", "source": "Zürich"}
Row = tuple[str, int, bytes]


def rows(count: int = COUNT) -> list[Row]:
    out = []
    for i in range(count):
        stamp = 10**18 + i // 2 * 10**6  # two messages share a stamp
        topic = ("uwb/power", "uwb/range")[i % 2]
        if i % 2:
            data = cdr.encode_range(cdr.RangeMessage(stamp, f"a{i % 7}", i / 8.0, 0.0))
        else:
            data = cdr.encode_vector3(cdr.Vector3Message(stamp, f"a{i % 7}", -80.0, -85.0, float(i)))
        out.append((topic, stamp, data))
    return out


@pytest.fixture(scope="module")
def written() -> list[Row]:
    return rows()


def write(path: Path, storage: str, messages: list[Row]) -> Path:
    types = {"uwb/range": cdr.RANGE, "uwb/power": cdr.VECTOR3}
    with BagWriter(path, storage=storage, custom_data=CUSTOM) as bag:
        for topic, stamp, data in messages:
            bag.write(topic, types[topic], stamp, data)
    return path


@pytest.fixture(params=STORAGES)
def bag(request: pytest.FixtureRequest, tmp_path: Path, written: list[Row]) -> Path:
    return write(tmp_path / "flight", request.param, written)


def storage_file(bag: Path) -> Path:
    return next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))


def test_messages_come_back_in_the_order_they_were_written(bag: Path, written: list[Row]) -> None:
    with BagReader(bag) as reader:
        assert list(reader.raw()) == written
        assert reader.damage is None
        assert reader.counts == {"uwb/range": COUNT // 2, "uwb/power": COUNT // 2}
        assert reader.topics == {"uwb/range": cdr.RANGE, "uwb/power": cdr.VECTOR3}
        assert reader.start == pytest.approx(written[0][1] * 1e-9)
        assert reader.end == pytest.approx(written[-1][1] * 1e-9)


@pytest.mark.parametrize("inside", [False, True], ids=["folder", "file"])
def test_custom_data_comes_back_from_the_folder_and_from_its_file(bag: Path, inside: bool) -> None:
    with BagReader(storage_file(bag) if inside else bag) as reader:
        assert reader.custom_data == CUSTOM


def test_other_readers_understand_the_bag(bag: Path, written: list[Row]) -> None:
    with Reader(bag) as reader:
        assert reader.message_count == COUNT
        assert {c.topic for c in reader.connections} == {"/uwb/range", "/uwb/power"}
        assert [bytes(data) for _, _, data in reader.messages()] == [data for _, _, data in written]


def test_topics_are_filtered_and_remapped(bag: Path) -> None:
    with BagReader(bag, remap={"/uwb/range": "tag0/uwb/range"}) as reader:
        assert set(reader.topics) == {"tag0/uwb/range", "uwb/power"}
        assert {topic for topic, _, _ in reader.raw(["/tag0/uwb/range"])} == {"tag0/uwb/range"}
        assert list(reader.raw(["nothing"])) == []


def test_two_topics_are_never_remapped_into_one(bag: Path) -> None:
    with pytest.raises(BagError, match=r"gives uwb/\w+ and uwb/\w+ one name, uwb/range: remap the one"):
        BagReader(bag, remap={"uwb/power": "uwb/range"})
    with BagReader(bag, remap={"uwb/power": "uwb/range", "uwb/range": "uwb/power"}) as reader:
        assert reader.topics["uwb/power"] == "sensor_msgs/msg/Range"


def test_remapping_a_missing_topic_names_what_there_is(bag: Path) -> None:
    with pytest.raises(BagError, match="no topic range to remap; it has uwb/power, uwb/range"):
        BagReader(bag, remap={"range": "uwb/range"})


def test_typed_messages_come_back(bag: Path) -> None:
    with BagReader(bag) as reader:
        topic, stamp, message = next(reader.messages(["uwb/range"]))
        assert (topic, message.header.frame_id, message.range) == ("uwb/range", "a1", 0.125)
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_bag_is_read_up_to_the_cut(
    bag: Path, written: list[Row], share: float, caplog: pytest.LogCaptureFixture
) -> None:
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with caplog.at_level(logging.WARNING), BagReader(bag) as reader:
        read = list(reader.raw())
        assert reader.damage
        assert "read up to the damage" in caplog.text
        assert reader.custom_data == CUSTOM
        assert sum(reader.counts.values()) >= len(read)  # of a whole index, which knows what is lost
    assert read == written[: len(read)]
    assert len(read) > 0.8 * share * COUNT


def test_a_bag_whose_recorder_was_killed_is_read(bag: Path, written: list[Row]) -> None:
    (bag / "metadata.yaml").unlink()
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 9 // 10])
    with BagReader(bag) as reader:
        assert reader.damage
        read = list(reader.raw())
    assert len(read) > 0.7 * COUNT
    assert read == written[: len(read)]


def test_a_complete_file_without_metadata_is_read_whole(bag: Path, written: list[Row]) -> None:
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert "metadata.yaml is missing" in str(reader.damage)
        assert list(reader.raw()) == written


def test_unreadable_metadata_does_not_hide_the_messages(bag: Path, written: list[Row]) -> None:
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with BagReader(bag) as reader:
        assert "metadata.yaml" in str(reader.damage)
        assert list(reader.raw()) == written


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_cut_compressed_chunk_gives_its_beginning(tmp_path: Path, compression: str) -> None:
    def record(opcode: int, body: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(body)) + body

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    schema = record(3, struct.pack("<H", 1) + text(cdr.RANGE) + text("ros2msg") + text("float32 x"))
    channel = record(4, struct.pack("<HH", 1, 1) + text("/uwb/range") + text("cdr") + struct.pack("<I", 0))
    noise = [os.urandom(1000) for _ in range(1000)]
    messages = b"".join(
        record(5, struct.pack("<HIQQ", 1, i, 10**9 + i, 10**9 + i) + data) for i, data in enumerate(noise)
    )
    inner = schema + channel + messages
    packed = zstd.compress(inner) if compression == "zstd" else lz4.frame.compress(inner)
    head = struct.pack("<QQQI", 0, 0, len(inner), 0) + text(compression) + struct.pack("<Q", len(packed))
    whole = b"\x89MCAP0\r\n" + record(1, text("ros2") + text("")) + record(6, head + packed)
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with BagReader(path) as reader:
        read = [data for _, _, data in reader.raw()]
    assert read == noise[: len(read)]
    assert len(read) > 300


@pytest.mark.parametrize("size", [0, 7, 8, 40, 99])
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_file_with_nothing_readable_is_refused(tmp_path: Path, suffix: str, size: int) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(
        (b"\x89MCAP0\r\n" if suffix == ".mcap" else b"SQLite format 3\0").ljust(size, b"\1")[:size]
    )
    with pytest.raises(BagError, match="not a readable bag: no message can be read"):
        BagReader(path)


def test_flipped_bytes_stop_the_reading_or_change_nothing_before_them(bag: Path, written: list[Row]) -> None:
    file = storage_file(bag)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = os.urandom(4000)
    file.write_bytes(data)
    with BagReader(bag) as reader:
        read = list(reader.raw())
    assert read[: COUNT // 3] == written[: COUNT // 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no bag at"),
        (lambda p: p.mkdir(), "holds no .mcap and no .db3 file"),
        (lambda p: p.write_text("hello"), "expected a rosbag2 folder, a .mcap or a .db3 file"),
    ],
)
def test_what_is_no_bag_is_named(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]
    with pytest.raises(BagError, match=message):
        BagReader(path)


def test_a_file_compressed_bag_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "x_0.mcap.zstd").write_bytes(b"")
    with pytest.raises(BagError, match="ros2 bag convert"):
        BagReader(tmp_path)


def test_a_bag_is_never_overwritten(bag: Path) -> None:
    with pytest.raises(BagError, match="exists already"):
        BagWriter(bag)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_bag_that_is_given_up_or_interrupted_is_not_left_half(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), BagWriter(tmp_path / "x") as bag:
        bag.write("uwb/range", cdr.RANGE, 1, rows(2)[1][2])
        raise error
    assert not (tmp_path / "x").exists()


def test_a_topic_keeps_its_type(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "x") as bag:
        bag.write("uwb/range", cdr.RANGE, 1, rows(2)[1][2])
        with pytest.raises(BagError, match="recorded as sensor_msgs/msg/Range, not as"):
            bag.write("uwb/range", cdr.IMU, 2, b"")
        with pytest.raises(BagError, match="cannot record x of type no_msgs/msg/Such"):
            bag.write("x", "no_msgs/msg/Such", 2, b"")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_custom_type_is_read_by_the_definition_in_the_bag(tmp_path: Path, storage: str) -> None:
    definition = "string name\nfloat64[] distances\nmy_msgs/Quality quality\n" + "=" * 80
    definition += "\nMSG: my_msgs/Quality\nuint8 level\n"
    data = b"\0\1\0\0" + struct.pack("<I4sIIddB", 4, b"an1\0", 2, 0, 1.5, 2.5, 7)
    with BagWriter(tmp_path / "x", storage=storage) as bag:
        bag.add_topic("radio", "my_msgs/msg/Ranges", definition)
        bag.write("radio", "my_msgs/msg/Ranges", 5, data)
    with BagReader(tmp_path / "x") as reader:
        _, _, message = next(reader.messages())
    assert (message.name, list(message.distances), message.quality.level) == ("an1", [1.5, 2.5], 7)


def test_the_definition_in_the_bag_wins_over_that_of_this_release(tmp_path: Path) -> None:
    humble = "float32 field_of_view\nfloat32 min_range\nfloat32 max_range\nfloat32 range\n"
    with BagWriter(tmp_path / "x") as bag:
        bag.add_topic("range", cdr.RANGE, humble)
        bag.write("range", cdr.RANGE, 5, b"\0\1\0\0" + struct.pack("<4f", 0, 0, 9, 2.5))
    with BagReader(tmp_path / "x") as reader:
        _, _, message = next(reader.messages())
    assert message.range == 2.5
    assert not hasattr(message, "variance")


def test_bytes_that_are_no_such_message_are_named(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "x") as bag:
        bag.write("uwb/range", cdr.RANGE, 1, b"\0\1\0\0\0\0")
    with BagReader(tmp_path / "x") as reader, pytest.raises(BagError, match="bad sensor_msgs/msg/Range on"):
        next(reader.messages())


MEMORY = """
import os, resource, sys
from nn_estimation.bags import BagReader, BagWriter
path, storage, cut = sys.argv[1], sys.argv[2], sys.argv[3] == "cut"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with BagWriter(path, storage=storage) as bag:
    for i in range(300):
        bag.write("blob", "std_msgs/msg/String", i * 10**6, os.urandom(1_000_000))
if cut:
    file = next(os.path.join(path, f) for f in os.listdir(path) if f.endswith((".mcap", ".db3")))
    os.truncate(file, 250_000_000)
with BagReader(path) as bag:
    size = sum(len(data) for _, _, data in bag.raw())
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
@pytest.mark.parametrize("end", ["whole", "cut"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_larger_than_the_memory_given_is_written_and_read(
    tmp_path: Path, storage: str, end: str
) -> None:
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x"), storage, end]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size, growth = map(int, done.stdout.split())
    assert size >= (300_000_000 if end == "whole" else 200_000_000)
    assert growth < 100_000  # [KiB], a third of the bag


def test_a_bag_that_lacks_a_topic_says_what_it_has_and_how_to_name_it(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("imu", cdr.IMU, 1, b"")
    with BagReader(tmp_path / "bag") as reader:
        reader.require({"imu": cdr.IMU})
        reader.expect({"imu": cdr.IMU, "absent": cdr.MAG})
        with pytest.raises(BagError, match="bag has no a, b; it has imu: use --remap or --truth"):
            reader.require({"imu": cdr.IMU, "b": cdr.IMU, "a": cdr.IMU}, "--remap or --truth")
        for check in (reader.require, reader.expect):
            with pytest.raises(
                BagError, match=r"imu of .*bag is sensor_msgs/msg/Imu, .*/MagneticField is needed"
            ):
                check({"imu": cdr.MAG})


def test_the_files_of_a_split_bag_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    for number in range(12):
        with BagWriter(tmp_path / str(number)) as writer:
            writer.write("imu", cdr.IMU, 1 + number, b"")
        storage_file(tmp_path / str(number)).rename(tmp_path / "split" / f"split_{number}.mcap")
    with BagReader(tmp_path / "split") as reader:
        assert [stamp for _, stamp, _ in reader.raw()] == list(range(1, 13))

"""A replayed bag keeps what it was made from: messages, definitions of types, QoS."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from nn_estimation import cdr
from nn_estimation.bags import BagReader, BagWriter
from nn_estimation.replayed import ReplayedBag

STATUS = "my_msgs/msg/Status"
NONE = QosTime(0, 0)
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    NONE,
    NONE,
    QosLiveliness.AUTOMATIC,
    NONE,
    False,
)
RANGE = cdr.encode_range(cdr.RangeMessage(7, "a0", 2.5, 0.0))


def replayed(bag: Path, added: dict[str, tuple[str, bytes]]) -> Path:
    """`bag` with one message of each topic that is added: its type and its bytes."""
    out = bag.with_name("replayed")
    with (
        BagReader(bag) as reader,
        ReplayedBag(reader, out, {topic: kind for topic, (kind, _) in added.items()}) as new,
    ):
        for topic, stamp, data in reader.raw():
            new.keep(topic, stamp, data)
        for topic, (_, data) in added.items():
            new.add(topic, 10, data)
    return out


def test_a_topic_of_a_foreign_type_is_kept_with_its_definition(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("driver/status", STATUS, "uint8 level\n")
        writer.write("driver/status", STATUS, 5, b"\0\1\0\0\3")
    out = replayed(tmp_path / "bag", {"uwb/range_corrected": (cdr.RANGE, RANGE)})
    with BagReader(out) as reader:
        assert reader.topics == {"driver/status": STATUS, "uwb/range_corrected": cdr.RANGE}
        assert [message.level for _, _, message in reader.messages(["driver/status"])] == [3]


def test_a_foreign_type_without_a_definition_does_not_end_the_replay(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", storage="sqlite3") as writer:
        writer.add_topic("driver/status", STATUS, "uint8 level\n")
        writer.write("driver/status", STATUS, 5, b"\0\1\0\0\3")
    with closing(sqlite3.connect(next((tmp_path / "bag").glob("*.db3")))) as database:
        database.execute("DELETE FROM message_definitions")  # as recorded by Humble
        database.commit()
    out = replayed(tmp_path / "bag", {"uwb/range_corrected": (cdr.RANGE, RANGE)})
    with BagReader(tmp_path / "bag") as before, BagReader(out) as after:
        assert list(after.raw(before.topics)) == list(before.raw())


def test_a_latched_topic_stays_latched_even_without_a_message(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    writer.open()
    store = get_typestore(Stores.ROS2_JAZZY)
    for topic in ("/tf_static", "/tf_none"):
        connection = writer.add_connection(
            topic, "tf2_msgs/msg/TFMessage", typestore=store, offered_qos_profiles=[LATCHED]
        )
        if topic == "/tf_static":
            writer.write(connection, 5, b"\0\1\0\0" + bytes(4))
    writer.close()
    with Reader(replayed(tmp_path / "bag", {"uwb/range_corrected": (cdr.RANGE, RANGE)})) as reader:
        offered = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    assert offered == {"/tf_static": [LATCHED], "/tf_none": [LATCHED], "/uwb/range_corrected": []}


@pytest.mark.parametrize("end", ["folder", "file"])
def test_ranges_of_humble_and_corrected_ones_are_read_from_one_bag(tmp_path: Path, end: str) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    writer.open()
    connection = writer.add_connection("/uwb/range", cdr.RANGE, typestore=store)
    writer.write(connection, 5, RANGE[:-4])
    writer.close()
    corrected = cdr.patch_range(RANGE[:-4], 2.0, 0.25)
    out = replayed(tmp_path / "bag", {"uwb/range_corrected": (cdr.RANGE, corrected)})
    with BagReader(out if end == "folder" else next(out.glob("*.mcap"))) as reader:
        found = {topic: (m.range, m.variance) for topic, _, m in reader.messages()}
    assert found == {"uwb/range": (2.5, 0.0), "uwb/range_corrected": (2.0, 0.25)}


def test_ranges_of_humble_stay_as_they_are_where_none_are_added(tmp_path: Path) -> None:
    humble = "float32 field_of_view\nfloat32 min_range\nfloat32 max_range\nfloat32 range\n"
    data = b"\0\1\0\0" + struct.pack("<4f", 0, 0, 9, 2.5)
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("sonar", cdr.RANGE, humble)
        writer.write("sonar", cdr.RANGE, 5, data)
    with BagReader(replayed(tmp_path / "bag", {"imu/bias": (cdr.VECTOR3, bytes(48))})) as reader:
        assert list(reader.raw(["sonar"])) == [("sonar", 5, data)]
        assert next(reader.messages(["sonar"]))[2].range == 2.5

"""What can still be read of a bag whose recording was cut off: no index, half a chunk, a torn database."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import lz4.frame
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6
_MAX_RECORD = 1 << 30
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


class SalvageError(ValueError):
    """Not even the beginning can be read."""


class Salvage:
    """The readable beginning of .mcap or .db3 files, with the face of rosbags' Reader.

    Args:
        files: in recording order.

    Raises:
        SalvageError: no message is readable.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.connections: list[Connection] = []
        self.message_count, self.start_time, self.end_time = 0, 2**63 - 1, 0
        counts: dict[tuple[str, str], int] = {}
        definitions: dict[tuple[str, str], MessageDefinition] = {}
        for topic, msgtype, definition, stamp, _ in self._scan():
            counts[topic, msgtype] = counts.get((topic, msgtype), 0) + 1
            definitions[topic, msgtype] = definition
            self.start_time, self.end_time = min(self.start_time, stamp), max(self.end_time, stamp + 1)
        if not counts:
            raise SalvageError(f"no message can be read from {', '.join(map(str, files))}")
        for index, ((topic, msgtype), count) in enumerate(counts.items()):
            extra = ConnectionExtRosbag2("cdr", [])
            definition = definitions[topic, msgtype]
            self.connections.append(Connection(index, topic, msgtype, definition, "", count, extra, self))
        self.message_count = sum(counts.values())

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, log time [ns], CDR bytes) up to the damage."""
        wanted = {(c.topic, c.msgtype): c for c in connections}
        for topic, msgtype, _, stamp, data in self._scan():
            connection = wanted.get((topic, msgtype))
            if connection is not None:
                yield connection, stamp, data

    def close(self) -> None:
        """Nothing is held open."""

    def _scan(self) -> Iterator[tuple[str, str, MessageDefinition, int, bytes]]:
        for path in self._files:
            yield from _scan_mcap(path) if path.suffix == ".mcap" else _scan_sqlite(path)


def _scan_sqlite(path: Path) -> Iterator[tuple[str, str, MessageDefinition, int, bytes]]:
    none = MessageDefinition(MessageDefinitionFormat.NONE, "")
    data = bytearray(path.read_bytes())
    if not data.startswith(b"SQLite format 3\0") or len(data) < 100:
        return
    page = int.from_bytes(data[16:18], "big")
    page = 65536 if page == 1 else page
    # sqlite refuses a file shorter than its header says; with the true number of pages it reads those.
    del data[len(data) // page * page :]
    data[28:32] = (len(data) // page).to_bytes(4, "big")
    connection = sqlite3.connect(":memory:")
    connection.deserialize(bytes(data))
    try:
        topics = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, name, type FROM topics")}
        rows = connection.execute("SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id")
        for topic, stamp, cdr in rows:
            if topic in topics:
                yield (*topics[topic], none, stamp, cdr)
    except sqlite3.DatabaseError:
        return
    finally:
        connection.close()


def _scan_mcap(path: Path) -> Iterator[tuple[str, str, MessageDefinition, int, bytes]]:
    schemas: dict[int, tuple[str, MessageDefinition]] = {}
    channels: dict[int, tuple[str, str, MessageDefinition]] = {}
    with path.open("rb") as file:
        if file.read(8) != _MAGIC:
            return
        try:
            for opcode, record in _records(file):
                if opcode == _CHUNK:
                    inner = _unpack_chunk(record)
                    messages = [m for m in (_take(*r, schemas, channels) for r in _split(inner)) if m]
                    yield from sorted(messages, key=lambda message: message[3])
                elif message := _take(opcode, record, schemas, channels):
                    yield message
        except (struct.error, UnicodeDecodeError, RuntimeError, ValueError, zstd.ZstdError):
            return


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while len(head := file.read(9)) == 9:
        opcode, size = struct.unpack("<BQ", head)
        if size > _MAX_RECORD or len(record := file.read(size)) < size:
            return
        yield opcode, record


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, at)
        yield opcode, data[at + 9 : at + 9 + size]
        at += 9 + size


def _unpack_chunk(record: bytes) -> bytes:
    compression, at = _text(record, 28)
    data = record[at + 8 :]
    if compression == "zstd":
        return zstd.decompress(data)
    return lz4.frame.decompress(data) if compression == "lz4" else data


def _text(record: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", record, at)
    return record[at + 4 : at + 4 + size].decode(), at + 4 + size


def _take(
    opcode: int,
    record: bytes,
    schemas: dict[int, tuple[str, MessageDefinition]],
    channels: dict[int, tuple[str, str, MessageDefinition]],
) -> tuple[str, str, MessageDefinition, int, bytes] | None:
    """A message, or note a schema or channel and return None."""
    if opcode == _SCHEMA:
        name, at = _text(record, 2)
        encoding, at = _text(record, at)
        text, _ = _text(record, at)
        style = _FORMATS.get(encoding, MessageDefinitionFormat.NONE)
        schemas[struct.unpack_from("<H", record)[0]] = (name, MessageDefinition(style, text))
    elif opcode == _CHANNEL:
        channel, schema = struct.unpack_from("<HH", record)
        topic, _ = _text(record, 4)
        if schema in schemas:
            channels[channel] = (topic, *schemas[schema])
    elif opcode == _MESSAGE:
        channel, _, stamp, _ = struct.unpack_from("<HIQQ", record)
        if channel in channels:
            return (*channels[channel], stamp, record[22:])
    return None

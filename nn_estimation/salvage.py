"""What can still be read of a bag whose recording was cut off: no index, half a chunk, a torn database."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import sys
import tempfile
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
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "readable.db3"
        if not _repair_sqlite(path, copy):
            return
        connection = sqlite3.connect(copy)
        try:
            rows = connection.execute("SELECT id, name, type FROM topics")
            topics = {number: (name, msgtype) for number, name, msgtype in rows}
            rows = connection.execute(
                "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
            )
            for topic, stamp, cdr in rows:
                if topic in topics:
                    yield (*topics[topic], none, stamp, cdr)
        except sqlite3.DatabaseError:
            return
        finally:
            connection.close()


def _repair_sqlite(path: Path, copy: Path) -> bool:
    """Copy a database; sqlite refuses one shorter than its header says, so the true number of pages is put in."""
    shutil.copyfile(path, copy)
    with copy.open("r+b") as file:
        head = file.read(100)
        if not head.startswith(b"SQLite format 3\0") or len(head) < 100:
            return False
        page = int.from_bytes(head[16:18], "big")
        page = 65536 if page == 1 else page
        pages = copy.stat().st_size // max(page, 1)
        file.truncate(pages * page)
        file.seek(28)
        file.write(pages.to_bytes(4, "big"))
    return True


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
        if size > _MAX_RECORD:
            return
        record = file.read(size)
        if len(record) == size or opcode == _CHUNK:
            yield opcode, record


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, at)
        if at + 9 + size > len(data):
            return
        yield opcode, data[at + 9 : at + 9 + size]
        at += 9 + size


def _unpack_chunk(record: bytes) -> bytes:
    """What is readable of a chunk, which may have been cut."""
    compression, at = _text(record, 28)
    data = record[at + 8 :]
    if compression == "zstd":
        return zstd.ZstdDecompressor().decompress(data)
    return lz4.frame.LZ4FrameDecompressor().decompress(data) if compression == "lz4" else data


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

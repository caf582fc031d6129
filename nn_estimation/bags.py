"""rosbag2 in and out: MCAP and sqlite3, streaming, through the rosbags library."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from nn_estimation.salvage import Salvage, SalvageError

_LOG = logging.getLogger(__name__)
_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_SUFFIXES = {".mcap": "mcap", ".db3": "sqlite3"}
NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")
_NO_DIGEST = f"RIHS01_{0:064d}"  # of a type whose definition nobody has


class BagError(ValueError):
    """A bag that cannot be read or written; the message names it."""


class BagReader:
    """A rosbag2 folder, or one of its .mcap or .db3 files, message by message.

    A bag whose recording was cut off (no metadata.yaml, no index, half a chunk) is read up to the damage; `damage`
    says what is wrong and a warning is logged.

    Args:
        path: of the folder or the file.
        remap: topic in the bag -> name it is given here.

    Attributes:
        topics: topic -> message type.
        connections: topic -> what the bag says of it: type, definition, QoS.
        counts: topic -> number of messages.
        damage: what is wrong with the file.

    Raises:
        BagError: nothing there, no bag, nothing readable in it, or a remap that does not fit its topics.
    """

    def __init__(self, path: str | Path, remap: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self.damage: str | None = None
        self._remap = {_plain(a): _plain(b) for a, b in (remap or {}).items()}
        if not self.path.exists():
            raise BagError(f"no bag at {self.path}")
        files = _storage_files(self.path)
        self.storage = _SUFFIXES[files[0].suffix]
        self._reader: Reader | Salvage = self._open(files)
        connections = self._reader.connections
        self._names = {c.id: self._renamed(c.topic) for c in connections}
        if missing := set(self._remap) - {_plain(c.topic) for c in connections}:
            known = ", ".join(sorted(_plain(c.topic) for c in connections))
            self.close()
            raise BagError(f"{self.path} has no topic {', '.join(sorted(missing))} to remap; it has {known}")
        self._refuse_two_of_one_name()
        self.topics = {self._names[c.id]: c.msgtype for c in connections}
        self.connections = {self._names[c.id]: c for c in connections}
        self.counts = {topic: 0 for topic in self.topics}
        for connection in connections:
            self.counts[self._names[connection.id]] += connection.msgcount
        self.custom_data = _custom_data(self.path)
        self.start = self._reader.start_time * 1e-9 if self._reader.message_count else 0.0
        self.end = self._reader.end_time * 1e-9 if self._reader.message_count else 0.0

    def _refuse_two_of_one_name(self) -> None:
        origin: dict[str, str] = {}
        for connection in self._reader.connections:
            name, topic = self._names[connection.id], _plain(connection.topic)
            if (other := origin.setdefault(name, topic)) != topic:
                self.close()
                raise BagError(
                    f"{self.path}: the remap gives {other} and {topic} one name, {name}: "
                    "remap the one that is not wanted to another name"
                )

    def _open(self, files: list[Path]) -> Reader | Salvage:
        wanted = self.path
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            self._warn("metadata.yaml is missing: the recording was not finished")
            if len(files) > 1:
                return self._salvage(files)
            wanted = files[0]
        try:
            reader = Reader(wanted)
            reader.open()
        except Exception as error:  # whatever struct, zstd, sqlite make of damaged bytes
            self._warn(_first_line(error))
            return self._salvage(files)
        return reader

    def _salvage(self, files: list[Path]) -> Salvage:
        try:
            return Salvage(files)
        except SalvageError as error:
            raise BagError(f"{self.path} is not a readable bag: {error}") from error

    def _warn(self, damage: str) -> None:
        self.damage = damage
        _LOG.warning("%s is damaged (%s): it is read up to the damage", self.path, damage)

    def _renamed(self, topic: str) -> str:
        return self._remap.get(_plain(topic), _plain(topic))

    def require(self, topics: Mapping[str, str], way_out: str = "--remap") -> None:
        """Refuse a bag without these topics, or with other types of them.

        Args:
            topics: without leading slash -> message type.
            way_out: options that give a topic its own name.

        Raises:
            BagError: some are missing, or of another type.
        """
        if missing := sorted(set(topics) - set(self.topics)):
            has = ", ".join(sorted(self.topics))
            raise BagError(f"{self.path} has no {', '.join(missing)}; it has {has}: use {way_out}")
        self.expect(topics, way_out)

    def expect(self, topics: Mapping[str, str], way_out: str = "--remap") -> None:
        """Refuse topics of another type than they are read as; the bag need not have them.

        Args:
            topics: without leading slash -> message type.
            way_out: options that give a topic its own name.

        Raises:
            BagError: one is of another type.
        """
        for topic, wanted in topics.items():
            if (found := self.topics.get(topic, wanted)) != wanted:
                raise BagError(f"{topic} of {self.path} is {found}, {wanted} is needed: use {way_out}")

    def raw(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, log time [ns], CDR bytes) in log order; only of `topics` if given.

        Topics have no leading slash.
        """
        for connection, stamp, data in self._connections_of(topics):
            yield self._names[connection.id], stamp, data

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """(topic, log time [ns], message) in log order, types taken from the bag's own schema.

        Raises:
            BagError: a type that neither the bag nor ROS defines, or bytes that are no such message.
        """
        stores: dict[int, Typestore] = {}
        for connection, stamp, data in self._connections_of(topics):
            if connection.id not in stores:
                stores[connection.id] = self._typestore(connection)
            try:
                message = stores[connection.id].deserialize_cdr(data, connection.msgtype)
            except Exception as error:
                raise BagError(
                    f"{self.path}: bad {connection.msgtype} on {connection.topic}: {error}"
                ) from error
            yield self._names[connection.id], stamp, message

    def _typestore(self, connection: Connection) -> Typestore:
        style, text, name = connection.msgdef.format, connection.msgdef.data, connection.msgtype
        try:
            store = _types_of(style, text, name)
        except Exception as error:
            raise BagError(f"{self.path}: cannot read the definition of {name}: {error}") from error
        if name not in store.fielddefs:
            raise BagError(f"{self.path}: the type {name} of {connection.topic} is not in the bag")
        return store

    def _connections_of(self, topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = None if topics is None else {_plain(topic) for topic in topics}
        chosen = [c for c in self._reader.connections if wanted is None or self._names[c.id] in wanted]
        if not chosen:
            return
        try:
            yield from self._reader.messages(chosen)
        except Exception as error:  # whatever struct, zstd, sqlite make of damaged bytes
            self._warn(_first_line(error))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BagWriter:
    """A new rosbag2 folder; a context manager, finished on exit, removed if that is by an error or interrupt.

    Args:
        path: of the folder; made with its parents, must not exist.
        storage: mcap or sqlite3.
        custom_data: into the metadata.

    Raises:
        BagError: the folder exists or cannot be made, or the storage is unknown.
    """

    def __init__(
        self, path: str | Path, *, storage: str = "mcap", custom_data: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(path)
        if storage not in _STORAGE:
            raise BagError(f"unknown storage {storage}: use mcap or sqlite3")
        if self.path.exists():
            raise BagError(f"{self.path} exists already: remove it or choose another name")
        self._connections: dict[str, Connection] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(self.path, version=9, storage_plugin=_STORAGE[storage])
            for key, value in (custom_data or {}).items():
                self._writer.set_custom_data(key, value)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"cannot write a bag to {self.path}: {error}") from error

    def write(self, topic: str, msgtype: str, stamp_ns: int, cdr: bytes) -> None:
        """Append a message; the topic is created on first use.

        Args:
            topic: with or without leading slash; stored with one.
            msgtype: such as sensor_msgs/msg/Range.
            stamp_ns: log time [ns].
            cdr: serialised message with its 4 byte header.

        Raises:
            BagError: a type ROS does not define, or another than the topic had before.
        """
        connection = self._connections.get(topic)
        if connection is None:
            try:
                connection = self._writer.add_connection(
                    "/" + _plain(topic), msgtype, typestore=get_typestore(Stores.ROS2_KILTED)
                )
            except Exception as error:
                raise BagError(f"cannot record {topic} of type {msgtype}: {error}") from error
            self._connections[topic] = connection
        elif connection.msgtype != msgtype:
            raise BagError(f"{topic} is recorded as {connection.msgtype}, not as {msgtype}")
        self._writer.write(connection, stamp_ns, cdr)

    def copy_topic(self, topic: str, source: Connection) -> None:
        """Announce a topic as another bag has it: its type, the definition of that, and its QoS.

        Args:
            topic: with or without leading slash.
            source: of the other bag.

        Raises:
            BagError: it cannot be announced.
        """
        definition, msgtype, store = source.msgdef, source.msgtype, get_typestore(Stores.ROS2_KILTED)
        own: dict[str, Any] = {"typestore": store}
        if definition.format != MessageDefinitionFormat.NONE or msgtype not in store.fielddefs:
            own = {"msgdef": definition.data, "rihs01": source.digest or _digest(source)}
        if isinstance(source.ext, ConnectionExtRosbag2):
            own["offered_qos_profiles"] = source.ext.offered_qos_profiles
        try:
            self._connections[topic] = self._writer.add_connection("/" + _plain(topic), msgtype, **own)
        except Exception as error:
            raise BagError(f"cannot record {topic} of type {msgtype}: {error}") from error

    def add_topic(self, topic: str, msgtype: str, definition: str) -> None:
        """Announce a topic of a type that ROS does not define.

        Args:
            topic: with or without leading slash.
            msgtype: such as my_msgs/msg/Ranges.
            definition: its .msg text, types it uses below lines of `=` as in a bag.

        Raises:
            BagError: the definition cannot be read.
        """
        try:
            store = _types_of(MessageDefinitionFormat.MSG, definition, msgtype)
            digest = store.hash_rihs01(msgtype)
        except Exception as error:
            raise BagError(f"cannot read the definition of {msgtype}: {error}") from error
        self._connections[topic] = self._writer.add_connection(
            "/" + _plain(topic), msgtype, msgdef=definition, rihs01=digest
        )

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def _digest(source: Connection) -> str:
    """Hash of a type by its definition in a bag that says none."""
    try:
        return _types_of(source.msgdef.format, source.msgdef.data, source.msgtype).hash_rihs01(source.msgtype)
    except Exception:  # whatever the parser makes of it: who plays the bag does not look at the hash
        return _NO_DIGEST


def _plain(topic: str) -> str:
    return topic.lstrip("/")


def _storage_files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise BagError(f"{path} is no bag: expected a rosbag2 folder, a .mcap or a .db3 file")
        return [path]
    for suffix in _SUFFIXES:
        if files := sorted(path.glob(f"*{suffix}"), key=_split):
            return files
    if any(path.glob("*.zstd")):
        raise BagError(f"{path} is compressed as files: run `ros2 bag convert` on it first")
    raise BagError(f"{path} is no bag: it holds no .mcap and no .db3 file")


def _split(file: Path) -> tuple[str, int]:
    """Name of a bag and number of its file: NAME_10 comes after NAME_9."""
    name = file.stem.rstrip("0123456789")
    return name, int(file.stem[len(name) :] or 0)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _custom_data(path: Path) -> dict[str, str]:
    """From metadata.yaml in the folder or beside the file; empty where it says nothing of this bag."""
    folder = path if path.is_dir() else path.parent
    try:
        information = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        if path.is_file() and path.name not in information["relative_file_paths"]:
            return {}
        return {str(key): str(value) for key, value in (information.get("custom_data") or {}).items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return {}


@lru_cache
def _types_of(style: MessageDefinitionFormat, text: str, name: str) -> Typestore:
    """The bag's own definition where it has one: messages change between ROS releases."""
    if style == MessageDefinitionFormat.NONE:
        return get_typestore(Stores.ROS2_KILTED)
    store = get_typestore(Stores.EMPTY)
    store.register(
        get_types_from_msg(text, name) if style == MessageDefinitionFormat.MSG else get_types_from_idl(text)
    )
    return store

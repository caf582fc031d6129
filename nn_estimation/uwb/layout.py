"""The layout: where the anchors stand and where the tags sit on the body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

_ANCHOR_KEYS = {"position", "orientation", "yaw_deg"}
_TAG_KEYS = {*_ANCHOR_KEYS, "topic"}
BELOW, ABOVE = "below", "above"
FLAT = 0.1  # [m] about a plane within which anchors do not tell one side of it from the other
_FORMAT = "anchors: {a0: {position: [x, y, z]}}, tags: {tag: {position: [x, y, z], yaw_deg: 0}}"


class LayoutError(ValueError):
    """A layout that cannot be used; the message names the entry."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """A fixed transceiver."""

    name: str
    position: np.ndarray  # (3,) [m], map frame
    R_world_anchor: np.ndarray = field(default_factory=lambda: np.eye(3))  # (3, 3) of its antenna


@dataclass(frozen=True, eq=False)
class Tag:
    """A transceiver on the body."""

    name: str
    position: np.ndarray  # (3,) lever arm [m], base_link frame
    R_body_tag: np.ndarray = field(default_factory=lambda: np.eye(3))  # (3, 3) of its antenna
    topic: str | None = None  # prefix of its topics; default: its name, none for a lone `tag`


class Layout:
    """Anchors and tags, by name and as arrays.

    Args:
        anchors: at least one, names unique.
        tags: at least one, names unique.
        planar_z: height of base_link [m] where the body moves in a plane (roll = pitch = 0), else None.
        above: whether the body is above anchors that are all in one plane, whose ranges do not tell.

    Raises:
        LayoutError: no anchor, no tag, a name or topic used twice, or a name with `-` (it separates the two
            anchors of a TDoA link).
    """

    def __init__(
        self,
        anchors: tuple[Anchor, ...],
        tags: tuple[Tag, ...],
        planar_z: float | None = None,
        above: bool = False,
    ) -> None:
        for what, items in (("anchor", anchors), ("tag", tags)):
            names = [item.name for item in items]  # type: ignore[attr-defined]
            if not names:
                raise LayoutError(f"the layout has no {what}s; expected {_FORMAT}")
            for name in names:
                if names.count(name) > 1:
                    raise LayoutError(f"two {what}s are called {name}: every {what} needs its own name")
                if "-" in name:
                    raise LayoutError(
                        f"{what} name {name} contains '-', which separates the anchors of a TDoA link"
                    )
        self.anchors, self.tags, self.planar_z, self.above = tuple(anchors), tuple(tags), planar_z, above
        self.anchor_index = {anchor.name: index for index, anchor in enumerate(anchors)}
        self.tag_index = {tag.name: index for index, tag in enumerate(tags)}
        topics = [self.tag_topic(tag.name, "range") for tag in tags]
        for topic in topics:
            if topics.count(topic) > 1:
                raise LayoutError(f"two tags have the topic {topic}: every tag needs its own")

    @cached_property
    def anchor_positions(self) -> np.ndarray:
        """(A, 3) [m], map frame."""
        return np.array([anchor.position for anchor in self.anchors], dtype=np.float64)

    @property
    def mirrored(self) -> bool:
        """Whether ranges fit as well on the other side of the anchors."""
        if self.planar_z is not None:
            return False
        off = self.anchor_positions - self.anchor_positions.mean(axis=0)
        return bool(np.linalg.eigvalsh(off.T @ off)[0] < len(off) * FLAT**2)

    @cached_property
    def tag_positions(self) -> np.ndarray:
        """(T, 3) [m], base_link frame."""
        return np.array([tag.position for tag in self.tags], dtype=np.float64)

    @cached_property
    def R_world_anchor(self) -> np.ndarray:
        """(A, 3, 3)."""
        return np.ascontiguousarray([anchor.R_world_anchor for anchor in self.anchors], dtype=np.float64)

    @cached_property
    def R_body_tag(self) -> np.ndarray:
        """(T, 3, 3)."""
        return np.ascontiguousarray([tag.R_body_tag for tag in self.tags], dtype=np.float64)

    def tag_topic(self, tag: str, kind: str) -> str:
        """Topic of a tag, such as `tag0/uwb/range`; kind is range, tdoa, power or range_corrected."""
        prefix = self.tags[self.tag_index[tag]].topic
        if prefix is None:
            prefix = "" if len(self.tags) == 1 and tag == "tag" else tag
        return f"{prefix}/uwb/{kind}" if prefix else f"uwb/{kind}"

    @classmethod
    def from_yaml(cls, source: str | Path) -> Layout:
        """Read a layout from YAML text, or from a file when given a Path or the path of a .yaml/.yml file.

        Raises:
            LayoutError: unreadable, empty, duplicate names, unknown keys, or positions that are not three
                finite numbers.
        """
        name = "the layout"
        if isinstance(source, Path) or ("\n" not in source and source.endswith((".yaml", ".yml"))):
            name = str(source)
            try:
                source = Path(source).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise LayoutError(f"cannot read {name}: {error}") from error
        try:
            tree = yaml.load(source, Loader=_UniqueKeys)
        except LayoutError as error:
            raise LayoutError(f"{name}: {error}") from None
        except yaml.YAMLError as error:
            raise LayoutError(f"{name} is not valid YAML: {error}") from error
        if not tree:
            raise LayoutError(f"{name} is empty; expected {_FORMAT}")
        if not isinstance(tree, Mapping):
            raise LayoutError(f"{name} has no keys anchors and tags; expected {_FORMAT}")
        if unknown := set(tree) - {"anchors", "tags", "planar", "side"}:
            raise LayoutError(
                f"{name} has unknown keys {sorted(map(str, unknown))}; known: anchors, tags, planar, side"
            )
        try:
            anchors = [
                Anchor(key, _vector(entry, f"anchor {key}"), _rotation(entry, f"anchor {key}"))
                for key, entry in _entries(tree, "anchors", _ANCHOR_KEYS)
            ]
            tags = [
                Tag(key, _vector(entry, f"tag {key}"), _rotation(entry, f"tag {key}"), entry.get("topic"))
                for key, entry in _entries(tree, "tags", _TAG_KEYS)
            ]
            side = tree.get("side", BELOW)
            if side not in (BELOW, ABOVE):
                raise LayoutError(
                    f"side is {side!r}; expected {BELOW} or {ABOVE}, where the tags are of the anchors"
                )
            return cls(tuple(anchors), tuple(tags), _planar_z(tree.get("planar")), side == ABOVE)
        except LayoutError as error:
            raise LayoutError(f"{name}: {error}") from None

    def to_yaml(self) -> str:
        """YAML text that `from_yaml` reads back to the same layout."""
        tree: dict[str, Any] = {
            "anchors": {a.name: _entry(a.position, a.R_world_anchor) for a in self.anchors},
            "tags": {t.name: _entry(t.position, t.R_body_tag) for t in self.tags},
        }
        for tag in self.tags:
            if tag.topic is not None:
                tree["tags"][tag.name]["topic"] = tag.topic
        if self.planar_z is not None:
            tree["planar"] = {"z": float(self.planar_z)}
        if self.above:
            tree["side"] = ABOVE
        return yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a key repeat and keeps the last; a second anchor of one name must not vanish like that."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
    for key in keys:
        if keys.count(key) > 1:
            raise LayoutError(f"{key} is given twice: every anchor and tag needs its own name")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _entries(tree: Mapping[str, Any], section: str, known: set[str]) -> list[tuple[str, Mapping[str, Any]]]:
    entries = tree.get(section)
    if not isinstance(entries, Mapping) or not entries:
        raise LayoutError(f"no {section}; expected {_FORMAT}")
    for key, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise LayoutError(f"{section} {key} is {entry!r}; expected {{position: [x, y, z]}}")
        if unknown := set(entry) - known:
            raise LayoutError(
                f"{section} {key} has unknown keys {sorted(map(str, unknown))}; known: {sorted(known)}"
            )
    return [(str(key), entry) for key, entry in entries.items()]


def _numbers(value: Any, length: int, what: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise LayoutError(f"{what} is {value!r}; expected {length} finite numbers")
    return array


def _vector(entry: Mapping[str, Any], who: str) -> np.ndarray:
    return _numbers(entry.get("position"), 3, f"position of {who}")


def _rotation(entry: Mapping[str, Any], who: str) -> np.ndarray:
    if "orientation" in entry and "yaw_deg" in entry:
        raise LayoutError(f"{who} has both orientation and yaw_deg: give one")
    if "orientation" in entry:
        quaternion = _numbers(entry["orientation"], 4, f"orientation of {who}")
        if not 0.9 < np.linalg.norm(quaternion) < 1.1:
            raise LayoutError(
                f"orientation of {who} is no unit quaternion [x, y, z, w]: {entry['orientation']}"
            )
        return Rotation.from_quat(quaternion).as_matrix()
    yaw = _numbers([entry.get("yaw_deg", 0.0)], 1, f"yaw_deg of {who}")[0]
    return Rotation.from_euler("z", yaw, degrees=True).as_matrix()


def _planar_z(entry: Any) -> float | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or set(entry) != {"z"}:
        raise LayoutError(f"planar is {entry!r}; expected {{z: height of base_link in m}}")
    return float(_numbers([entry["z"]], 1, "planar z")[0])


def _entry(position: np.ndarray, rotation: np.ndarray) -> dict[str, Any]:
    entry: dict[str, Any] = {"position": [float(x) for x in position]}
    if np.allclose(rotation[2], (0.0, 0.0, 1.0), atol=1e-12):
        yaw = round(math.degrees(math.atan2(rotation[1, 0], rotation[0, 0])), 9)
        if yaw:
            entry["yaw_deg"] = yaw
    else:
        entry["orientation"] = [float(x) for x in Rotation.from_matrix(rotation).as_quat()]
    return entry

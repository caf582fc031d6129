"""Layouts: read as written, refused by name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.layout import Anchor, Layout, LayoutError, Tag

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=8)
vectors = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3).map(np.array)
rotations = st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3).map(
    lambda v: Rotation.from_rotvec(v).as_matrix()
)
layouts = st.builds(
    Layout,
    st.lists(
        st.builds(Anchor, names, vectors, rotations), min_size=1, max_size=4, unique_by=lambda a: a.name
    ),
    st.lists(
        st.builds(Tag, names, vectors, rotations, st.none() | names),
        min_size=1,
        max_size=3,
        unique_by=lambda t: t.name,
    ),
    st.none() | st.floats(-10, 10),
)


@given(layouts)
def test_a_layout_survives_its_yaml(layout: Layout) -> None:
    again = Layout.from_yaml(layout.to_yaml())
    assert list(again.anchor_index) == list(layout.anchor_index)
    assert list(again.tag_index) == list(layout.tag_index)
    assert again.planar_z == layout.planar_z
    np.testing.assert_array_equal(again.anchor_positions, layout.anchor_positions)
    np.testing.assert_array_equal(again.tag_positions, layout.tag_positions)
    np.testing.assert_allclose(again.R_world_anchor, layout.R_world_anchor, atol=1e-7)
    np.testing.assert_allclose(again.R_body_tag, layout.R_body_tag, atol=1e-7)
    assert [t.topic for t in again.tags] == [t.topic for t in layout.tags]


def test_a_file_and_its_text_are_the_same_layout(tmp_path: Path) -> None:
    text = "anchors: {a0: {position: [1, 2, 3], yaw_deg: 90}}\ntags: {tag: {position: [0, 0, 0]}}\n"
    (tmp_path / "anchors.yaml").write_text(text)
    for source in (text, tmp_path / "anchors.yaml", str(tmp_path / "anchors.yaml")):
        layout = Layout.from_yaml(source)
        assert layout.anchor_positions.tolist() == [[1.0, 2.0, 3.0]]
        np.testing.assert_allclose(layout.R_world_anchor[0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


ANCHORS = "anchors: {a0: {position: [0, 0, 0]}}\n"
TAGS = "tags: {tag: {position: [0, 0, 0]}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "is empty"),
        ("- a0\n", "has no keys anchors and tags; expected"),
        ("anchors: {}\n" + TAGS, "no anchors"),
        (TAGS, "no anchors"),
        (ANCHORS, "no tags"),
        (
            "anchors: {a0: {position: [0, 0, 0]}, a0: {position: [1, 0, 0]}}\n" + TAGS,
            "the layout: a0 is given twice",
        ),
        ("anchors: {a0: {position: [0, 0]}}\n" + TAGS, "position of anchor a0 .* expected 3 finite numbers"),
        ("anchors: {a0: {position: [0, 0, .nan]}}\n" + TAGS, "position of anchor a0"),
        ("anchors: {a0: {position: [0, 0, .inf]}}\n" + TAGS, "position of anchor a0"),
        ("anchors: {a0: {position: [0, 0, up]}}\n" + TAGS, "position of anchor a0"),
        ("anchors: {a0: {}}\n" + TAGS, "position of anchor a0"),
        ("anchors: {a0: [0, 0, 0]}\n" + TAGS, "a0 is .* expected"),
        ("anchors: {a0: {position: [0, 0, 0], yaw: 3}}\n" + TAGS, "a0 has unknown keys .*yaw.*; known"),
        ("anchors: {a0: {position: [0, 0, 0], orientation: [0, 0, 0, 2]}}\n" + TAGS, "no unit quaternion"),
        ("anchors: {a-0: {position: [0, 0, 0]}}\n" + TAGS, "a-0 contains '-'"),
        (ANCHORS + TAGS + "planar: 0.5\n", "planar is 0.5; expected"),
        (ANCHORS + TAGS + "frame: map\n", "unknown keys .*frame"),
        (ANCHORS + TAGS + "side: left\n", "side is 'left'; expected below or above"),
        (
            ANCHORS + "tags: {rear: {position: [0, 0, 0]}, tag1: {position: [1, 0, 0], topic: rear}}\n",
            "two tags have the topic rear/uwb/range",
        ),
        ("anchors: [\n", "not valid YAML"),
        (
            "anchors: {a0: {position: [0, 0, 0], orientation: [0, 0, 0, 1], yaw_deg: 3}}\n" + TAGS,
            "both orientation and yaw_deg",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Layout.from_yaml(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"cannot read .*nowhere\.yaml"):
        Layout.from_yaml(tmp_path / "nowhere.yaml")


def test_topics_follow_the_name_of_the_tag_or_its_prefix() -> None:
    anchor = (Anchor("a0", np.zeros(3)),)
    lone = Layout(anchor, (Tag("tag", np.zeros(3)),))
    assert lone.tag_topic("tag", "range") == "uwb/range"
    named = Layout(anchor, (Tag("left", np.zeros(3)), Tag("tag", np.zeros(3), topic="arm")))
    assert named.tag_topic("left", "power") == "left/uwb/power"
    assert named.tag_topic("tag", "tdoa") == "arm/uwb/tdoa"

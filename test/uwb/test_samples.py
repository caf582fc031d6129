from pathlib import Path

import numpy as np
import pytest
from uwb_scene import pattern, write_bag

from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.datasets.recording import Recording, yaw_quaternion
from nn_estimation.uwb.features import POWER_FIELDS
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.samples import SampleError, read_samples

LAYOUT = Layout(
    (Anchor("a", np.array([3.0, 4.0, 0.0])), Anchor("b", np.array([0.0, 10.0, 0.0]))),
    (Tag("tag", np.zeros(3)),),
)


def recording(scored: dict | None = None, truth_until: float = 10.0) -> Recording:
    """A tag that rests at the origin, 5 m from a and 10 m from b, with its truth every 0.1 s."""
    made = Recording("rest", "made up", "CC0-1.0", LAYOUT.to_yaml(), scored or {})
    stamps = np.arange(0.0, truth_until, 0.1)
    made.add_truth(stamps, np.zeros((len(stamps), 3)), yaw_quaternion(np.zeros(len(stamps))))
    return made


def bare(bag: Path) -> Path:
    """The same bag as `ros2 bag record` makes it: without the metadata of this package."""
    out = bag.parent / "bare"
    with BagReader(bag) as source, BagWriter(out) as writer:
        for topic, stamp, data in source.raw():
            writer.write(topic, source.topics[topic], stamp, data)
    return out


def test_error_is_measured_minus_true_for_ranges_and_for_differences(tmp_path: Path) -> None:
    made = recording()
    made.add_range("uwb/range", 1.0, "a", 5.3)
    made.add_range("uwb/tdoa", 2.0, "a-b", 4.8)
    samples = read_samples([made.write(tmp_path)])
    assert samples.links == ("tag|a", "tag|a-b")
    np.testing.assert_allclose(samples.error, [0.3, -0.2], atol=1e-6)  # Range holds float32
    np.testing.assert_allclose(samples.distance, [5.0, 5.0])
    assert samples.is_tdoa and samples.licences == ("CC0-1.0",)


def test_power_joins_the_range_of_its_stamp_and_transmitter(tmp_path: Path) -> None:
    made = recording()
    for stamp in (1.0, 1.1):
        made.add_range("uwb/range", stamp, "a", 5.0)
        made.add_range("uwb/range", stamp, "b", 10.0)
    made.add_power("uwb/power", 1.0, "a", -80.0, -85.0, 20.0)
    made.add_power("uwb/power", 1.1, "tag-b", -70.0, -71.0, np.nan)
    samples = read_samples([made.write(tmp_path)])
    column = {name: samples.power[:, i] for i, name in enumerate(POWER_FIELDS)}
    assert column["rx_power"][0] == -80.0 and column["first_path_power"][0] == -85.0
    assert column["rx_power_far"][3] == -70.0
    assert np.isfinite(samples.power).sum() == 5


def test_only_what_is_scored_and_covered_by_the_truth_is_read(tmp_path: Path) -> None:
    made = recording({"max_abs_error_m": 0.5, "intervals": [[1.0, 3.0], [5.0, 20.0]]}, truth_until=8.0)
    for stamp, value in ((0.5, 5.0), (1.5, 5.1), (2.5, 6.0), (4.0, 5.0), (6.0, 5.2), (9.0, 5.0)):
        made.add_range("uwb/range", stamp, "a", value)
    samples = read_samples([made.write(tmp_path)])
    assert samples.stamp.tolist() == [1.5, 6.0]


def test_a_gap_in_the_truth_is_not_interpolated(tmp_path: Path) -> None:
    made = recording(truth_until=2.0)
    late = np.arange(4.0, 6.0, 0.1)
    made.add_truth(late, np.zeros((len(late), 3)), yaw_quaternion(np.zeros(len(late))))
    for stamp in (1.0, 3.0, 5.0):
        made.add_range("uwb/range", stamp, "a", 5.0)
    assert read_samples([made.write(tmp_path)]).stamp.tolist() == [1.0, 5.0]


def test_unknown_anchors_and_impossible_ranges_are_left_out(tmp_path: Path) -> None:
    made = recording()
    for n, (anchor, value) in enumerate(
        (("a", 5.0), ("x", 5.0), ("a", np.nan), ("a", -1.0), ("a", 0.0), ("a", np.inf))
    ):
        made.add_range("uwb/range", 1.0 + n, anchor, value)
    made.add_range("uwb/tdoa", 7.0, "a-x", 1.0)
    assert len(read_samples([made.write(tmp_path)])) == 1


def test_links_are_numbered_over_all_recordings(tmp_path: Path) -> None:
    first, second = recording(), recording()
    first.add_range("uwb/range", 1.0, "b", 10.0)
    second.name = "again"
    second.add_range("uwb/range", 1.0, "a", 5.0)
    samples = read_samples([first.write(tmp_path), second.write(tmp_path)])
    assert samples.links == ("tag|a", "tag|b")
    assert samples.link.tolist() == [1, 0] and samples.recording.tolist() == [0, 1]
    assert samples.recordings == ("rest", "again")


def test_the_truth_may_be_on_another_topic(tmp_path: Path) -> None:
    made = recording()
    made.add_range("uwb/range", 1.0, "a", 5.0)
    made.events = [
        (*event[:2], event[2].replace("ground_truth/odometry", "mocap"), *event[3:]) for event in made.events
    ]
    path = made.write(tmp_path)
    with pytest.raises(
        SampleError, match="has no truth on ground_truth/odometry: name its topic with --truth"
    ):
        read_samples([path])
    assert len(read_samples([path], truth="mocap")) == 1
    assert len(read_samples([path], remap={"mocap": "ground_truth/odometry"})) == 1


def test_a_bag_without_layout_or_ranges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="has no ranges of the tags tag"):
        read_samples([recording().write(tmp_path)])
    bare(tmp_path / "rest")
    with pytest.raises(BagError, match=r"carries no layout.*--anchors"):
        read_samples([tmp_path / "bare"])
    with pytest.raises(SampleError, match="no bags to read"):
        read_samples([])


def test_a_bag_of_ones_own_is_read_with_the_anchors_beside_it(tmp_path: Path) -> None:
    made = recording()
    made.add_range("uwb/range", 1.0, "a", 5.3)
    own = bare(made.write(tmp_path))
    (tmp_path / "anchors.yaml").write_text(LAYOUT.to_yaml())
    samples = read_samples([own], anchors=tmp_path / "anchors.yaml")
    assert samples.error.tolist() == pytest.approx([0.3])


def test_anchors_that_are_not_those_of_the_bag_are_named(tmp_path: Path) -> None:
    made = recording()
    made.add_range("uwb/range", 1.0, "a", 5.3)
    other = tmp_path / "anchors.yaml"
    other.write_text("anchors: {a9: {position: [0, 0, 2]}}\ntags: {tag: {position: [0, 0, 0]}}")
    with pytest.raises(SampleError, match=r"of the tags tag, only of anchors that the layout lacks: a$"):
        read_samples([made.write(tmp_path)], anchors=other)


def test_a_made_up_pattern_is_read_back(tmp_path: Path) -> None:
    samples = read_samples([write_bag(tmp_path, "drive", seconds=20.0, noise=1e-6)])
    anchor = np.array([int(name[-1]) for name in samples.links])[samples.link]
    known = 0.1 * anchor - 0.1 + 0.02 * (samples.distance - 4.0) + pattern(samples.geometry[:, 1])
    np.testing.assert_allclose(samples.error, known, atol=2e-5)

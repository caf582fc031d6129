"""The replay: it adds what the node would publish, depends on nothing but the messages, and refuses the rest."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.inference import Model
from nn_estimation.shipped import default_model
from nn_estimation.uwb.bias import uncalibrated
from nn_estimation.uwb.estimator import Corrected, UwbEstimator
from nn_estimation.uwb.evaluation import evaluate
from nn_estimation.uwb.gate import ACCEPTED, NO_GEOMETRY
from nn_estimation.uwb.layout import Layout, LayoutError
from nn_estimation.uwb.learned_bias import load_bias_models
from nn_estimation.uwb.replay import ODOMETRY_TOPIC, layout_of, outputs, replay, write_replay
from nn_estimation.uwb.samples import read_recording
from nn_estimation.uwb.stream import UwbStream

MODEL = default_model("uwb_demo.onnx")
LAYOUT = Layout.from_yaml("""
anchors: {a0: {position: [0, 0, 2]}}
tags: {tag: {position: [0, 0, 0]}}
""")
ONE_RANGE = cdr.encode_range(cdr.RangeMessage(1, "a0", 1.0, 0.0))
Messages = list[tuple[str, int, bytes]]


def stream_of(bag: Path, method: str = "network") -> UwbStream:
    with BagReader(bag) as reader:
        layout = layout_of(reader)
    return UwbStream(
        UwbEstimator(layout, load_bias_models(Model.load(MODEL, provider="cpu"), layout)[method])
    )


@pytest.fixture(scope="module")
def replayed(flight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replayed") / "flight"
    with BagReader(flight) as bag:
        write_replay(bag, stream_of(flight), out)
    return out


def inputs(bag: Path) -> Messages:
    with BagReader(bag) as reader:
        return [m for m in reader.raw() if m[0] != "ground_truth/odometry"]


def run(bag: Path, messages: Messages) -> Iterator[Corrected]:
    stream = stream_of(bag)
    for topic, _, data in messages:
        stream.feed(topic, data)
        yield from stream.corrected()
    yield from stream.flush()


def content(bag: Path) -> Messages:
    with BagReader(bag) as reader:
        return list(reader.raw())


def test_everything_in_the_bag_is_kept_and_the_corrected_topics_stand_beside_it(
    flight: Path, replayed: Path
) -> None:
    with BagReader(flight) as before, BagReader(replayed) as after:
        added = set(after.topics) - set(before.topics)
        assert added == {"tag0/uwb/range_corrected", "tag1/uwb/range_corrected", "odometry/uwb"}
        assert after.custom_data == before.custom_data
        assert list(after.raw(before.topics)) == list(before.raw())


def test_a_corrected_range_has_the_header_of_its_range_and_a_variance(flight: Path, replayed: Path) -> None:
    sent = {}
    with BagReader(flight) as bag:
        for topic, _, data in bag.raw(["tag0/uwb/range", "tag1/uwb/range"]):
            message = cdr.decode_range(data)
            sent[topic, message.stamp_ns, message.frame_id] = message.range
    corrections = []
    with BagReader(replayed) as bag:
        for topic, _, data in bag.raw(["tag0/uwb/range_corrected", "tag1/uwb/range_corrected"]):
            message = cdr.decode_range(data)
            before = sent.pop((topic.removesuffix("_corrected"), message.stamp_ns, message.frame_id))
            corrections.append(before - message.range)
            assert message.variance > 0.0
    assert 0.0 < np.std(corrections) and np.abs(corrections).max() < 1.0
    assert len(sent) < 0.2 * len(corrections)  # what the gate rejected


def test_the_bag_holds_what_the_estimator_passed(flight: Path, replayed: Path) -> None:
    with BagReader(flight) as bag:
        results = list(replay(bag, stream_of(flight)))
    passed = sum(int(np.isin(r.status, (ACCEPTED, NO_GEOMETRY)).sum()) for r in results)
    with BagReader(replayed) as bag:
        assert bag.counts["tag0/uwb/range_corrected"] + bag.counts["tag1/uwb/range_corrected"] == passed
        assert bag.counts["odometry/uwb"] == sum(r.pose is not None for r in results)


def test_a_pose_has_the_stamp_of_its_ranges_to_the_nanosecond(flight: Path) -> None:
    """Of a clock of today, which a stamp in seconds holds to 240 ns."""
    stream, later, ranges, poses = stream_of(flight), 1_700_000_000_123_456_789, set(), []
    with BagReader(flight) as bag:
        for topic, _, data in bag.raw(t for t in stream.topics if t.endswith("range") and t in bag.topics):
            message = cdr.decode_range(data)
            moved = message._replace(stamp_ns=message.stamp_ns + later)
            ranges.add(moved.stamp_ns)
            stream.feed(topic, cdr.encode_range(moved))
            for epoch in stream.corrected():
                poses += [data for topic, data in outputs(stream.layout, epoch) if topic == ODOMETRY_TOPIC]
    stamps = [cdr.decode_odometry(data).stamp_ns for data in poses]
    assert len(stamps) > 100 and set(stamps) <= ranges


def test_the_corrected_topics_are_read_as_ranges_and_are_better(flight: Path, replayed: Path) -> None:
    remap = {}
    for tag in ("tag0", "tag1"):
        remap |= {f"{tag}/uwb/range": f"{tag}/raw", f"{tag}/uwb/range_corrected": f"{tag}/uwb/range"}
    corrected = read_recording(replayed, remap)
    assert np.sqrt(np.mean(corrected.error**2)) < 0.3 * np.sqrt(np.mean(read_recording(flight).error ** 2))


def test_a_replayed_bag_evaluates_like_the_bag_it_was_made_from(flight: Path, replayed: Path) -> None:
    results = [evaluate([bag], MODEL, methods=["affine"]).results["summary"] for bag in (flight, replayed)]
    assert results[0] == results[1]


def test_a_second_replay_is_the_same_to_the_last_byte(flight: Path, replayed: Path, tmp_path: Path) -> None:
    with BagReader(flight) as bag:
        write_replay(bag, stream_of(flight), tmp_path / "again")
    assert content(tmp_path / "again") == content(replayed)


def shuffled(messages: Messages, seed: int) -> Messages:
    """Messages of one stamp in any order."""
    rng = np.random.default_rng(seed)
    out: Messages = []
    for _, group in groupby(messages, key=lambda message: message[1]):
        same = list(group)
        out += [same[i] for i in rng.permutation(len(same))]
    return out


def test_the_order_of_the_messages_of_one_stamp_does_not_matter(flight: Path) -> None:
    messages = inputs(flight)
    messages = [m for m in messages if m[1] < messages[0][1] + 4_000_000_000]
    plain = list(run(flight, messages))
    for seed in range(3):
        mixed = list(run(flight, shuffled(messages, seed)))
        assert len(mixed) == len(plain)
        for one, other in zip(plain, mixed, strict=True):
            assert one.epoch.stamp == other.epoch.stamp
            assert one.epoch.messages == other.epoch.messages
            np.testing.assert_array_equal(one.corrected, other.corrected)
            np.testing.assert_array_equal(one.status, other.status)


@pytest.mark.parametrize("topic", ["uwb/range_corrected", "uwb/tdoa_corrected", "odometry/uwb"])
def test_a_bag_that_was_replayed_already_is_refused(tmp_path: Path, topic: str) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("uwb/range", cdr.RANGE, 1, ONE_RANGE)
        writer.write(topic, cdr.RANGE, 1, ONE_RANGE)
    stream = UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT)))
    with BagReader(tmp_path / "bag") as bag, pytest.raises(BagError, match=f"holds {topic} already: replay"):
        write_replay(bag, stream, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bag_without_ranges_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("radio/ranges", cdr.RANGE, 1, ONE_RANGE)
    stream = UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT)))
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(BagError, match=r"none of uwb/range, uwb/tdoa.*--remap.*it has radio/ranges"),
    ):
        write_replay(bag, stream, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_layout_comes_from_the_bag_or_from_a_file(flight: Path, tmp_path: Path) -> None:
    (tmp_path / "anchors.yaml").write_text(LAYOUT.to_yaml())
    with BagReader(flight) as bag:
        assert len(layout_of(bag).anchors) == 8
        assert len(layout_of(bag, tmp_path / "anchors.yaml").anchors) == 1
        with pytest.raises(LayoutError, match=r"missing\.yaml"):
            layout_of(bag, tmp_path / "missing.yaml")
    with BagWriter(tmp_path / "bare") as writer:
        writer.write("uwb/range", cdr.RANGE, 1, ONE_RANGE)
    with (
        BagReader(tmp_path / "bare") as bag,
        pytest.raises(BagError, match=r"carries no layout .*: give"),
    ):
        layout_of(bag)


def test_a_bag_whose_range_topics_are_empty_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "full") as writer:
        writer.write("uwb/range", cdr.RANGE, 1, ONE_RANGE)
    with BagReader(tmp_path / "full") as full, BagWriter(tmp_path / "bag") as writer:
        writer.copy_topic("uwb/range", full.connections["uwb/range"])
    stream = UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT)))
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(BagError, match="bag has no messages on uwb/range"),
    ):
        write_replay(bag, stream, tmp_path / "out")
    assert not (tmp_path / "out").exists()

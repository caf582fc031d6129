"""The replay: what it refuses."""

from pathlib import Path

import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.uwb.bias import uncalibrated
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.replay import write_replay
from nn_estimation.uwb.stream import UwbStream

LAYOUT = Layout.from_yaml("""
anchors: {a0: {position: [0, 0, 2]}}
tags: {tag: {position: [0, 0, 0]}}
""")


def test_a_bag_without_ranges_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("radio/ranges", cdr.RANGE, 1, cdr.encode_range(cdr.RangeMessage(1, "a0", 1.0, 0.0)))
    stream = UwbStream(UwbEstimator(LAYOUT, uncalibrated(LAYOUT)))
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(BagError, match=r"none of uwb/range, uwb/tdoa.*--remap.*it has radio/ranges"),
    ):
        write_replay(bag, stream, tmp_path / "out")
    assert not (tmp_path / "out").exists()

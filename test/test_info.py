"""What `nn_estimation info` says of a file."""

from pathlib import Path

import pytest
from onnx_models import write_model

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagWriter
from nn_estimation.info import describe


def test_a_model_tells_its_task_links_and_trained_ranges(tmp_path: Path) -> None:
    said = describe(write_model(tmp_path / "model.onnx"))
    assert "model.onnx: uwb_bias, contract version 1" in said
    assert "links     tag|a0, tag|a1" in said
    assert "distance                     0.50 to 30.00" in said


def test_a_bag_tells_its_topics_counts_and_layout(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", custom_data={"layout": "anchors: {}"}) as writer:
        for stamp in (1, 2):
            message = cdr.RangeMessage(stamp, "a0", 1.0, 0.0)
            writer.write("uwb/range", cdr.RANGE, stamp, cdr.encode_range(message))
    said = describe(tmp_path / "bag")
    assert "2  uwb/range  sensor_msgs/msg/Range" in said and "layout:\n  anchors: {}" in said


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="holds no"):
        describe(tmp_path)


def test_notes_of_any_kind_in_a_contract_are_shown(tmp_path: Path) -> None:
    notes = {
        "training": {"recordings": [1, 2], "ranges": "many"},
        "metrics": {"network": {"rmse_m": "small"}},
    }
    said = describe(write_model(tmp_path / "model.onnx", **notes))
    assert "trained   on 1, 2 (many ranges)" in said and "   small" in said
    assert "on 7 (" in describe(write_model(tmp_path / "model.onnx", training={"recordings": 7}))

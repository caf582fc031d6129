"""replay.launch.py on a ROS 2 installation: a bag goes in, a bag with what the node made of it comes out."""

from pathlib import Path

import pytest

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="needs a ROS 2 installation: launch_pytest is not on PyPI"
)

from launched import ROOT, Watch, description, until

import launch
from nn_estimation.bags import BagReader
from nn_estimation.uwb.replay import layout_of
from nn_estimation.uwb.simulation import SimulationParams, simulate_flight


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@launch_pytest.fixture
def replay(watch: Watch, tmp_path: Path, out: Path) -> launch.LaunchDescription:
    bag = simulate_flight(SimulationParams(seed=5, duration=6.0), tmp_path / "flight")
    with BagReader(bag) as reader:
        (tmp_path / "anchors.yaml").write_text(layout_of(reader).to_yaml())
    model, anchors = ROOT / "models" / "uwb_demo.onnx", tmp_path / "anchors.yaml"
    return description(watch, "replay", bag=bag, out=out, rate=2.0, anchors=anchors, model=model)


@pytest.mark.launch(fixture=replay)
def test_a_bag_goes_through_the_node_and_what_comes_of_it_is_recorded(watch: Watch, out: Path) -> None:
    until(lambda: len(watch.codes) == 4)
    assert watch.codes == [0, 0, 0, 0], watch.output
    with BagReader(out) as reader:
        topics = [topic for topic, _, _ in reader.raw()]
    assert topics.count("odometry/uwb") == 299
    assert topics.count("tag0/uwb/range_corrected") == 2303
    assert "diagnostics" in topics

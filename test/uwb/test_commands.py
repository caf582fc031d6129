"""What the commands of the wing say and return."""

from pathlib import Path

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.bags import BagReader
from nn_estimation.cli import main
from nn_estimation.metrics import Reduction
from nn_estimation.shipped import default_model
from nn_estimation.traces import ErrorTrace
from nn_estimation.uwb.commands import gains, verdict


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (
            Reduction(13.2, 9.0, 16.4),
            "network is 13 % below affine in range RMSE (95 % interval 9 to 16 %)",
        ),
        (
            Reduction(-13.2, -16.4, -9.0),
            "network is 13 % above affine in range RMSE (95 % interval 9 to 16 %)",
        ),
        (
            Reduction(3.0, -2.0, 8.0),
            "network is 3 % below affine in range RMSE (95 % interval -2 to 8 %, not told apart)",
        ),
        (
            Reduction(-3.0, -8.0, 2.0),
            "network is 3 % above affine in range RMSE (95 % interval -2 to 8 %, not told apart)",
        ),
        (
            Reduction(40.0, np.nan, np.nan),
            "network is 40 % below affine in range RMSE (too short for an interval)",
        ),
    ],
    ids=["below", "above", "unsure below", "unsure above", "short"],
)
def test_the_verdict_says_who_won_by_how_much_and_how_sure(gain: Reduction, sentence: str) -> None:
    assert verdict(gain) == sentence


def error_trace(seed: int, scale: float, start: float) -> ErrorTrace:
    error = scale * np.random.default_rng(seed).standard_normal(2000)
    nothing = np.zeros(2000)
    return ErrorTrace(start + np.arange(2000) / 20, error, nothing + 1, nothing.astype(int), nothing, nothing)


def test_the_gain_pools_all_recordings_sample_by_sample() -> None:
    traces = {
        name: {"affine": (error_trace(seed, size, 5.0), None), "network": (error_trace(seed, 0.1, 5.0), None)}
        for name, seed, size in (("a", 1, 0.2), ("b", 2, 0.1))
    }
    squares = [np.sum(error_trace(seed, 1.0, 0.0).error ** 2) for seed in (1, 2)]
    affine = 0.04 * squares[0] + 0.01 * squares[1]
    assert gains(traces).percent == pytest.approx(100 * (1 - np.sqrt(0.01 * sum(squares) / affine)))


def test_recordings_of_the_same_hour_do_not_share_their_blocks() -> None:
    one = {"affine": (error_trace(1, 0.1, 5.0), None), "network": (error_trace(2, 0.1, 5.0), None)}
    found = []
    for start in (5.0, 9005.0):
        affine, network = error_trace(3, 0.8, start), error_trace(4, 0.1, start)
        found.append(gains({"a": one, "b": {"affine": (affine, None), "network": (network, None)}}))
    # Drawn together with the first, the second recording would have half the blocks and a quarter of the interval.
    assert found[0].high - found[0].low == pytest.approx(found[1].high - found[1].low, rel=0.1)
    assert found[0].high - found[0].low > 4.0


@pytest.mark.parametrize("name", ["uwb_bias.onnx", "uwb_demo.onnx"])
def test_the_models_are_shipped(name: str) -> None:
    assert default_model(name).is_file()


def test_a_model_that_is_not_shipped_is_looked_for_where_it_says() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"uwb_other\.onnx is in none of .*models.*, .*share/nn_estimation"
    ):
        default_model("uwb_other.onnx")


def test_a_replay_is_configured_by_the_parameter_file_of_the_node(flight: Path, tmp_path: Path) -> None:
    with BagReader(flight) as bag:
        text, expected = bag.custom_data["layout"], bag.counts["tag0/uwb/range"]
    (tmp_path / "anchors.yaml").write_text(
        text.replace("tags:", "tags:\n  spare: {position: [0.0, 0.0, 0.0]}", 1)
    )
    given = (
        f"anchors: {tmp_path / 'anchors.yaml'}, use_network: false, publish_odometry: false, max_delay: 0.2"
    )
    (tmp_path / "node.yaml").write_text(f"/**/uwb_bias_node:\n  ros__parameters: {{{given}}}\n")
    command = ["replay", "uwb", str(flight), "--model", str(default_model("uwb_demo.onnx")), "--quiet"]
    found = {}
    for name, more in (
        ("file", ["--params", str(tmp_path / "node.yaml")]),
        ("affine", ["--method", "affine"]),
    ):
        assert main([*command, "--out", str(tmp_path / name), *more]) == 0
        with BagReader(tmp_path / name) as bag:
            data = [cdr.decode_range(data).range for _, _, data in bag.raw(["tag0/uwb/range_corrected"])]
            found[name] = bag.topics, bag.custom_data["layout"], data
    assert "odometry/uwb" in found["affine"][0] and "odometry/uwb" not in found["file"][0]
    assert "spare" in found["file"][1]
    assert len(found["file"][2]) > 0.9 * expected
    np.testing.assert_array_equal(found["file"][2], found["affine"][2])

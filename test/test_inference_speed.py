from pathlib import Path

from onnx_models import write_model

from nn_estimation import cli, inference_speed


def test_the_bare_session_stands_beside_both_ways_to_call_a_model(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inference_speed, "ROUNDS", 3)
    timings = inference_speed.measure(write_model(tmp_path / "model.onnx"), batches=(1, 24))
    assert [(t.batch, t.way) for t in timings] == [
        (batch, way) for batch in (1, 24) for way in ("bare session", "Model.run", "Bound")
    ]
    for bare in (timings[0], timings[3]):
        assert bare.overhead == 0.0 and 0.0 < bare.median < 1.0
    assert timings[1].overhead == timings[1].median / timings[0].median - 1
    lines = inference_speed.table(timings).splitlines()
    assert (
        len(lines) == 7 and lines[2].endswith("%") and len({len(line) for line in lines if "%" in line}) == 1
    )


def test_the_command_names_the_provider_and_what_each_costs(monkeypatch, capsys) -> None:
    monkeypatch.setattr(inference_speed, "ROUNDS", 3)
    assert cli.main(["bench"]) == 0
    said = capsys.readouterr().out
    assert "uwb_bias.onnx, onnxruntime" in said and "a run at batch 1: cpu " in said and "Bound" in said

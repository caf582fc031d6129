"""Where nothing can be written is known before the work."""

from pathlib import Path

import pytest

from nn_estimation.cli import main
from nn_estimation.outputs import OutputError, check_file, check_folder


def test_what_can_be_made_is_accepted_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_file("model.onnx")
    check_folder("report")
    check_file(tmp_path / "new" / "folder" / "model.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "old.onnx").touch()
    check_file("old.onnx")  # is replaced


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a folder: name a file"):
        check_file(tmp_path)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="file is a file: name a folder"):
            check_folder(path)
    with pytest.raises(OutputError, match="file is a file: name a folder"):
        check_file(tmp_path / "file" / "model.onnx")


@pytest.mark.parametrize("task", ["uwb", "dead_reckoning", "attitude"])
def test_a_command_looks_at_its_output_before_its_bags(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    evaluate = ["evaluate", task, "no_bag", "--model", "no_model", "--report", str(tmp_path / "file")]
    assert main(evaluate) == 2
    assert "file is a file: name a folder" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["uwb", "dead_reckoning", "attitude"])
def test_a_training_looks_at_its_output_before_its_bags(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    assert main(["train", task, "no_bag", "--out", str(tmp_path)]) == 2
    assert "is a folder: name a file" in capsys.readouterr().err


def test_what_is_resumed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    assert main(["train", "uwb", "no_bag", "--out", str(tmp_path / "model.onnx"), "--resume"]) == 2
    assert "name its folder with --checkpoints" in capsys.readouterr().err

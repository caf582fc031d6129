"""The package as colcon and pip install it, away from its source."""

import shutil
import subprocess
import sys
from pathlib import Path

import nn_estimation


def test_the_shipped_model_is_found_where_colcon_puts_it(tmp_path: Path) -> None:
    source = Path(nn_estimation.__file__).parent
    packages = tmp_path / "lib" / "python3" / "site-packages"
    shutil.copytree(source, packages / "nn_estimation", ignore=shutil.ignore_patterns("__pycache__"))
    models = tmp_path / "share" / "nn_estimation" / "models"
    shutil.copytree(source.parent / "models", models)
    code = "from nn_estimation.shipped import default_model; print(default_model())"
    done = subprocess.run([sys.executable, "-c", code], cwd=packages, capture_output=True, text=True)
    assert done.stdout.strip() == str(models / "uwb_bias.onnx"), done.stderr

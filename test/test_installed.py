"""The package as colcon and pip install it, away from its source."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_what_is_imported_is_asked_for() -> None:
    root = Path(nn_estimation.__file__).parents[1]
    if not (root / "setup.py").is_file():
        pytest.skip("the source of the package is not here")
    code = "\n".join(path.read_text() for path in (root / "nn_estimation").rglob("*.py"))
    messages = set(re.findall(r"^ *from (\w+_(?:msgs|srvs|interfaces))\.", code, re.M))
    depends = set(re.findall(r"<exec_depend>(\w+)<", (root / "package.xml").read_text()))
    assert messages and messages <= depends
    setup = (root / "setup.py").read_text()
    assert '"lz4"' in setup and '"backports.zstd; ' in setup

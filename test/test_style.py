"""ruff and mypy are clean."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_is_clean() -> None:
    pytest.importorskip("ruff")
    run("ruff", "check", ".")


def test_code_is_formatted() -> None:
    pytest.importorskip("ruff")
    run("ruff", "format", "--check", ".")


def test_types_are_clean() -> None:
    pytest.importorskip("mypy")
    run("mypy")

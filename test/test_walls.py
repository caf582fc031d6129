"""The import walls of the house (CONTRIBUTING.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nn_estimation

ROOT = Path(nn_estimation.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
WINGS = {"uwb", "dead_reckoning", "attitude"}
TRAINING_ONLY = {"torch", "onnxscript", "sklearn", "tensorboard", "tqdm"}


def imported(path: Path) -> set[str]:
    """Dotted names of every import in a file, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ("nn_estimation", *path.relative_to(ROOT).parent.parts)
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            names |= {f"{base}{node.module or ''}".rstrip(".")}
            names |= {f"{base}{node.module or ''}.{alias.name}".replace("..", ".") for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


IN_TORCH = ("network.py", "training.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rclpy_is_imported_only_in_nodes_and_ros(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "ros" and not path.name.endswith("node.py"):
        assert "rclpy" not in roots(path), f"{relative} imports rclpy"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_is_imported_only_where_networks_are_trained(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "learning" and path.name not in IN_TORCH:
        assert not TRAINING_ONLY & roots(path), f"{relative} imports {TRAINING_ONLY & roots(path)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_wings_do_not_import_each_other(path: Path) -> None:
    wing = path.relative_to(ROOT).parts[0]
    if wing in WINGS:
        others = {f"nn_estimation.{other}" for other in WINGS - {wing}}
        crossing = {name for name in imported(path) if any(name.startswith(other) for other in others)}
        assert not crossing, f"{path.relative_to(ROOT)} imports {crossing}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_command_line_and_the_importers_know_the_wings(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if relative.parts[0] in {*WINGS, "datasets"} or relative.name == "cli.py":
        return
    wings = {f"nn_estimation.{wing}" for wing in WINGS}
    up = {name for name in imported(path) if any(name.startswith(wing) for wing in wings)}
    assert not up, f"{relative} imports {up}"


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_starts_without_torch_rclpy_or_onnxruntime() -> None:
    assert not {"torch", "rclpy", "onnxruntime"} & loaded_after("import nn_estimation")


@pytest.mark.parametrize(
    "node", ["uwb.node", "uwb.localization_node", "dead_reckoning.node", "attitude.node"]
)
def test_a_node_starts_without_torch(node: str) -> None:
    pytest.importorskip("rclpy")
    assert not TRAINING_ONLY & loaded_after(f"import nn_estimation.{node}")


def test_the_command_line_starts_without_torch_rclpy_or_onnxruntime() -> None:
    assert not {"torch", "rclpy", "onnxruntime"} & loaded_after("import nn_estimation.cli")

"""The documentation says what the code does: links, examples, command lines, tables and quoted messages."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

import nn_estimation
from nn_estimation import cli
from nn_estimation.uwb.layout import Layout

ROOT = Path(nn_estimation.__file__).parents[1]
PAGES = sorted(
    path for folder in (".", "docs", "models", "benchmarks") for path in (ROOT / folder).glob("*.md")
)


def blocks(language: str) -> list:
    """Fenced blocks of a language, as test parameters."""
    found = []
    for page in PAGES:
        for number, match in enumerate(re.finditer(rf"```{language}\n(.*?)```", page.read_text(), re.S)):
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def anchors_of(text: str) -> set[str]:
    """The anchors that a page's headings get on GitHub."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(file.read_text()), f"{page.name} links to {target}"


@pytest.mark.parametrize("text", [p for p in blocks("yaml") if "anchors:" in p.values[0]])
def test_an_example_of_an_anchors_file_loads(text: str) -> None:
    assert Layout.from_yaml(text).tags


def commands() -> list:
    """Command lines of nn_estimation in blocks and in running text, as test parameters."""
    found = []
    for page in PAGES:
        text = page.read_text()
        lines = re.findall(r"^(?:    |\$ )?(nn_estimation [^\n#]+)", text, re.M)
        lines += re.findall(r"`(nn_estimation [^`]+)`", text)
        for line in dict.fromkeys(line.strip().replace("BAG...", "BAG") for line in lines):
            if not re.search(r"[|…]|\.\.\.", line):
                found.append(pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}"))
    return found


@pytest.mark.parametrize("line", commands())
def test_a_command_line_is_one_the_command_takes(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(line)[1:]
    try:
        cli._parser().parse_args(arguments)
    except SystemExit as stopped:
        said = capsys.readouterr().err
        only_named = len(arguments) <= 2 and "the following arguments are required" in said
        assert stopped.code == 0 or only_named, f"{line}\n{said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_launch_line_names_a_launch_file_and_its_arguments(page: Path) -> None:
    for name, arguments in re.findall(
        r"ros2 launch nn_estimation (\S+\.launch\.py)([^\n`]*)", page.read_text()
    ):
        source = (ROOT / "launch" / name).read_text()
        for argument in re.findall(r"(\w+):=", arguments):
            assert f'"{argument}"' in source, f"{name} has no argument {argument}"


@pytest.mark.parametrize("text", blocks("python"))
def test_an_example_in_python_imports_what_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nn_estimation"):
            if "learning" in str(node.module):
                pytest.importorskip("torch")
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.import_module(submodule)


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("uwb_bias", "interfaces.md"),
        ("uwb_localization", "interfaces.md"),
        ("dead_reckoning", "dead_reckoning.md"),
        ("attitude", "attitude.md"),
    ],
)
def test_the_table_of_parameters_is_the_parameter_file(node: str, name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    section = page.split(f"## Parameters of {node}_node\n")[1].split("\n## ")[0]
    table = {name: default for name, default in re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section, re.M)}
    (tree,) = yaml.safe_load((ROOT / "config" / f"{node}.yaml").read_text()).values()
    assert {name: yaml.safe_load(text) for name, text in table.items()} == tree["ros__parameters"]


def messages_of_the_source() -> str:
    """All text between placeholders in the strings of the package, one piece a line."""
    pieces = []
    for path in [*(ROOT / "nn_estimation").rglob("*.py"), ROOT / "test" / "conftest.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                pieces.append(" ".join(node.value.split()))
    return "\n".join([*pieces, (ROOT / "Makefile").read_text()])


def test_the_messages_quoted_are_those_of_the_source() -> None:
    source = messages_of_the_source()
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r"\*\*``(.+?)``\*\*|\*\*`([^`]+)`\*\*", page, re.S)
    assert len(quoted) > 20
    pieces = [" ".join(piece.split()) for pair in quoted for piece in "".join(pair).split("...")]
    assert [piece for piece in pieces if piece.strip(" .,:;()[]'") not in source] == []

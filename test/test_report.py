"""The report: one shape of results, one page that needs nothing else, and no trouble with NaN."""

import base64
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from nn_estimation.report import Picture, Report, page, text_table, write

METRICS = {
    "rmse_m": 0.0589,
    "mae_m": 0.041,
    "p95_m": 0.1211,
    "bias_m": -0.002,
    "std_m": 0.0588,
    "coverage_1sigma": 0.69,
    "coverage_2sigma": 0.95,
}
POSITION = {
    "position_rmse_m": 0.0179,
    "position_p95_m": 0.03,
    "yaw_rmse_deg": 1.25,
    "position_coverage_1sigma": 0.7,
    "position_coverage_2sigma": 0.96,
}
METHODS = ("raw", "affine", "network")


def results(recordings: int = 2, **changes: float) -> dict[str, Any]:
    def rows() -> dict[str, dict[str, float]]:
        return {
            method: {**METRICS, **POSITION, "rmse_m": 0.3 - 0.1 * i, **changes}
            for i, method in enumerate(METHODS)
        }

    return {
        "task": "uwb",
        "model": "models/x.onnx",
        "recordings": {f"run_{i}": rows() for i in range(recordings)},
        "summary": rows(),
    }


def report(found: dict[str, Any] | None = None, **fields: Any) -> Report:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    pictures = [Picture("errors", "Errors", "Before and after.", figure)]
    return Report("A flight", "network won", found or results(), **{"pictures": pictures, **fields})


class Page(HTMLParser):
    """Tags, and every attribute that makes a browser fetch something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_results_json_is_what_was_found_and_nothing_else(tmp_path: Path) -> None:
    page = write(report(), tmp_path / "report")
    assert page == tmp_path / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["errors.png", "index.html", "results.json"]
    assert strict((page.parent / "results.json").read_text()) == results()


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    text = write(report(), tmp_path).read_text()
    page = Page(text)
    assert len(page.fetched) == 1 and page.fetched[0].startswith("data:image/png;base64,")
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    for way_out in ("http:", "https:", "url(", "@import"):
        assert way_out not in text


def test_the_picture_on_the_page_is_the_png_beside_it(tmp_path: Path) -> None:
    page = Page(write(report(), tmp_path).read_text())
    data = (tmp_path / "errors.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert base64.b64decode(page.fetched[0].partition(",")[2]) == data
    assert "Before and after." in page.text


def test_every_method_metric_and_recording_is_on_the_page(tmp_path: Path) -> None:
    facts = {"sha256": "abc", "command": "nn_estimation evaluate uwb run_0"}
    page = Page(write(report(facts=facts, notes=["geometry from the truth"]), tmp_path).read_text())
    words = {text.strip() for text in page.text}
    assert {*METHODS, "run_0", "run_1", "abc", facts["command"], "geometry from the truth"} <= words
    assert {"0.0179", "1.25", "69 %", "-0.0020"} <= words


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    found = results()
    found["recordings"]["<script>alert(1)</script>"] = found["recordings"].pop("run_1")
    page = Page(write(report(found, facts={"model": "<img src=http://x>"}), tmp_path).read_text())
    assert "script" not in page.tags and page.tags.count("img") == 1
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_null_in_json_and_a_dash_elsewhere(tmp_path: Path, value: float) -> None:
    found = results(yaw_rmse_deg=value)
    page = write(report(found), tmp_path)
    written = strict((tmp_path / "results.json").read_text())
    assert written["summary"]["network"]["yaw_rmse_deg"] is None
    assert written["summary"]["network"]["rmse_m"] == pytest.approx(0.1)
    assert "-" in Page(page.read_text()).text
    for text in (page.read_text(), text_table(found)):
        assert not {"nan", "inf", "-inf"} & set(text.replace("<", " ").replace(">", " ").split())


def test_the_smallest_error_is_marked_and_nan_is_never_the_best(tmp_path: Path) -> None:
    found = results(recordings=1)
    found["summary"]["raw"]["p95_m"] = math.nan
    found["summary"]["affine"]["p95_m"] = 0.08
    text = write(report(found), tmp_path).read_text()
    assert '<td class="best">0.1000</td>' in text  # rmse_m of network
    assert '<td class="best">0.0800</td>' in text
    assert '<td class="best">-</td>' not in text


def test_a_wing_without_position_has_no_position_columns(tmp_path: Path) -> None:
    found = results()
    for rows in (*found["recordings"].values(), found["summary"]):
        for row in rows.values():
            for name in POSITION:
                del row[name]
    assert "position" not in write(report(found, pictures=[]), tmp_path).read_text()
    assert "position" not in text_table(found)


def test_writing_again_replaces_the_report(tmp_path: Path) -> None:
    write(report(), tmp_path)
    write(report(results(recordings=1)), tmp_path)
    assert len(strict((tmp_path / "results.json").read_text())["recordings"]) == 1


def test_the_text_table_is_aligned_and_sums_up_several_recordings() -> None:
    lines = text_table(results()).splitlines()
    assert lines[0].split() == (
        "recording method rmse [m] p95 [m] in 1 sigma in 2 sigma position [m] in 1 sigma yaw [deg]".split()
    )
    assert [line.split()[0] for line in lines[1::3]] == ["run_0", "run_1", "all"]
    assert len({len(line) for line in lines}) == 1
    assert len(text_table(results(recordings=1)).splitlines()) == 1 + len(METHODS)


def test_a_title_of_any_words_stays_a_title() -> None:
    made = page("TITLE of BODY", ["<p>BODY</p>"])
    assert "<title>TITLE of BODY</title>" in made and made.count("<p>") == 1

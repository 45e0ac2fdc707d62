"""The report as JSON, Markdown, HTML and for pytest-benchmark."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.report.html import write_html
from bench.report.plots import draw_plots
from bench.report.pytest_json import write_pytest_json
from bench.report.text import bench_tables, write_markdown
from compress.cli.outcome import show
from compress.errors import CompressError
from compress.reports.bench import Report, read_report

LOADED = {
    "largest_batch": 8,
    "bound_ms": 10.0,
    "highest_rate": 90.0,
    "rates": [
        {"rate": r, "requests": 100, "answered": 100, "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 9.0, "late": 0,
         "mean_batch": 1.5, "holds": holds, "disturbed": 0.0}
        for r, holds in ((50.0, True), (90.0, True), (120.0, False))
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def report(finished_run: Path) -> Report:
    return read_report(finished_run / "bench/report.json")


class Page(HTMLParser):
    """Tags with their attributes and the tags that they stand in."""

    VOID = ("meta", "br", "link", "img", "hr", "input")

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert not self._open, "a tag is not closed"

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        around = [f"{name}.{one}" for name, found in self._open for one in ["", *found.get("class", "").split()]]
        self.found.append((tag, given, around))
        if tag not in self.VOID:
            self._open.append((tag, given))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag


@pytest.fixture(scope="module")
def html(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    content = json.loads(report.as_text())
    for model in content["models"].values():
        model["load"] = [{**LOADED, "largest_batch": 1}, LOADED]
    path = tmp_path_factory.mktemp("html") / "report.html"
    write_html(Report.model_validate(content), path)
    return path.read_text("utf-8")


def test_the_page_asks_nothing_of_the_network(html: str):
    page = Page(html)
    for tag, attributes, _ in page.found:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                assert value.startswith("#"), (tag, name, value)
            assert not name.startswith("on")
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)'\"]+)", html))
    assert "@import" not in html


def test_the_page_fits_narrow_screens(html: str):
    """Wide things scroll in a box of their own; nothing has a width in pixels."""
    page = Page(html)
    metas = [attributes for tag, attributes, _ in page.found if tag == "meta"]
    assert any(meta.get("name") == "viewport" and "width=device-width" in meta["content"] for meta in metas)
    for tag, attributes, around in page.found:
        if tag in ("table", "svg"):
            assert "div.scroll" in around, tag
            assert "width" not in attributes
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", html)
    assert not re.search(r"[{;]\s*width: \d+px", html)
    assert "prefers-color-scheme: dark" in html


def test_the_page_shows_everything_to_everyone(html: str, report: Report):
    page = Page(html)
    drawings = [attributes for tag, attributes, _ in page.found if tag == "svg"]
    assert [drawing["aria-label"] for drawing in drawings] == [
        "Distribution of latency",
        "Size, latency and worst-language drop",
        "Tokens and latency by language",
        "Latency under load",
        "accuracy by language",
    ]
    assert all(drawing["role"] == "img" and "viewbox" in drawing for drawing in drawings)
    assert "currentColor" in html
    assert "#010203" not in html
    identifiers = [attributes["id"] for _, attributes, _ in page.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    tables = sum(tag == "table" for tag, _, _ in page.found)
    titles = [attributes["aria-labelledby"] for tag, attributes, _ in page.found if tag == "table"]
    assert tables == len(set(titles) & set(identifiers)) >= 11
    for text in (*report.models, *report.versions.values(), *(entry.why for entry in report.not_measured)):
        assert text in html


def test_names_of_languages_are_text_whatever_they_hold(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    language = "[/] <img src=x> | $[ \x1b[31m\x00\u202e"
    content = report.as_text().replace('"de"', json.dumps(language))
    write_html(Report.model_validate_json(content), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert r"[/] &lt;img src=x&gt; | $[ \x1b[31m\x00\u202e" in page
    assert not {tag for tag, _, _ in Page(page).found} & {"img"}
    write_markdown(Report.model_validate_json(content), tmp_path / "report.md")
    assert r"| \[/\] \<img src=x\> \| $\[ \\x1b\[31m\\x00\\u202e |" in (tmp_path / "report.md").read_text("utf-8")
    show(bench_tables(Report.model_validate_json(content)), in_json=False)
    assert r"[/] <img src=x> | $[ \x1b[31m\x00\u202e" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_finds_no_overflow(html: str, width: int, tmp_path: Path):
    told = "<script>document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`</script>"
    (tmp_path / "page.html").write_text(html.replace("</body>", f"{told}</body>"), "utf-8")
    # Headless windows are 500 wide at least: the page is framed.
    frame = f'<iframe src="page.html" style="width:{width}px;height:2000px;border:0"></iframe>'
    read = "<script>onload = () => document.title = frames[0].document.title</script>"
    (tmp_path / "frame.html").write_text(frame + read, "utf-8")
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom",
         "--virtual-time-budget=5000", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    scrolled, inner = map(int, re.search(r"<title>(\d+) of (\d+)</title>", done.stdout).groups())
    assert inner == width
    assert scrolled <= inner


def test_the_markdown_has_every_table(finished_run: Path, report: Report):
    text = (finished_run / "bench/report.md").read_text()
    for name in report.models:
        assert f"| {name} | " in text
    for title in ("24 test rows", "Size on disk", "Drop in points", "Test macro-F1", "Batch × length", "From text to"):
        assert title in text
    assert "worst-language drop" in text
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 10
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


@pytest.fixture(scope="module")
def hundred(report: Report) -> Report:
    """The same as if it had a hundred languages; in l42 int8 loses 30 points, in l07 half of that."""
    content = json.loads(report.as_text())
    names = [f"l{number:02}" for number in range(100)]
    for name, model in content["models"].items():
        model["languages"] = dict.fromkeys(names, model["languages"]["de"])
        model["calibration"] = model["calibration"] and dict.fromkeys([*names, "all"], 0.1)
        model["quality"] = {**dict.fromkeys(names, model["quality"]["de"]), "all": model["quality"]["all"]}
        for against in model["against"].values():
            none = {**against["drop"]["all"], "value": 0.0}
            against["drop"] = {language: dict(none) for language in [*names, "all"]}
            if name == "onnx-int8":
                against["drop"]["l42"]["value"], against["drop"]["l07"]["value"] = 0.3, 0.15
    return Report.model_validate(content)


def test_of_a_hundred_languages_the_worst_are_shown_and_all_are_folded_away(hundred: Report, tmp_path: Path):
    write_markdown(hundred, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert len(text) <= 65_536
    parts = text.split("<details>")
    assert len(parts) > 2
    quality = parts[0][parts[0].index("| language | teacher") :].splitlines()
    assert [line.split(" | ")[0] for line in quality[2:4]] == ["| l42", "| l07"]
    assert sum(line.startswith("| ") for line in quality) == 1 + 20 + 1
    assert "the 20 of 100 that lose most" in parts[0]
    assert parts[1].split("</details>")[0].count("| l") >= 100
    shown = [drawn for drawn in bench_tables(hundred) if not isinstance(drawn, str)]
    assert max(drawn.row_count for drawn in shown) <= 21


def test_more_than_a_pull_request_shows_is_left_to_the_other_files(hundred: Report, tmp_path: Path):
    content = json.loads(hundred.as_text())
    for number in range(40):
        content["models"][f"another{number}"] = content["models"]["onnx-int8"]
        content["samples_ms"][f"another{number}"] = content["samples_ms"]["onnx-int8"]
    write_markdown(Report.model_validate(content), tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert len(text) <= 65_536
    assert "More tables: report.html and report.json." in text
    assert "Versions: " in text


def test_the_plot_of_a_hundred_languages_can_be_read(hundred: Report):
    plot = next(plot for plot in draw_plots(hundred) if plot.wide)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', plot.svg).groups())
    assert width < 8 * height
    assert ">l42<" in plot.svg
    assert ">l99<" not in plot.svg
    assert plot.caption.endswith("; the 20 of 100 that lose most.")


def test_the_schema_is_the_documented_one(report: Report, finished_run: Path):
    documented = json.loads((Path(__file__).parents[3] / "compress/reports/bench.schema.json").read_text())
    # Made by: python -m compress.reports.bench > compress/reports/bench.schema.json
    assert documented == Report.model_json_schema(by_alias=True)
    assert documented["properties"]["schema"]["const"] == 4
    assert report.as_text() == (finished_run / "bench/report.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a bench report; name a report.json"),
        ("[]", "not a bench report; name a report.json"),
        ("[" * 100_000, "not a bench report; name a report.json"),
        ('{"schema": 3}', "a report of schema 3, this version reads 4; measure it again"),
        ('{"schema": 4, "run": "x"}', "not a bench report: task: Field required; measure it again"),
    ],
)
def test_what_is_no_report_is_said_in_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(CompressError, match=re.escape(message)) as caught:
        read_report(tmp_path / "report.json")
    assert str(caught.value).startswith(str(tmp_path / "report.json"))
    with pytest.raises(CompressError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


def test_a_report_with_missing_rows_is_refused(report: Report, tmp_path: Path):
    content = json.loads(report.as_text())
    content["predictions"]["onnx"].pop()
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(CompressError, match=r"predictions\.onnx has \d+ rows, not \d+; measure it again"):
        read_report(tmp_path / "report.json")


def test_pytest_benchmark_compares_it(report: Report, tmp_path: Path):
    write_pytest_json(report, tmp_path / "0001_bench.json")
    compare = [Path(sys.executable).with_name("pytest-benchmark"), "compare", "--columns=median"]
    done = subprocess.run(
        [*compare, tmp_path / "0001_bench.json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for name in ("test_rows[onnx-int8-batch1]", "test_grid[teacher-batch8-length32]"):
        assert name in done.stdout
    content = json.loads((tmp_path / "0001_bench.json").read_text())
    first = content["benchmarks"][0]
    assert first["stats"]["median"] == pytest.approx(report.models["teacher"].latency["1"].p50_ms / 1000, rel=1e-3)
    assert len(first["stats"]["data"]) == 48

"""What a certificate says of variants, by language and label."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.certify.page import write_page
from bench.certify.stage import certificate_of, run_certify_stage
from bench.gate.judgement import Limits
from compress.cli.app import app
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.reports.bench import Report, read_report
from compress.reports.certificate import Certificate, read_certificate
from compress.runs.directory import Run, find_run

LIMITS = Limits(max_drop=5.0, max_label_drop=20.0)


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("certified") / "tiny"
    shutil.copytree(finished_run, folder)
    return find_run(folder, folder.parent)


@pytest.fixture(scope="module")
def report(run: Run) -> Report:
    return read_report(run.folder / "bench/report.json")


def told_otherwise(report: Report, name: str, changes: Mapping[int, str]) -> Report:
    """A report in which a model says something else of some rows."""
    said = [changes.get(number, one) for number, one in enumerate(report.predictions[name])]
    return report.model_copy(update={"predictions": {**report.predictions, name: said}})


def test_a_label_that_is_lost_in_one_language_fails_and_stands_first_on_the_page(
    run: Run, report: Report, tmp_path: Path
):
    rows = list(load_data(run).splits["test"])
    right = dict(enumerate(row.label for row in rows))
    lost = {number: "money" for number, row in enumerate(rows) if (row.lang, row.label) == ("ja", "date")}
    told = told_otherwise(told_otherwise(report, "teacher", right), "onnx-int8", right | lost)
    found = certificate_of(run, told, ["onnx", "onnx-int8"], LIMITS)
    failing = [cell for cell in found.variants["onnx-int8"].cells if cell.recall.verdict == "fail"]
    assert [(cell.language, cell.label, cell.right, cell.rows) for cell in failing] == [("ja", "date", 0, len(lost))]
    assert failing[0].recall.value == 100
    assert found.verdict == "fail"
    write_page(found, tmp_path / "certificate.md")
    page = (tmp_path / "certificate.md").read_text("utf-8").split("## onnx-int8 on ")[1]
    table = page[page.index("Labels in a language") :].splitlines()
    assert table[4].startswith(f"| ja | date | {len(lost)} | +100.0 (")


def test_rows_that_are_too_few_to_say_are_called_so(run: Run, report: Report):
    strict = certificate_of(run, report, ["onnx"], Limits(max_drop=0.1, max_label_drop=0.1)).variants["onnx"]
    assert {cell.recall.verdict for cell in strict.cells} <= {"not enough rows", "fail"}
    assert strict.verdicts["not enough rows"] > 0
    rows = list(load_data(run).splits["test"])
    assert sum(cell.rows for cell in strict.cells) == len(rows)
    assert sum(language.rows for language in strict.languages) == len(rows)


def test_the_command_writes_a_certificate_of_what_was_measured(run: Run):
    done = CliRunner().invoke(app, ["certify", str(run.folder), "--json"])
    assert done.exit_code == 0, done.output
    certificate = read_certificate(run.folder / "certificate/certificate.json")
    assert json.loads(done.stdout)["certificate"] == json.loads(certificate.model_dump_json(by_alias=True))
    assert set(certificate.variants) == set(read_report(run.folder / "bench/report.json").models) - {"teacher"}
    assert certificate.variants["onnx-int8"].digest == run.digest("onnx-int8")
    assert "onnx-int8 on " in (run.folder / "certificate/certificate.md").read_text("utf-8")


def test_the_schema_that_is_documented_is_that_of_certificates():
    documented = json.loads((Path(__file__).parents[3] / "compress/reports/certificate.schema.json").read_text())
    # Made by: python -m compress.reports.certificate > compress/reports/certificate.schema.json
    assert documented == Certificate.model_json_schema(by_alias=True)


def test_what_is_no_certificate_or_was_not_measured_is_refused_in_a_line(run: Run, tmp_path: Path):
    (tmp_path / "certificate.json").write_text("{}")
    with pytest.raises(CompressError, match="no certificate of schema 1; `compress certify` makes one"):
        read_certificate(tmp_path / "certificate.json")
    unmeasured = Path(shutil.copytree(run.folder, tmp_path / "unmeasured"))
    manifest = json.loads((unmeasured / "manifest.json").read_text("utf-8"))
    del manifest["stages"]["bench"]
    (unmeasured / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CompressError, match="run `compress bench` first"):
        run_certify_stage(find_run(unmeasured, tmp_path), LIMITS)
    done = CliRunner().invoke(app, ["certify", str(run.folder), "--max-drop", "inf"])
    assert done.exit_code == 2
    assert "give a number; infinity and NaN are none" in " ".join(done.stderr.split())

"""The gate on whole runs: the same code passes, and what was planted is named."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import tiny_runs

from bench.gate.baseline import Comparing, ReportBaseline, RunBaseline, open_baseline, reported
from bench.gate.findings import accuracy_findings, cell_findings
from bench.gate.judgement import Limits
from bench.gate.stage import run_check_stage
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.reports.bench import read_report
from compress.runs.directory import find_run

FAST = ("--set", "bench.batch_sizes=[1]", "--set", "bench.starts=1")


@pytest.fixture(scope="module")
def copy(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run once more."""
    folder = tmp_path_factory.mktemp("check") / "new"
    shutil.copytree(finished_run, folder, symlinks=True)
    return folder


def test_the_same_code_passes(finished_run: Path, copy: Path, compress_command):
    # None of 236 rows a language changes: that is evidence of less than 1.3 points.
    allowed = ("--max-slowdown", 1.5, "--max-drop", 1.5)
    done = compress_command("check", copy, "--baseline", finished_run, *allowed, *FAST, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["verdict"], found["interleaved"]) == (3, "pass", True)
    assert found["overrides"] == {"bench.batch_sizes": [1], "bench.starts": 1}
    assert (copy / "recipe.yaml").read_text() == (finished_run / "recipe.yaml").read_text()
    assert found["compared"] == ["onnx", "onnx-fused", "onnx-int8"]
    assert set(found["left_out"]) == {"onnx-fp16", "student", "teacher"}
    figures = {(f["variant"], f["figure"], f["language"]) for f in found["findings"]}
    assert ("onnx-int8", "latency, batches of 1", "ja") in figures
    assert ("onnx-int8", "accuracy", "all") in figures
    recalls = {f["label"]: f["limit"] for f in found["findings"] if f["figure"] == "recall"}
    assert recalls == dict.fromkeys(("date", "money", "percentage", "time"), 5)
    assert ("onnx", "peak memory", None) in figures
    assert json.loads((copy / "check/check.json").read_text()) == found


def test_too_few_rows_a_language_are_said_to_be(finished_run: Path, copy: Path, compress_command):
    done = compress_command("check", copy, "--baseline", finished_run, "--max-slowdown", 1.5, *FAST)
    assert done.returncode == 4, done.stderr
    assert "not enough rows: what they show is within its limit" in done.stdout
    found = json.loads((copy / "check/check.json").read_text())["findings"]
    few = [finding for finding in found if finding["verdict"] == "not enough rows"]
    assert {finding["language"] for finding in few} == {"de", "en", "ja"}
    assert all(re.fullmatch(r"\d+ rows; about 300 would do", finding["note"]) for finding in few)


def test_what_is_larger_is_named(finished_run: Path, copy: Path, tmp_path: Path, compress_command):
    """In place of the int8 graph lies the one in 32 bits."""
    shutil.copytree(copy, tmp_path / "new", symlinks=True)
    shutil.copy(finished_run / "onnx/model.onnx", tmp_path / "new/onnx-int8/model.onnx")
    tiny_runs.record_again(tmp_path / "new", "onnx-int8")
    done = compress_command(
        "check", tmp_path / "new", "--baseline", finished_run, "--variants", "onnx-int8", "--max-growth", 2, *FAST
    )
    assert done.returncode == 1
    assert "size on disk" in done.stdout
    cases = list(ElementTree.parse(tmp_path / "new/check/junit.xml").iter("testcase"))
    failed = {(case.get("classname"), case.get("name")): case.find("failure") for case in cases}
    failure = failed["onnx-int8", "size on disk"]
    assert failure is not None
    assert "limit 2" in failure.get("message", "")
    assert failed["onnx-int8", "peak memory"] is None
    text = (tmp_path / "new/check/check.md").read_text()
    assert text.startswith("**fail: ")
    assert "| onnx-int8 | size on disk |" in text


def test_a_report_alone_is_scaled(finished_run: Path, copy: Path, tmp_path: Path, compress_command):
    shutil.copy(finished_run / "bench/report.json", tmp_path / "released.json")
    report = json.loads((tmp_path / "released.json").read_text())
    # The baseline was right about every German row: what the new run gets wrong it has lost.
    rows = [json.loads(line) for line in (finished_run / "data/test.jsonl").read_text().splitlines()]
    report["predictions"]["onnx-int8"] = [
        row["label"] if row["lang"] == "de" else predicted
        for row, predicted in zip(rows, report["predictions"]["onnx-int8"], strict=True)
    ]
    (tmp_path / "released.json").write_text(json.dumps(report))
    done = compress_command(
        "check", copy, "--baseline", tmp_path / "released.json", "--variants", "onnx-int8", "--max-drop", 0,
        "--max-slowdown", 3, *FAST, "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["interleaved"] is False
    assert "scaled by a reference workload" in found["method"]
    worse = {f["language"] for f in found["findings"] if f["figure"] == "accuracy" and f["value"] > 0}
    assert worse == {"de", "all"}
    assert {f["language"] for f in found["findings"] if f["verdict"] == "not enough rows"} == {"en", "ja"}
    assert done.returncode in (1, 3)


def test_a_label_that_is_lost_is_named(finished_run: Path, copy: Path):
    side, rows = open_baseline(finished_run).side, list(load_data(find_run(copy, copy)).splits["test"])
    comparing = Comparing(side, RunBaseline("old", side), ["onnx-int8"], rows, Limits(), load_data(side.run))
    right = [row.label for row in rows]
    lost = ["date" if label == "time" else label for label in right]
    failed = [finding for finding in accuracy_findings(comparing, "onnx-int8", right, lost) if finding.label]
    assert {finding.label: finding.verdict for finding in failed} == {
        "date": "pass", "money": "pass", "percentage": "pass", "time": "fail"
    }  # fmt: skip


def test_a_label_that_is_lost_in_one_language_is_named(finished_run: Path, copy: Path):
    side, rows = open_baseline(finished_run).side, list(load_data(find_run(copy, copy)).splits["test"])
    comparing = Comparing(side, RunBaseline("old", side), ["onnx-int8"], rows, Limits(), load_data(side.run))
    right = [row.label for row in rows]
    lost = ["date" if (row.lang, row.label) == ("ja", "time") else row.label for row in rows]
    found = cell_findings(comparing, "onnx-int8", right, lost)
    assert len(found) == 12  # three languages of four labels
    assert [finding.place for finding in found if finding.verdict == "fail"] == ["ja, time"]
    assert {finding.value for finding in found if finding.place != "ja, time"} == {0}


def test_a_report_in_its_run_stands_for_the_run(finished_run: Path, copy: Path):
    assert isinstance(open_baseline(finished_run / "bench/report.json"), RunBaseline)
    with pytest.raises(CompressError, match="no run here; name a run directory"):
        open_baseline(finished_run / "data")


@pytest.mark.parametrize("said", ["another", ["date"], 7, None])
def test_predictions_in_a_report_that_are_none_of_the_task_are_refused(said: object, finished_run: Path, copy: Path):
    side, data = open_baseline(finished_run).side, load_data(find_run(copy, copy))
    report = read_report(finished_run / "bench/report.json")
    spoiled = report.model_copy(update={"predictions": {"onnx-int8": [said] * report.rows.quality}})
    baseline = ReportBaseline("old.json", spoiled)
    comparing = Comparing(side, baseline, ["onnx-int8"], list(data.splits["test"]), Limits(), data)
    with pytest.raises(CompressError, match=r"old.json: predictions of onnx-int8 are not as text-classification has"):
        reported(comparing, baseline, "onnx-int8")


def test_other_rows_are_refused(copy: Path, finished_run: Path, tmp_path: Path):
    report = json.loads((finished_run / "bench/report.json").read_text())
    report["rows"]["digest"] = "another"
    (tmp_path / "released.json").write_text(json.dumps(report))
    with pytest.raises(CompressError, match="measured on other test rows than those of"):
        run_check_stage(find_run(copy, copy), tmp_path / "released.json", Limits(), None)


def test_unknown_variants_are_refused(copy: Path, finished_run: Path):
    with pytest.raises(CompressError, match=r"--variants onnx-int5: .* has none; it has teacher, student, onnx"):
        run_check_stage(find_run(copy, copy), finished_run, Limits(), ["onnx-int5"])

"""What a check shows of many figures."""

from pathlib import Path

from bench.gate.judgement import Finding, Limits
from bench.gate.report import check_lines, check_table, write_check_markdown
from bench.gate.result import CheckReport
from compress.metrics.figures import Verdict
from compress.reports.bench import MachineFacts


def finding(language: int, verdict: Verdict = "fail", variant: str = "onnx-int8") -> Finding:
    return Finding(
        variant=variant, figure="accuracy", language=f"l{language:02}", unit="points", value=language, low=0.0,
        high=99.0, limit=1.0, verdict=verdict,
    )  # fmt: skip


def checked(findings: list[Finding]) -> CheckReport:
    machine = MachineFacts(processor="a processor", system="Linux", memory_bytes=1, threads=2, cpus=[0], gpus=[])
    return CheckReport(
        run="new", baseline="old", interleaved=True, method="batch by batch", verdict="fail", limits=Limits(),
        overrides={}, rounds=2, machine=machine, compared=["onnx-int8"], left_out=[], findings=findings,
    )  # fmt: skip


def test_of_a_hundred_languages_the_worst_are_told():
    rows = check_table(checked([finding(language) for language in range(100)])).rows
    assert [row[2] for row in rows] == ["l99", "l98", "l97", "l96", "l95 (and 95 more)"]
    rows = check_table(checked([finding(language, "pass") for language in range(100)])).rows
    assert [row[2] for row in rows] == ["l99 (worst of 100)"]


def test_too_few_rows_are_told_after_what_is_inconclusive_and_with_what_they_mean():
    report = checked([finding(1, "not enough rows"), finding(2, "inconclusive"), finding(3, "pass")])
    assert [row[5] for row in check_table(report).rows] == ["inconclusive", "not enough rows"]
    assert check_lines(report)[0].startswith("fail: 1 inconclusive, 1 not enough rows, 1 pass; times: batch by batch")
    assert "so few could not show otherwise" in check_lines(report)[1]


def test_more_than_a_pull_request_shows_is_left_to_the_file(tmp_path: Path):
    many = [finding(language, variant=f"v{number}") for number in range(300) for language in range(100)]
    write_check_markdown(checked(many), tmp_path / "check.md")
    text = (tmp_path / "check.md").read_text()
    assert len(text) <= 65_536
    assert text.startswith("**")
    assert "more figures: check.json." in text

"""The result of a check for people and for CI: a table, Markdown for a pull request, JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

from bench.gate.judgement import Finding
from bench.gate.result import CheckReport
from bench.report.tables import ReportTable, overrides_line
from bench.report.text import MOST_CHARACTERS, markdown_table
from compress.console import markdown, plain
from compress.metrics.figures import WORST_FIRST, Verdict

_MOST_SHOWN = 5
"""Languages or labels of a figure and verdict; a hundred may be beyond a limit."""


def check_table(report: CheckReport) -> ReportTable:
    """Of every figure the languages and labels that do not pass, the worst ones first; where all pass, the one nearest
    to its limit."""
    groups: dict[tuple[str, str, bool], dict[Verdict, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in report.findings:
        groups[finding.variant, finding.figure, not finding.place][finding.verdict].append(finding)
    shown: list[tuple[Finding, str]] = []
    for group in groups.values():
        for verdict, found in group.items():
            if verdict != "pass" or len(group) == 1:
                shown += _worst(found, 1 if verdict == "pass" else _MOST_SHOWN)
    shown.sort(key=lambda entry: WORST_FIRST.index(entry[0].verdict))
    rows = [
        [finding.variant, finding.figure, language, finding.told, f"{finding.limit:g}", finding.verdict, finding.note]
        for finding, language in shown
    ]
    headings = ["variant", "figure", "language or label", "ratio or points lost", "limit", "verdict", ""]
    return ReportTable(f"{report.run} against {report.baseline}", headings, rows, left=3)


def _worst(findings: list[Finding], most: int) -> list[tuple[Finding, str]]:
    """The largest ones and their languages or labels; the last one says how many more there are."""
    worst = sorted(findings, key=lambda finding: -finding.value)[:most]
    told = [finding.place for finding in worst]
    if len(findings) > len(worst):
        told[-1] += f" (worst of {len(findings)})" if most == 1 else f" (and {len(findings) - most} more)"
    return list(zip(worst, told, strict=True))


def check_lines(report: CheckReport) -> list[str]:
    """The verdict in words, how times were compared, and what was not."""
    counted = {verdict: sum(f.verdict == verdict for f in report.findings) for verdict in WORST_FIRST}
    told = ", ".join(f"{number} {verdict}" for verdict, number in counted.items() if number)
    lines = [f"{report.verdict}: {told}; times: {report.method}, {report.rounds} rounds"]
    if counted["not enough rows"]:
        lines.append(
            "not enough rows: what they show is within its limit, but so few could not show otherwise; measure more "
            "rows, as the last column says, or allow more"
        )
    if report.cells:
        told = ", ".join(f"{report.cells[verdict]:,} {verdict}" for verdict in WORST_FIRST if verdict in report.cells)
        lines.append(f"labels in a language: {told}; those that fail count")
    left_out = [*report.left_out, *([] if report.interleaved else ["latency by language (needs the baseline's files)"])]
    if left_out:
        lines.append(f"not compared: {', '.join(left_out)}")
    overridden = overrides_line(report.overrides)
    return [*lines, overridden] if overridden else lines


def write_check_markdown(report: CheckReport, path: Path) -> None:
    """For a pull request."""
    first, *others = check_lines(report)
    rows, rest = markdown_table(check_table(report)), ["", *map(markdown, others), ""]
    room = MOST_CHARACTERS - sum(len(line) + 1 for line in [first, *rest])
    ends = list(accumulate(len(row) + 1 for row in rows))
    kept = [row for row, end in zip(rows, ends, strict=True) if end <= room]
    more = [] if len(kept) == len(rows) else ["", f"And {len(rows) - len(kept)} more figures: check.json."]
    path.write_text("\n".join([f"**{markdown(first)}**", "", *kept, *more, *rest]), "utf-8")


def write_junit(report: CheckReport, path: Path) -> None:
    """For CI servers: a test case a figure; those that could not be judged are skipped."""
    suite = ElementTree.Element(
        "testsuite",
        name="compress check",
        tests=str(len(report.findings)),
        failures=str(sum(finding.verdict == "fail" for finding in report.findings)),
        errors="0",
        skipped=str(sum(finding.verdict not in ("fail", "pass") for finding in report.findings)),
    )
    for finding in report.findings:
        name = plain(f"{finding.figure}, {finding.place}" if finding.place else finding.figure)
        case = ElementTree.SubElement(suite, "testcase", classname=plain(finding.variant), name=name)
        message = plain(f"{finding.variant}: {name}: {finding.told}, limit {finding.limit:g}")
        if finding.verdict == "fail":
            ElementTree.SubElement(case, "failure", message=message)
        elif finding.verdict != "pass":
            ElementTree.SubElement(case, "skipped", message=plain(f"{finding.verdict}: {message}; {finding.note}"))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)

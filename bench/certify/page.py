"""The certificate as a page: of each variant what fails and what is lost most, and how much these rows cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from bench.report.tables import ReportTable
from bench.report.text import markdown_table, terminal_table
from compress.console import markdown
from compress.evaluation.tables import MOST_SHOWN
from compress.metrics.figures import WORST_FIRST, Verdict
from compress.reports.certificate import Certificate, CertifiedCell, CertifiedLoss, CertifiedVariant

_TOLD: dict[Verdict, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "inconclusive": "cannot be told",
    "not enough rows": "not enough rows to say",
}


def certificate_tables(certificate: Certificate) -> list[Table | str]:
    """A line for each variant, and the labels in a language of which it is surest that they lose."""
    shown: list[Table | str] = []
    for name, variant in certificate.variants.items():
        cells = cell_table(variant)
        if cells.rows:
            shown.append(terminal_table(replace(cells, title=f"{name}: {cells.title}")))
    lines = [certificate.told(name) for name in certificate.variants]
    return [*shown, *lines, *([certificate.without_labels] if certificate.without_labels else [])]


def write_page(certificate: Certificate, path: Path) -> None:
    """Write the page as Markdown."""
    lines = [f"# {markdown(certificate.run)}: what its variants lose", "", *_opening(certificate)]
    for name, variant in certificate.variants.items():
        lines += [f"## {markdown(name)} on {markdown(variant.target)}", "", markdown(certificate.told(name)), ""]
        for table in (language_table(certificate, variant), label_table(certificate, variant), cell_table(variant)):
            lines += [*markdown_table(table), ""] if table.rows else []
    path.write_text("\n".join(lines), "utf-8")


def _opening(certificate: Certificate) -> list[str]:
    rows = sum(certificate.rows.values())
    lines = [
        f"{certificate.task}, measured {certificate.made} on {rows:,} test rows in {len(certificate.rows)} languages, "
        f"against the {certificate.against}. A language may lose {certificate.max_drop:g} points of "
        f"{certificate.metric}, a label {certificate.max_label_drop:g} of its recall, and in any one language of its "
        "recall and F1.",
        "Losses are points with an interval: the lower end holds with 95 % for all of them together, the upper end "
        "with 95 % for itself. Pass: no more than the limit is lost; FAIL: more is; not enough rows to say: so few "
        "rows could not show it whatever they said; cannot be told: these do not show which.",
    ]
    if not certificate.labelled:
        lines.append(f"The rows have no labels: what the {certificate.against} says takes their place.")
    if certificate.without_labels:
        lines.append(f"{certificate.without_labels[0].upper()}{certificate.without_labels[1:]}.")
    return [line for text in lines for line in (markdown(text), "")]


def language_table(certificate: Certificate, variant: CertifiedVariant) -> ReportTable:
    """All languages, those that fail and lose most first, and what is known of their labels."""
    rows = []
    for one in sorted(variant.languages, key=lambda one: _order(one.loss)):
        own = [cell for cell in variant.cells if cell.language == one.language]
        found = Counter(loss.verdict for cell in own for loss in (cell.recall, cell.f1))
        counted = [str(found[verdict]) for verdict in WORST_FIRST] if variant.cells else []
        rows.append([one.language, f"{one.rows:,}", _points(one.loss), _TOLD[one.loss.verdict], *counted])
    verdicts = [f"labels: {_TOLD[verdict]}" for verdict in WORST_FIRST] if variant.cells else []
    headings = ["language", "rows", f"points of {certificate.metric} lost", "", *verdicts]
    return ReportTable("Languages", headings, rows)


def label_table(certificate: Certificate, variant: CertifiedVariant) -> ReportTable:
    """The labels that lose most, in all languages together."""
    worst = sorted(variant.labels, key=lambda one: _order(one.recall))[:MOST_SHOWN]
    rows = [[one.label, f"{one.rows:,}", _points(one.recall), _TOLD[one.recall.verdict]] for one in worst]
    title = "Labels in all languages" + _of(len(worst), len(variant.labels))
    return ReportTable(title, ["label", "rows", "points of recall lost", ""], rows)


def cell_table(variant: CertifiedVariant) -> ReportTable:
    """The labels in a language that lose most, those that fail first; of more all that fail."""
    worst = worst_cells(variant.cells)
    rows = [
        [
            one.language, one.label, f"{one.rows:,}", _points(one.recall), _TOLD[one.recall.verdict],
            _points(one.f1), _TOLD[one.f1.verdict],
        ]
        for one in worst
    ]  # fmt: skip
    headings = ["language", "label", "rows", "points of recall lost", "", "points of F1 lost", ""]
    return ReportTable("Labels in a language" + _of(len(worst), len(variant.cells)), headings, rows, left=2)


def worst_cells(cells: Sequence[CertifiedCell]) -> list[CertifiedCell]:
    """Those that fail and, up to a number that is read, those of which it is surest that they lose."""
    ordered = sorted(cells, key=lambda one: min(_order(one.recall), _order(one.f1)))
    failing = sum("fail" in (one.recall.verdict, one.f1.verdict) for one in cells)
    return ordered[: max(failing, MOST_SHOWN)]


def _order(loss: CertifiedLoss) -> tuple[bool, float, float]:
    return loss.verdict != "fail", -loss.low, -loss.value


def _points(loss: CertifiedLoss) -> str:
    return f"{loss.value:+.1f} ({loss.low:+.1f}…{loss.high:+.1f})"


def _of(shown: int, of: int) -> str:
    return f"; the {shown} of {of:,} that lose most, all in certificate.json" if shown < of else ""

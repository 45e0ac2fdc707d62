"""The bench report for the terminal and, as Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bench.report.tables import (
    ReportTable,
    calibration_table,
    changed_tables,
    cost_table,
    drop_tables,
    grid_table,
    language_table,
    latency_table,
    load_table,
    metric_tables,
    overrides_line,
    quality_table,
    sentences,
    text_table,
    versions_line,
)
from compress.metrics.languages import ALL
from compress.reports.bench import Report


def bench_tables(report: Report) -> list[Table | str]:
    """What models cost and how good they are, one sentence for each, and what was not measured."""
    shown = [
        latency_table(report),
        cost_table(report),
        language_table(report),
        load_table(report),
        quality_table(report),
    ]
    more = [f"not measured: {entry.what} ({entry.why})" for entry in report.not_measured]
    overridden = overrides_line(report.overrides)
    more += [overridden] if overridden else []
    return [*(terminal_table(table) for table in shown if table), *sentences(report), *more]


def write_markdown(report: Report, path: Path) -> None:
    """Write the report for a pull request."""
    lines = [f"# {report.run}", ""]
    for table in all_tables(report):
        lines += [*markdown_table(table), ""]
    lines += [*(f"- {sentence}" for sentence in sentences(report)), ""]
    if report.not_measured:
        lines += ["Not measured:", "", *(f"- {entry.what}: {entry.why}" for entry in report.not_measured), ""]
    overridden = overrides_line(report.overrides)
    lines += [f"{overridden.capitalize()}.", ""] if overridden else []
    lines += [f"Versions: {versions_line(report)}", ""]
    path.write_text("\n".join(lines), "utf-8")


def all_tables(report: Report) -> list[ReportTable]:
    """Every table of the report, in the order of reading."""
    found = [
        latency_table(report),
        cost_table(report),
        quality_table(report),
        *drop_tables(report),
        *metric_tables(report),
        language_table(report),
        grid_table(report),
        text_table(report),
        load_table(report),
        calibration_table(report),
        *changed_tables(report),
    ]
    return [table for table in found if table]


def terminal_table(table: ReportTable) -> Table:
    """A table as the terminal shows it."""
    drawn = Table(title=table.title)
    for position, heading in enumerate(table.headings):
        drawn.add_column(heading, justify="left" if position < table.left else "right")
    for row in table.rows:
        if row[0] == ALL:
            drawn.add_section()
        drawn.add_row(*row)
    return drawn


def markdown_table(table: ReportTable) -> list[str]:
    """Lines of a table in Markdown, its title before it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    aligned = ["---" if position < table.left else "--:" for position in range(len(table.headings))]
    return [f"{table.title}.", "", line(table.headings), "|" + "|".join(aligned) + "|", *map(line, table.rows)]

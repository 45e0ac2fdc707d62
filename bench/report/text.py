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
    label_table,
    language_table,
    latency_table,
    load_table,
    metric_tables,
    noise_line,
    overrides_line,
    quality_table,
    sentences,
    text_table,
    versions_line,
)
from compress.console import markdown, table
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
        label_table(report),
    ]
    more = [f"not measured: {entry.what} ({entry.why})" for entry in report.not_measured]
    overridden = overrides_line(report.overrides)
    more += [line for line in (overridden, noise_line(report)) if line]
    return [*(terminal_table(table) for table in shown if table), *sentences(report), *more]


def write_markdown(report: Report, path: Path) -> None:
    """Write the report for a pull request."""
    lines = [f"# {report.run}", ""]
    for shown in all_tables(report):
        lines += [*markdown_table(shown), ""]
    lines += [*(f"- {markdown(sentence)}" for sentence in sentences(report)), ""]
    if report.not_measured:
        missing = [markdown(f"{entry.what}: {entry.why}") for entry in report.not_measured]
        lines += ["Not measured:", "", *(f"- {what}" for what in missing), ""]
    overridden = overrides_line(report.overrides)
    lines += [markdown(f"{overridden.capitalize()}."), ""] if overridden else []
    noise = noise_line(report)
    lines[2:2] = [f"**{markdown(noise)}**", ""] if noise else []
    lines += [markdown(f"Versions: {versions_line(report)}"), ""]
    path.write_text("\n".join(lines), "utf-8")


def all_tables(report: Report) -> list[ReportTable]:
    """Every table of the report, in the order of reading."""
    found = [
        latency_table(report),
        cost_table(report),
        quality_table(report),
        *drop_tables(report),
        *metric_tables(report),
        label_table(report),
        language_table(report),
        grid_table(report),
        text_table(report),
        load_table(report),
        calibration_table(report),
        *changed_tables(report),
    ]
    return [table for table in found if table]


def terminal_table(drawn: ReportTable) -> Table:
    """A table as the terminal shows it."""
    return table(drawn.title, drawn.headings, drawn.rows, left=drawn.left, total=ALL)


def markdown_table(shown: ReportTable) -> list[str]:
    """Lines of a table in Markdown, its title before it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(markdown, cells)) + " |"

    aligned = ["---" if position < shown.left else "--:" for position in range(len(shown.headings))]
    title = markdown(f"{shown.title}.")
    return [title, "", line(shown.headings), "|" + "|".join(aligned) + "|", *map(line, shown.rows)]

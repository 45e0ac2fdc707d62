"""The bench report for the terminal and, as Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from rich.table import Table

from bench.report.tables import (
    ReportTable,
    calibration_table,
    cell_table,
    changed_tables,
    cost_table,
    drop_tables,
    extract,
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
    worst_languages,
)
from compress.console import markdown, table
from compress.metrics.languages import ALL
from compress.reports.bench import Report

MOST_CHARACTERS = 65_000
"""GitHub shows 65,536 of a comment; there must be room for what is said around it."""


def bench_tables(report: Report) -> list[Table | str]:
    """What models cost and how good they are, one sentence for each, and what was not measured."""
    shown = [
        latency_table(report),
        cost_table(report),
        language_table(report),
        load_table(report),
        quality_table(report),
        label_table(report),
        cell_table(report),
    ]
    more = [f"not measured: {entry.what} ({entry.why})" for entry in report.not_measured]
    overridden = overrides_line(report.overrides)
    more += [line for line in (overridden, noise_line(report)) if line]
    worst = worst_languages(report)
    return [*(terminal_table(extract(table, worst)) for table in shown if table), *sentences(report), *more]


def write_markdown(report: Report, path: Path) -> None:
    """Write the report for a pull request: of many languages an extract with all of them folded away, as far as a pull
    request shows them."""
    opening, closing = _around_tables(report)
    room = MOST_CHARACTERS - sum(len(line) + 1 for line in [*opening, *closing])
    path.write_text("\n".join([*opening, *_tables_within(report, room), *closing]), "utf-8")


def _tables_within(report: Report, room: int) -> list[str]:
    """Lines of all tables: first their extracts, then, in the order of reading, whole ones while there is room."""
    worst, whole = worst_languages(report), all_tables(report)
    extracts = [extract(found, worst) for found in whole]
    shown = [[*markdown_table(found), ""] for found in extracts]
    left_out = ["More tables: report.html and report.json.", ""]
    while shown and _characters(shown) > room - _characters([left_out]):
        shown.pop()
    if len(shown) < len(whole):
        return [*chain.from_iterable(shown), *left_out]
    for position, (part, found) in enumerate(zip(extracts, whole, strict=True)):
        if part is not found:
            folded = ["<details><summary>All rows</summary>", "", *markdown_table(found), "", "</details>", ""]
            if _characters([*shown, folded]) <= room:
                shown[position] += folded
    return list(chain.from_iterable(shown))


def _characters(blocks: Sequence[Sequence[str]]) -> int:
    return sum(len(line) + 1 for block in blocks for line in block)


def _around_tables(report: Report) -> tuple[list[str], list[str]]:
    """Lines before the tables, and after them."""
    opening = [f"# {markdown(report.run)}", ""]
    lines = [*(f"- {markdown(sentence)}" for sentence in sentences(report)), ""]
    if report.not_measured:
        missing = [markdown(f"{entry.what}: {entry.why}") for entry in report.not_measured]
        lines += ["Not measured:", "", *(f"- {what}" for what in missing), ""]
    overridden = overrides_line(report.overrides)
    lines += [markdown(f"{overridden.capitalize()}."), ""] if overridden else []
    noise = noise_line(report)
    opening += [f"**{markdown(noise)}**", ""] if noise else []
    return opening, [*lines, markdown(f"Versions: {versions_line(report)}"), ""]


def all_tables(report: Report) -> list[ReportTable]:
    """Every table of the report, in the order of reading."""
    found = [
        latency_table(report),
        cost_table(report),
        quality_table(report),
        *drop_tables(report),
        *metric_tables(report),
        label_table(report),
        cell_table(report),
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

"""The bench report for people: tables on the terminal and the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from compress.evaluation import comparison_line, percent, points

_LATENCY = {
    "p50 ms": ("p50_ms", ".2f"),
    "p90 ms": ("p90_ms", ".2f"),
    "p99 ms": ("p99_ms", ".2f"),
    "first token ms": ("first_token_p50_ms", ".2f"),
    "rows/s": ("samples_per_second", ",.0f"),
    "tokens/s": ("tokens_per_second", ",.0f"),
}
"""Columns of the latency figures that a report has, and how they are written."""


def bench_tables(report: dict[str, Any]) -> list[Any]:
    """Two tables, what models cost and how good they are, and one sentence for each variant."""
    cost = Table(title=_title(report))
    for heading in _cost_headings(report):
        cost.add_column(heading, justify="left" if heading in ("model", "runtime", "shape") else "right")
    for row in _cost_rows(report):
        cost.add_row(*row)
    quality = Table(title=_quality_title(report))
    for heading in ("language", *report["models"]):
        quality.add_column(heading, justify="left" if heading == "language" else "right")
    for row in _quality_rows(report):
        quality.add_row(*row)
    return [cost, quality, *_sentences(report)]


def write_markdown(report: dict[str, Any], path: Path) -> None:
    """Write the report for a pull request."""
    main, *others = report["metrics"]
    languages = ("language", *report["models"])
    lines = [f"# {report['run']}", "", _title(report), ""]
    lines += _markdown_table(_cost_headings(report), list(_cost_rows(report)))
    lines += ["", f"{_quality_title(report)}.", ""]
    lines += _markdown_table(languages, list(_quality_rows(report)))
    lines += ["", f"Drop in points of {main} against the teacher (95 % interval).", ""]
    lines += _markdown_table(("language", *list(report["models"])[1:]), list(_drop_rows(report)))
    for metric in others:
        lines += ["", f"Test {metric} %.", "", *_markdown_table(languages, list(_metric_rows(report, metric)))]
    lines += ["", *(f"- {sentence}" for sentence in _sentences(report)), ""]
    lines += ["Versions: " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()), ""]
    path.write_text("\n".join(lines), "utf-8")


def _title(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"{report['rows']['latency']} test rows, {report['rounds']} rounds in turn, "
        f"{machine['processor']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    )


def _latency_columns(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    measured = next(iter(next(iter(report["models"].values()))["latency"].values()))
    return {heading: column for heading, column in _LATENCY.items() if column[0] in measured}


def _cost_headings(report: dict[str, Any]) -> tuple[str, ...]:
    latency = _latency_columns(report)
    return ("model", "runtime", "shape", "batch", *latency, "× faster", "MB", "× smaller", "peak memory MB")


def _cost_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, model in report["models"].items():
        against = model["against_teacher"]
        for position, (size, latency) in enumerate(model["latency"].items()):
            first = position == 0
            yield (
                name if first else "",
                _runtime(model) if first else "",
                model["shape"] if first else "",
                size,
                *(format(latency[figure], form) for figure, form in _latency_columns(report).values()),
                f"{against['faster'][size]:.1f}",
                f"{model['model_bytes'] / 1e6:.2f}" if first else "",
                f"{against['smaller']:.1f}" if first else "",
                f"{model['peak_memory_bytes'] / 1e6:.0f}" if first else "",
            )


def _runtime(model: dict[str, Any]) -> str:
    """A model that was made for another target is marked: here it may be slower, or answer differently."""
    return f"{model['runtime']} (made for {model['target']})" if model["made_for_another_target"] else model["runtime"]


def _quality_title(report: dict[str, Any]) -> str:
    return f"Test {report['metrics'][0]} %: the teacher's with its 95 % interval, the others' with their drop in points"


def _quality_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    (teacher, *others), main = report["models"].values(), report["metrics"][0]
    for language, figures in teacher["quality"].items():
        cells = [
            f"{100 * model['quality'][language][main]['value']:.1f} "
            f"({100 * model['against_teacher']['drop'][language]['value']:+.1f})"
            for model in others
        ]
        yield (language, percent(figures[main]), *cells)


def _drop_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    teacher, *others = report["models"].values()
    for language in teacher["quality"]:
        yield (language, *(points(model["against_teacher"]["drop"][language]) for model in others))


def _metric_rows(report: dict[str, Any], metric: str) -> Iterator[tuple[str, ...]]:
    models = list(report["models"].values())
    for language in models[0]["quality"]:
        yield (language, *(f"{100 * model['quality'][language][metric]['value']:.1f}" for model in models))


def _sentences(report: dict[str, Any]) -> list[str]:
    compared = list(report["models"].items())[1:]
    lines = [comparison_line(model["against_teacher"], name, "teacher") for name, model in compared]
    return [*lines, *(f"{name}: sacrebleu {signature}" for name, signature in report["signatures"].items())]


def _markdown_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]

"""What a student of a model that gives vectors costs and finds: ``python -m bench.studies.vectors RECIPE``.

The recipe is distilled, exported and measured by the command line, as `compress run` does it without a bundle. Beside
each other stand the teacher in PyTorch, the student and its forms: bytes, latency of a text at a time, what is found
by language, and the points that are lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.studies.product import run_command
from compress.console import table
from compress.metrics.languages import ALL
from compress.reports.bench import ModelReport, Report, read_report
from compress.runs.directory import find_run


def study(
    recipe: Annotated[Path, typer.Argument(help="Recipe whose task is embedding.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a field of it.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("artifacts/vectors"),
    threads: Annotated[int | None, typer.Option(help="Of the trainings; all processors if left out.")] = None,
) -> None:
    """Distil, export, measure, and print what came of it."""
    changes = [word for change in set_ or [] for word in ("--set", change)]
    run_command("distill", recipe, *changes, "--output", output, threads=threads)
    run_command("export", "--output", output, threads=threads)
    run_command("bench", "--output", output)
    report = read_report(find_run(None, output).folder / "bench" / "report.json")
    console = Console(width=160)
    console.print(report.machine.processor, highlight=False)
    for found in (costs(report), quality(report)):
        console.print(table(*found))


Shown = tuple[str, list[str], list[list[str]]]
"""A table: title, columns, rows."""


def costs(report: Report) -> Shown:
    """Bytes, and latency of a text of so many tokens, and how many times less that is than the teacher's."""
    rows = []
    for name, model in report.models.items():
        cells = []
        for length in report.lengths:
            own, first = (_alone(one, length) for one in (model, report.models[report.original]))
            cells += [f"{own:.2f}", f"{first / own:.1f}"]
        size = [f"{model.size.total / 1e6:.1f}", f"{report.times_smaller(name):.1f}"]
        rows.append([name, model.runtime, model.shape, *size, *cells])
    times = [heading for length in report.lengths for heading in (f"ms, {length} tokens", "× faster")]
    columns = ["model", "runtime", "shape", "MB", "× smaller", *times]
    return f"One text at a time, {report.machine.threads} thread(s)", columns, rows


def _alone(model: ModelReport, length: int) -> float:
    """Milliseconds of a text of so many tokens, the median."""
    return next(cell.p50_ms for cell in model.grid if (cell.batch, cell.length) == (1, length))


def quality(report: Report) -> Shown:
    """What is found by language, in percent, and the points that are lost."""
    metric = report.metrics[0]
    languages = sorted({*report.models[report.original].quality} - {ALL})
    rows = []
    for name, model in report.models.items():
        against = model.against.get(report.original)
        cells = []
        for language in (*languages, ALL):
            lost = f" ({100 * against.drop[language].value:+.1f})" if against else ""
            cells.append(f"{100 * model.quality[language][metric].value:.1f}{lost}")
        worst = against.worst_language_drop if against else None
        rows.append([name, *cells, f"{100 * worst.value:+.1f} in {worst.language}" if worst else ""])
    return f"{metric}, % (points lost against the teacher)", ["model", *languages, ALL, "worst"], rows


if __name__ == "__main__":
    typer.run(study)

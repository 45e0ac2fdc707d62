"""Students of one teacher, side by side: ``python -m bench.studies.students RECIPE [--student "layers=2"] …``.

The recipe is distilled, exported and measured by the command line; for each ``--student`` once more with the fields of
its student changed, and for a static student: the teacher is trained once. Beside each other stand the teacher in
PyTorch, the students and their forms: bytes, latency, start-up, memory, what is right by language, and the points that
are lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.fit.candidates import has_static, longest_static
from bench.studies.product import run_command
from compress.console import table
from compress.metrics.figures import Loss
from compress.metrics.languages import ALL
from compress.recipe.file import save_recipe
from compress.recipe.student import static_student_of
from compress.reports.bench import ModelReport, Report, read_report
from compress.runs.directory import find_run

_CHANCE = 0.05
_WIDTH = 400
Reports = Mapping[str, Report]
"""By what sets a student apart."""

Shown = tuple[str, list[str], list[list[str]]]
"""A table: title, columns, rows."""


def study(
    recipe: Annotated[Path, typer.Argument(help="What all students have in common, and the first of them.")],
    student: Annotated[
        list[str] | None, typer.Option(help='Fields of another student: "layers=2 hidden_size=192".')
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a field of the recipe.")] = None,
    static: Annotated[
        bool, typer.Option(help="A static student beside them, where the task has such, as long as it can be.")
    ] = True,
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("artifacts/students"),
    threads: Annotated[int | None, typer.Option(help="Of the trainings; all processors if left out.")] = None,
) -> None:
    """Distil, export, measure, and print what came of it."""
    reports = {}
    for fields in ["", *(student or [])]:
        changes = [*(set_ or []), *(f"student.{field}" for field in fields.split())]
        options = [word for change in changes for word in ("--set", change)]
        reports[fields] = _measured(output, threads, recipe, *options)
    run = find_run(None, output)
    if static and has_static(run.task) and run.recipe.student.kind == "distilled":
        written = output / "static.yaml"
        own = static_student_of(run.recipe.student, longest_static(run))
        save_recipe(run.recipe.model_copy(update={"student": own}), written)
        reports["static"] = _measured(output, threads, written)
    show_students(reports)


def _measured(output: Path, threads: int | None, *recipe: object) -> Report:
    """What is measured of a recipe's student and its forms.

    :param recipe: The recipe, and options that change it.
    """
    run_command("distill", *recipe, "--output", output, threads=threads)
    run_command("export", "--output", output, threads=threads)
    run_command("bench", "--output", output)
    return read_report(find_run(None, output).folder / "bench" / "report.json")


def show_students(reports: Reports) -> None:
    """Print both tables, each as wide as it is: lines that are broken cannot be compared."""
    for found in (costs(reports), quality(reports)):
        Console(width=_WIDTH).print(table(*found))


def costs(reports: Reports) -> Shown:
    """Bytes, latency by batch size and how many times less that is than the teacher's in PyTorch, start-up, memory."""
    first = next(iter(reports.values()))
    rows = []
    for name, report, model in _models(reports):
        times = []
        for batch in map(str, first.batch_sizes):
            against = model.against[report.original].faster[batch].value if report.original in model.against else 1.0
            times += [f"{model.latency[batch].p50_ms:.2f}", f"{against:.1f}"]
        size = [f"{model.size.total / 1e6:.1f}", f"{report.times_smaller(name):.1f}"]
        memory = max(start.needed for start in model.memory) / 1e6
        rows.append([name, model.shape, *size, *times, f"{min(model.start_up_seconds):.2f}", f"{memory:.0f}"])
    headings = [heading for batch in first.batch_sizes for heading in (f"ms, {batch} rows", "× faster")]
    columns = ["model", "shape", "MB", "× smaller", *headings, "start-up, s", "memory, MB"]
    return f"{first.machine.processor}, {first.machine.threads} thread(s)", columns, rows


def quality(reports: Reports) -> Shown:
    """What is right by language, in percent, and the points that are lost, with a star where that is significant."""
    first = next(iter(reports.values()))
    metric = first.metrics[0]
    languages = sorted({*first.models[first.original].quality} - {ALL})
    rows = []
    for name, report, model in _models(reports):
        against = model.against.get(report.original)
        cells = []
        for language in (*languages, ALL):
            lost = f" ({_told(against.drop[language])})" if against else ""
            cells.append(f"{100 * model.quality[language][metric].value:.1f}{lost}")
        worst = against.worst_language_drop if against else None
        rows.append([name, model.shape, *cells, f"{100 * worst.value:+.1f} in {worst.language}" if worst else ""])
    title = f"{metric}, % of {first.rows.quality:,} rows (points lost against the teacher; *: significant, 5 %, Holm)"
    return title, ["model", "shape", *languages, ALL, "worst"], rows


def _told(loss: Loss) -> str:
    """Points that are lost, and whether more than by chance."""
    return f"{100 * loss.value:+.1f}{'*' if loss.value > 0 and loss.p_adjusted < _CHANCE else ''}"


def _models(reports: Reports) -> list[tuple[str, Report, ModelReport]]:
    """Of the first report all models, of the others those that the teacher is not."""
    found = []
    for number, report in enumerate(reports.values()):
        found += [(name, report, each) for name, each in report.models.items() if not number or name != report.original]
    return found


if __name__ == "__main__":
    typer.run(study)

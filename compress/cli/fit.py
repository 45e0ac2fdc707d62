"""`compress fit`: its options, what it does, and what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli.options import ARTIFACTS, Json, Output, Set, Verbose, given
from compress.cli.outcome import finish, show
from compress.extras import require

if TYPE_CHECKING:
    from compress.cli.export_results import FitResult

EPILOG = (
    "Examples:\n\n"
    "  compress fit my.yaml --max-latency 2ms --max-size 10MB    the student that loses least\n\n"
    "  compress fit my.yaml --max-latency 2ms --max-drop 1.0     the smallest student\n\n"
    "  compress fit my.yaml --max-size 10MB --max-drop 1.0       the fastest student\n\n"
    "Exit codes: 0 a student is within the bounds, on the test rows too; 1 none is: the nearest is named; 2 bad input"
)


def fit(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe (YAML).", show_default="the demo")] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="Median latency at batch 1 on this machine: 2ms.")
    ] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the model's file: 10MB.")] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="POINTS", help="That the worst language loses against the teacher.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Processor that the student is for, which this machine must have.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, max=100, help="Train at most so many candidates.")] = 9,
    set_: Set = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Find the student for two of latency, size and drop; the third is made as good as can be."""

    def work() -> FitResult:
        require("compress fit", "distill", "export", "bench", "cpu")
        from bench.fit.bounds import parse_bounds
        from bench.fit.show import fit_lines, fit_table
        from bench.fit.stage import RECIPE, check_fit, run_fit_stage
        from compress.cli import commands
        from compress.cli.export_results import FitResult
        from compress.evaluation.answers import run_answers_stage

        bounds = parse_bounds(max_latency, max_size, max_drop)
        run = commands.new_run(recipe, given({"export.target": target}), set_, output, check_fit)
        data, _, _ = commands.taught(run)
        if not data.labelled:
            run_answers_stage(run)
        report = run_fit_stage(run, bounds, trials)
        written = run.folder / "fit" / RECIPE
        lines = [*fit_lines(report), f"frontier: {written.with_name('frontier.png')}"]
        if report.chosen is not None:
            lines.append(f"recipe: {written}; export and measure it: compress run {written}")
        show([fit_table(report), *lines], json_)
        return FitResult(**dict(report), run=str(run.folder), recipe=str(written) if report.chosen else None)

    found = finish(work, json_, verbose)
    raise typer.Exit(0 if found.fits and found.confirmation and found.confirmation.holds else 1)

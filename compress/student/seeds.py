"""Several students of one teacher and store, from other seeds: their mean and spread tell chance from merit."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from compress.console import say, table
from compress.processes import is_main_process, wait_for_everyone
from compress.runs.directory import Run
from compress.runs.files import write_json
from compress.student.summary import SeedResult, StudentSummary

DistilOne = Callable[[Run, Path, Path, str], StudentSummary]
"""Fills a folder with the student of a run's seed; with a scratch folder, and what people know it by."""


def best_of_seeds(run: Run, folder: Path, scratch: Path, distil_one: DistilOne) -> StudentSummary:
    """Fill a folder with the best of the students of `Student.seeds` seeds, as the validation rows have it.

    :param scratch: Survives an interruption: students that are finished are not trained again.
    """
    seeds = [run.recipe.seed + number for number in range(run.recipe.student.seeds)]
    found = {seed: _finished(run, seed, scratch / f"seed-{seed}", distil_one) for seed in seeds}
    results = [SeedResult(seed=seed, best=summary.training.best) for seed, summary in found.items()]
    by_accuracy = found[seeds[0]].training.metric == "accuracy"
    kept = (max if by_accuracy else min)(results, key=lambda result: result.best).seed
    if is_main_process():
        shutil.copytree(scratch / f"seed-{kept}" / "student", folder, dirs_exist_ok=True)
    summary = found[kept].model_copy(update={"seeds": results, "seed": kept})
    say(f"student: {told_spread(summary)}")
    return summary


def _finished(run: Run, seed: int, scratch: Path, distil_one: DistilOne) -> StudentSummary:
    """The student of a seed, made now or before."""
    done, told, filling = scratch / "student", scratch / "summary.json", scratch / "filling"
    if done.is_dir():
        return StudentSummary.model_validate_json(told.read_bytes())
    wait_for_everyone()  # until all have looked
    if is_main_process():
        shutil.rmtree(filling, ignore_errors=True)
        filling.mkdir(parents=True)
    seeded = replace(run, recipe=run.recipe.model_copy(update={"seed": seed}))
    summary = distil_one(seeded, filling, scratch / "work", f"student of seed {seed}")
    if is_main_process():
        write_json(told, summary.model_dump(mode="json"))
        filling.rename(done)
        shutil.rmtree(scratch / "work", ignore_errors=True)
    wait_for_everyone()
    return summary


def mean_and_spread(results: Sequence[SeedResult]) -> tuple[float, float]:
    """The mean of the seeds' best epochs, and their standard deviation; not a number of one seed."""
    values = [result.best for result in results]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def told_spread(summary: StudentSummary) -> str:
    """In a line, how far the seeds are apart."""
    mean, spread = mean_and_spread(summary.seeds)
    return (
        f"validation {summary.training.metric} of {len(summary.seeds)} seeds {mean:.4f} ± {spread:.4f} (mean and "
        f"standard deviation); seed {summary.seed} is kept"
    )


def seeds_table(summary: StudentSummary) -> Table:
    """The seeds side by side."""
    rows = [
        [str(result.seed), f"{result.best:.4f}", "kept" if result.seed == summary.seed else ""]
        for result in summary.seeds
    ]
    mean, spread = mean_and_spread(summary.seeds)
    title = f"Students of {len(rows)} seeds: validation {summary.training.metric}"
    return table(title, ["seed", "best epoch", ""], [*rows, ["mean ± deviation", f"{mean:.4f} ± {spread:.4f}", ""]])

"""What each choice of a recipe is worth: `python -m bench.studies.ablation PLAN.yaml [--output FOLDER]`.

A plan names a recipe, seeds, fields that are changed in all runs, and variants with the fields that each changes. One
teacher is trained; each variant distils a student from it with every seed. The table holds the students' first test
metric (accuracy, for classification) per language, mean and 95 % interval over the seeds (Student's t), and the gain
over the first variant, paired by seed.
Finished runs are not run again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from pydantic import Field, JsonValue
from rich.console import Console
from rich.table import Table

from bench.studies.product import assignments, run_command
from compress.contract import Contract
from compress.evaluation.summary import EvaluationSummary
from compress.metrics.languages import ALL
from compress.student.summary import STUDENT
from compress.teacher.summary import TEACHER

WORST = "worst-language drop"
Points = dict[str, list[float]]
"""By language: per cent or points, one a seed."""


class AblationPlan(Contract):
    """What is run."""

    recipe: Path = Field(description="from the plan's folder")
    seeds: list[int]
    fields_of_all: dict[str, JsonValue] = Field(default_factory=dict, alias="fields")
    variants: dict[str, dict[str, JsonValue]] = Field(description="the fields that each changes", min_length=1)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half of its 95 % interval, in points; one seed has no interval."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if self.half is None else f" ± {self.half:.1f}")


@dataclass(frozen=True)
class Distilling:
    """What all runs of a plan share: their recipe, the folder of the runs, and options of the command line."""

    recipe: Path
    output: Path
    options: Sequence[str]

    def evaluation(self, name: str, options: Sequence[str], threads: int | None = None) -> EvaluationSummary:
        """Distil a run of this name and tell how good its models are."""
        named = ("--name", name, "--output", self.output)
        found = run_command("distill", self.recipe, *named, *self.options, *options, threads=threads)
        return EvaluationSummary.model_validate(found["evaluation"])


def main(
    plan_file: Annotated[Path, typer.Argument(help="AblationPlan (YAML): recipe, seeds, variants.")],
    output: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("artifacts/ablation"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Recipe field for every run.")] = None,
    jobs: Annotated[int, typer.Option(help="Students that are distilled side by side, the processors shared.")] = 1,
) -> None:
    """Run a plan and print its table; `ablation.json` and `ablation.md` are written beside the runs."""
    plan = AblationPlan.model_validate(yaml.safe_load(plan_file.read_text("utf-8")))
    options = [*assignments(plan.fields_of_all), *(word for field in set_ or [] for word in ("--set", field))]
    accuracies = run_plan(plan, Distilling(plan_file.parent / plan.recipe, output, options), jobs)
    (output / "ablation.json").write_text(json.dumps(accuracies, indent=2) + "\n", "utf-8")
    headings, rows = table_of(accuracies)
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows)]
    (output / "ablation.md").write_text("\n".join(lines) + "\n", "utf-8")
    table = Table(*headings, title="Student's test result %, mean and 95 % interval over seeds")
    for row in rows:
        table.add_row(*row)
    Console(width=max(160, 14 * len(headings))).print(table)


def run_plan(plan: AblationPlan, distilling: Distilling, jobs: int) -> dict[str, Points]:
    """Distil every variant with every seed.

    :param jobs: Students that are distilled side by side.
    :return: For each variant the accuracies in per cent; the teacher's under ``teacher``.
    """
    first = distilling.evaluation(TEACHER.name, assignments(next(iter(plan.variants.values()))))
    model = str(distilling.output / TEACHER.name / TEACHER.name)
    taken: dict[str, JsonValue] = {"teacher.model": model, "teacher.fine_tune": False}
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        found = {
            (variant, seed): pool.submit(
                distilling.evaluation,
                f"{number:02}-{seed}",
                assignments({**changes, "seed": seed, **taken}),
                threads,
            )
            for number, (variant, changes) in enumerate(plan.variants.items())
            for seed in plan.seeds
        }
    accuracies: dict[str, Points] = {TEACHER.name: {}}
    for language, value in _per_cent(first, TEACHER.name).items():
        accuracies[TEACHER.name][language] = [value]
    for (variant, _), future in found.items():
        evaluation = future.result()
        assert evaluation.student_against_teacher is not None
        worst = 100 * evaluation.student_against_teacher.worst_language_drop.value
        for language, value in {**_per_cent(evaluation, STUDENT.name), WORST: worst}.items():
            accuracies.setdefault(variant, {}).setdefault(language, []).append(value)
    return accuracies


def table_of(accuracies: Mapping[str, Points]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: one row a variant, all rows first, then each language."""
    first = list(accuracies)[1]
    languages = [ALL, *(language for language in accuracies[first] if language not in (ALL, WORST))]
    rows = []
    for variant, found in accuracies.items():
        gain = "" if variant in (TEACHER.name, first) else _gain(found, accuracies[first])
        worst = str(estimate(found[WORST])) if WORST in found else ""
        rows.append([variant, gain, worst, *(str(estimate(found[language])) for language in languages)])
    return ["student", "gain", WORST, *languages], rows


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and half of the 95 % interval; a single value has none."""
    from scipy.stats import t

    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Estimate(float(array.mean()), None)
    return Estimate(float(array.mean()), float(t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5))


def _gain(found: Points, first: Points) -> str:
    gain = estimate(np.subtract(found[ALL], first[ALL]).tolist())
    return f"{'+' if gain.mean >= 0 else ''}{gain}"


def _per_cent(evaluation: EvaluationSummary, model: str) -> dict[str, float]:
    """A model's first metric by language."""
    metric = evaluation.metrics[0]
    return {language: 100 * figures[metric].value for language, figures in evaluation.models[model].items()}


if __name__ == "__main__":
    typer.run(main)

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
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.table import Table

from compress.metrics.languages import ALL

WORST = "worst-language drop"


@dataclass(frozen=True)
class AblationPlan:
    """What is run."""

    recipe: Path
    seeds: list[int]
    variants: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half of its 95 % interval, in points; one seed has no interval."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if self.half is None else f" ± {self.half:.1f}")


def main(
    plan_file: Annotated[Path, typer.Argument(help="AblationPlan (YAML): recipe, seeds, variants.")],
    output: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("artifacts/ablation"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Recipe field for every run.")] = None,
    jobs: Annotated[int, typer.Option(help="Students that are distilled side by side, the processors shared.")] = 1,
) -> None:
    """Run a plan and print its table; `ablation.json` and `ablation.md` are written beside the runs."""
    content = yaml.safe_load(plan_file.read_text("utf-8"))
    plan = AblationPlan(plan_file.parent / content["recipe"], content["seeds"], content["variants"])
    accuracies = run_plan(plan, output, [*_assignments(content.get("fields", {})), *(set_ or [])], jobs)
    (output / "ablation.json").write_text(json.dumps(accuracies, indent=2) + "\n", "utf-8")
    headings, rows = table_of(accuracies)
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows)]
    (output / "ablation.md").write_text("\n".join(lines) + "\n", "utf-8")
    table = Table(*headings, title="Student's test result %, mean and 95 % interval over seeds")
    for row in rows:
        table.add_row(*row)
    Console(width=max(160, 14 * len(headings))).print(table)


def run_plan(plan: AblationPlan, output: Path, settings: Sequence[str], jobs: int) -> dict[str, dict[str, list[float]]]:
    """Distil every variant with every seed.

    :return: For each variant and language the accuracies in percent, one a seed; the teacher's under ``teacher``.
    """
    teacher_run = "teacher"
    first = _distil(plan, output, teacher_run, [*settings, *_assignments(next(iter(plan.variants.values())))])
    taken = [f"teacher.model={output / teacher_run / 'teacher'}", "teacher.fine_tune=false"]
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        reports = {
            (variant, seed): pool.submit(
                _distil,
                plan,
                output,
                f"{number:02}-{seed}",
                [*settings, *_assignments(changes), f"seed={seed}", *taken],
                threads,
            )
            for number, (variant, changes) in enumerate(plan.variants.items())
            for seed in plan.seeds
        }
    accuracies = {"teacher": {key: [value] for key, value in _accuracies(first, "teacher").items()}}
    for (variant, _), report in reports.items():
        for language, value in _accuracies(report.result(), "student").items():
            accuracies.setdefault(variant, {}).setdefault(language, []).append(value)
    return accuracies


def table_of(accuracies: dict[str, dict[str, list[float]]]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: one row a variant, all rows first, then each language."""
    baseline = list(accuracies)[1]
    languages = [ALL, *(language for language in accuracies[baseline] if language not in (ALL, WORST))]
    rows = []
    for variant, found in accuracies.items():
        gain = "" if variant in ("teacher", baseline) else _gain(found, accuracies[baseline])
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


def _gain(found: dict[str, list[float]], baseline: dict[str, list[float]]) -> str:
    gain = estimate(np.subtract(found[ALL], baseline[ALL]).tolist())
    return f"{'+' if gain.mean >= 0 else ''}{gain}"


def _distil(
    plan: AblationPlan, output: Path, name: str, settings: Sequence[str], threads: int | None = None
) -> dict[str, Any]:
    command = [sys.executable, "-m", "compress", "distill", str(plan.recipe), "--name", name, "--output", str(output)]
    done = subprocess.run(  # noqa: S603
        [*command, "--json", *(word for setting in settings for word in ("--set", setting))],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})},
    )
    if done.returncode:
        raise SystemExit(f"{name} ended with exit code {done.returncode}")
    return json.loads(done.stdout)["evaluation"]


def _assignments(changes: dict[str, Any]) -> list[str]:
    return [f"{field}={json.dumps(value)}" for field, value in changes.items()]


def _accuracies(report: dict[str, Any], model: str) -> dict[str, float]:
    metric, found = report["metrics"][0], report["models"][model]
    found = {language: 100 * figures[metric]["value"] for language, figures in found.items()}
    if model == "student":
        found[WORST] = 100 * report["student against teacher"]["worst_language_drop"]["value"]
    return found


if __name__ == "__main__":
    typer.run(main)

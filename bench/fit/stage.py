"""The student for what is asked for: which shapes can meet it, which of them learns most, and its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.fit.bounds import FitBounds
from bench.fit.candidates import by_size, candidates_of, recipe_of, used_tokens
from bench.fit.report import FIT, FitCandidate, FitConfirmation, FitReport, FitWeights, write_fit
from bench.fit.search import FitSearch, look_for_student, trials_of, why_chosen
from bench.fit.show import draw_fit
from bench.fit.trials import FitRunner
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.evaluation.stage import run_evaluation_stage
from compress.processes import process_count
from compress.recipe.file import save_recipe
from compress.recipe.recipe import Recipe, check_plain_text
from compress.runs.directory import Run, keep_recipe, locked
from compress.runs.stages import run_stage
from compress.student.stage import adopt_student
from compress.student.summary import STUDENT
from compress.targets import resolve_target
from compress.tasks.contract import refuses
from compress.tasks.registry import task_named
from compress.teacher.augmentation import run_augmentation_stage
from compress.teacher.outputs import run_cache_stage
from compress.teacher.summary import TEACHER

RECIPE = "recipe.yaml"
_NOISE = 1.03  # by what factor two times of the same form differ


def check_fit(recipe: Recipe) -> None:
    """Refuse what cannot be fitted, before any work is done.

    :raises CompressError: Saying what is in the way.
    """
    target, here, task = resolve_target(recipe.export.target), resolve_target("auto"), task_named(recipe.task)
    if target.kind != here.kind:
        raise CompressError(
            f"--target {target.name}: latency is measured on this machine, which is {here.name}; run the command on a "
            "machine of that kind, or leave it out"
        )
    if recipe.student.kind == "static":
        raise CompressError("student.kind: static has no layers to fit; leave it out: static students are tried too")
    if recipe.student.kind == "as-is":
        raise CompressError("student.kind: as-is means that there is no student to fit; leave it out")
    if recipe.teacher.predictions:
        raise CompressError("teacher.predictions: what students lose is told against a teacher that is asked; name one")
    if task.GENERATES:
        raise CompressError(f"compress fit: students for {recipe.task} are not searched for yet; use compress distill")
    student = recipe.student
    if student.tokenizer or student.distillation.token_signals or refuses(task, "student.vocabulary_size", ""):
        check_plain_text(recipe)  # else the candidates have the tokens that it tells
    if process_count() > 1:
        raise CompressError("compress fit: candidates are timed and trained in one process; start it without torchrun")


def run_fit_stage(run: Run, bounds: FitBounds, most: int) -> FitReport:
    """Fill ``fit/`` with ``fit.json``, ``frontier.png`` and the recipe of the chosen student, which becomes the run's
    own; and ``student/`` with that student.

    :param run: With data and teacher.
    :param most: So many candidates are trained at most.
    """
    if run.recipe.student.augmentation.copies:
        run_augmentation_stage(run)
    data = load_data(run)
    weights = candidates_of(run, used_tokens(run, data))
    runner = FitRunner(run, data, resolve_target(run.recipe.export.target), _reference(weights))
    with locked(run.folder):
        found = look_for_student(weights, bounds, most, run.recipe.student.training.epochs, runner)
        confirmation = _confirmation(runner, found) if found.chosen else None
    report = FitReport(
        bounds=bounds,
        objective=bounds.objective,
        target=resolve_target(run.recipe.export.target).name,
        form=runner.form,
        metric=confirmation.losses.metric if confirmation else "",
        rows=len(runner.rows),
        epochs=found.epochs,
        trials=trials_of(found),
        fits=found.chosen is not None and found.course.keeps(found.chosen),
        why=why_chosen(found),
        confirmation=confirmation,
    )
    _finish(run, runner, report)
    return report


def _reference(weights: Mapping[FitCandidate, FitWeights]) -> FitCandidate:
    """The one that all are timed in turn with: the smallest with layers.

    It reads the rows as all others do: with all of the teacher's tokens it knows those of each.
    """
    smallest = next((one for one in by_size(weights) if not one.is_static), by_size(weights)[0])
    return smallest.model_copy(update={"tokens": None})


def _finish(run: Run, runner: FitRunner, report: FitReport) -> None:
    """Put the chosen student and what was found in their places."""
    chosen, parents = report.chosen, [DATA.name, TEACHER.name]
    if chosen is not None:
        run = replace(run, recipe=recipe_of(chosen.candidate, run.recipe))
        run_cache_stage(run)
        adopt_student(run, *runner.trained(chosen.candidate))
        parents.append(STUDENT.name)

    def build(folder: Path, _: Path) -> FitReport:
        write_fit(report, folder)
        draw_fit(report, folder / "frontier.png")
        if chosen is not None:
            save_recipe(run.recipe, folder / RECIPE)
        return report

    run_stage(run, FIT, {"bounds": report.bounds.model_dump()}, parents, build, always=True)
    runner.tidy()
    if chosen is not None:
        keep_recipe(replace(run, overrides={}))
        run_evaluation_stage(run)


def _confirmation(runner: FitRunner, found: FitSearch) -> FitConfirmation:
    """Of the chosen one alone: else the test rows would be rows that it was chosen by."""
    assert found.chosen is not None
    losses, cost = runner.confirm(found.chosen)
    bounds, worst = found.bounds, losses.worst_language_drop
    milliseconds = found.survey.measured[found.chosen].p50_ms if cost.noisy else cost.p50_ms
    holds = bounds.allow(milliseconds / _NOISE, cost.bytes)
    holds = holds and (bounds.points is None or 100 * worst.value <= bounds.points)
    return FitConfirmation(losses=losses, cost=cost, holds=holds)

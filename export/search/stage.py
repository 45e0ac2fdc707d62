"""The fastest form of the student that stays within a loss of accuracy, in every language.

First the usual variants; where the fastest of them loses too much, its most sensitive layers stay in 32 bits. What
holds on one half of the rows must hold on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from compress.console import say, working
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError, RejectedVariantError
from compress.runs.directory import Run
from compress.runs.files import content_hash
from compress.runs.stages import run_stage
from compress.runs.versions import program_version
from compress.student.summary import reference_stages
from compress.targets import Target
from compress.variants.registry import CHOSEN, FUSED, PLAIN, VARIANTS
from export.search.frontier import draw, frontier_of
from export.search.judge import halves_of
from export.search.report import Candidate, LayerSensitivity, SearchedRows, SearchReport, Trial, write_search
from export.search.trials import TrialRunner
from export.variants.making import Ingredients
from export.variants.merged import keep_merged_if_same
from export.variants.parity import measure_parity, tolerance_for
from export.variants.sample import Sample, draw_sample
from export.variants.summary import VariantSummary, variant_stage

_WORTH_IT = 1.03  # what is not so much faster than the next best is noise
_BY_LAYER = ("int8", "int4")  # precisions that layers can be left out of


class Runner(Protocol):
    """What tries candidates: `export.search.trials.TrialRunner`."""

    target: Target
    candidates: list[Candidate]
    sample: Sample

    def trial(self, candidate: Candidate) -> Trial:
        """What a candidate costs and loses."""

    def sensitivity(self, candidate: Candidate) -> list[LayerSensitivity]:
        """The layers of a candidate, the most sensitive first."""


def run_search_stage(run: Run, ingredients: Ingredients, sample: Sample) -> VariantSummary:
    """Fill ``onnx-chosen/`` with the fastest form within the budget, ``search.json`` and ``frontier.png``.

    :param ingredients: For the run's target.
    :param sample: Rows for parity, which is noted; what decides is the budget.
    """
    budget, target = run.recipe.export.budget, ingredients.target
    parents = (DATA.name, *reference_stages(run), PLAIN.name)
    inputs = {
        **run.tokenisation,
        "target": target.name,
        "budget": budget.model_dump(),
        "calibration": ingredients.calibration.model_dump(),
        "generation": run.recipe.generation.model_dump(),
        "threads": run.recipe.bench.threads,
        "seed": run.recipe.seed,
        "opset": ingredients.opset,
        "embedding_bits": ingredients.embedding_bits,
    }
    # What a trial depends on: not how much may be lost, so that another budget finds the trials of this one.
    same = {
        **inputs,
        "budget": budget.model_dump(exclude={"points"}),
        "parents": [run.digest(name) for name in parents],
        "code": program_version(),
    }

    def build(folder: Path, _: Path) -> VariantSummary:
        judged = draw_sample(run, load_data(run), budget.rows)
        runner = TrialRunner(run, ingredients, judged, run.folder / "trials" / content_hash(same))
        report = search(runner, budget.points or 0.0)
        with working(f"{CHOSEN.name}: writing {report.chosen.name}"):
            made = runner.make(report.chosen.candidate, folder)
            keep_merged_if_same(CHOSEN.name, folder, sample)
        write_search(report, folder)
        draw(report, folder / "frontier.png")
        with working(f"{CHOSEN.name}: comparing with {PLAIN.name} on {len(sample.rows)} rows"):
            parity = measure_parity(run.task, sample.answers_of(run.path_of(PLAIN.name)), sample.answers(folder))
        told = dict(made) | {"target": target.name if VARIANTS[made.form].precision == "bf16" else target.kind}
        tolerance = tolerance_for(VARIANTS[made.form], run.recipe.export)
        return VariantSummary(**told, parent=PLAIN.name, tolerance=tolerance, bytes=report.chosen.bytes, parity=parity)

    return run_stage(run, variant_stage(CHOSEN.name), inputs, parents, build)


def check_target(target: Target) -> None:
    """Refuse a GPU and a browser.

    :raises CompressError: Saying that this search cannot time it.
    """
    if target.is_gpu or target.browser:
        raise CompressError(
            f"--budget: the search times every form on this machine's processor, the target is {target.name}; "
            "choose a CPU with --target"
        )


def search(runner: Runner, points: float) -> SearchReport:
    """Try forms until the fastest within the budget is known and confirmed.

    :param points: Largest drop of any language, in points.
    :raises CompressError: If other work kept a form from being timed.
    """
    halves = halves_of(runner.sample.rows, by_text=runner.sample.task.RANKS)
    if runner.sample.task.SINGLE_LABEL:  # elsewhere a row may be better or worse, not right or wrong alone
        _tell_resolution([runner.sample.rows[number].lang for number in halves[0]], points)
    trials = [trial for candidate in runner.candidates for trial in _tried(runner, candidate)]
    worth_it = max(_WORTH_IT, _noise_of(trials))
    sensitivity: list[LayerSensitivity] = []
    small = [trial for trial in trials if trial.candidate.form.precision in _BY_LAYER]
    fastest = max(small or trials, key=_speed)
    if not fastest.is_accepted(points) and _speed(fastest) > worth_it * _speed(_best(trials, points)):
        say(f"search: {fastest.name} loses too much: which layers are to blame?")
        sensitivity = runner.sensitivity(fastest.candidate)
        trials += _without_worst_layers(runner, fastest.candidate, sensitivity, points)
    trials.sort(key=_speed, reverse=True)
    noisy = [trial.name for trial in trials if trial.noisy]
    if noisy:
        raise CompressError(
            f"search: too noisy: other work had the processor while {', '.join(noisy)} was timed; stop it and export "
            "again (the other trials are kept)"
        )
    chosen = _best(trials, points)
    for trial in trials:
        if _speed(trial) > _speed(chosen) and trial.holds_in_search(points):
            say(f"search: {trial.name} is faster, but loses too much on the rows that confirm")
    frontier = frontier_of(trials)
    return SearchReport(
        budget=points,
        metric=chosen.search.metric,
        target=runner.target.name,
        rows=SearchedRows(search=len(halves[0]), confirmation=len(halves[1])),
        trials=[
            trial.model_copy(update={"frontier": trial in frontier, "chosen": trial is chosen}) for trial in trials
        ],
        sensitivity=sensitivity,
    )


def _tried(runner: Runner, candidate: Candidate) -> list[Trial]:
    """The trial of a candidate; none where its graphs do not come out as they should, which is said."""
    try:
        return [runner.trial(candidate)]
    except RejectedVariantError as error:
        say(f"search: {candidate.name} is left out: {error}")
        return []


def _without_worst_layers(
    runner: Runner, candidate: Candidate, sensitivity: Sequence[LayerSensitivity], points: float
) -> list[Trial]:
    """Leave the worst layer in 32 bits, then two, four and so on, until the budget holds or little would be left."""
    found: list[Trial] = []
    count = 1
    while count <= len(sensitivity) // 2:
        worst = tuple(entry.layer for entry in sensitivity[:count])
        found.append(runner.trial(candidate.model_copy(update={"excluded": worst})))
        if found[-1].is_accepted(points):
            break
        count *= 2
    return found


def _tell_resolution(languages: Sequence[str], points: float) -> None:
    """A drop is a multiple of what one row counts, so a small budget on few rows lets nothing change.

    :param languages: Of the rows that are searched with.
    """
    language, rows = min(Counter(languages).items(), key=lambda item: item[1])
    if 100 / rows > points:
        say(
            f"search: one of the {rows} rows of {language} counts {100 / rows:.1f} points, more than the budget of "
            f"{points:g}: no row may change; with more validation rows more could be accepted"
        )


def _noise_of(trials: Sequence[Trial]) -> float:
    """By what factor times of the same form differ: that of the student in 32 bits, which is timed against itself."""
    noise = max((max(_speed(trial), 1 / _speed(trial)) for trial in trials if trial.name == FUSED.name), default=1.0)
    if noise > _WORTH_IT:
        say(f"search: the same form timed twice differs by {100 * (noise - 1):.0f} %: what differs by less is noise")
    return noise


def _best(trials: Sequence[Trial], points: float) -> Trial:
    """The fastest that is accepted; the form in 32 bits loses nothing, so there is one."""
    return max((trial for trial in trials if trial.is_accepted(points)), key=_speed)


def _speed(trial: Trial) -> float:
    """Against the student in 32 bits, which ran in turn with it: milliseconds of two trials cannot be compared."""
    return trial.faster

"""The fastest form of the student that stays within a loss of accuracy, in every language.

First the usual variants; where the fastest of them loses too much, its most sensitive layers stay in 32 bits; where
that is not enough, the student is distilled again with the rounding of int8. What holds on one half of the rows must
hold on the other.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import say
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.runs.directory import Run
from compress.runs.files import content_hash, write_json
from compress.runs.stages import run_stage
from compress.targets import Target, resolve_target
from export.onnx.plain import save_companions
from export.search.frontier import draw, frontier_of
from export.search.trials import Candidate, TrialRunner
from export.variants.parity import measure_parity

if TYPE_CHECKING:
    from export.variants.sample import Sample

STAGE = "onnx-chosen"
_WITH_LAYERS = ("onnx-int8", "onnx-static")  # forms in which layers can be left out
_WORTH_IT = 1.03  # what is not so much faster than the next best is noise


def run_search_stage(run: Run, sample: Sample) -> dict[str, Any]:
    """Fill ``onnx-chosen/`` with the fastest form within the budget, ``search.json`` and ``frontier.png``.

    :param sample: Rows for parity, which is noted; what decides is the budget.
    """
    settings = run.recipe.export
    budget, target = settings.budget, resolve_target(settings.target)
    data = load_data(run)
    parents = ("data", "teacher", "student", "cache", "onnx")
    inputs = {
        **run.tokenisation,
        "target": target.name,
        "budget": budget.model_dump(),
        "calibration": settings.calibration.model_dump(),
        "generation": run.recipe.generation.model_dump(),
        "threads": run.recipe.bench.threads,
        "seed": run.recipe.seed,
    }
    # What a trial depends on: not how much may be lost, so that another budget finds the trials of this one.
    same = {
        **inputs,
        "budget": budget.model_dump(exclude={"points"}),
        "parents": [run.digest(name) for name in parents],
    }

    def build(folder: Path, _: Path) -> dict[str, Any]:
        runner = TrialRunner(run, data, target, run.folder / "trials" / content_hash(same))
        report = search(runner, budget.points or 0.0)
        chosen = report["chosen"]
        runner.write(_candidate(chosen), folder)
        save_companions(run.path_of("onnx"), folder)
        write_json(folder / "search.json", report)
        draw(report, folder / "frontier.png")
        return {
            "parent": "onnx",
            "target": target.name,
            "bytes": chosen["bytes"],
            "parity": measure_parity(sample.answers(run.path_of("onnx")), sample.answers(folder)).as_dict(),
            **{name: report[name] for name in ("budget", "metric", "rows", "trials", "chosen")},
        }

    return run_stage(run, STAGE, inputs, parents, build)


def check_target(target: Target) -> None:
    """Refuse a GPU.

    :raises CompressError: Saying that this search cannot time it.
    """
    if target.is_gpu:
        raise CompressError(
            f"--budget: the search times every form on this machine's processor, the target is {target.name}; "
            "choose a CPU with --target"
        )


def search(runner: TrialRunner, points: float) -> dict[str, Any]:
    """Try forms until the fastest within the budget is known and confirmed.

    :param points: Largest drop of any language, in points.
    :return: All trials in the order of their latency, the layers by sensitivity, and the chosen form.
    """
    _tell_resolution(runner, points)
    trials = [runner.trial(candidate) for candidate in runner.candidates]
    sensitivity: list[dict[str, Any]] = []
    fastest = max((trial for trial in trials if trial["variant"] in _WITH_LAYERS), key=_speed)
    if not _is_accepted(fastest, points) and _speed(fastest) > _WORTH_IT * _speed(_best(trials, points)):
        say(f"search: {fastest['name']} loses too much: which layers are to blame?")
        sensitivity = runner.sensitivity(_candidate(fastest))
        trials += _without_worst_layers(runner, fastest, sensitivity, points)
        if _best(trials, points)["variant"] == "onnx-fused":
            trials.append(runner.trial(Candidate("onnx-int8", retrained=True)))
    trials.sort(key=_speed, reverse=True)
    chosen = _best(trials, points)
    for trial in trials:
        if _speed(trial) > _speed(chosen) and _holds(trial, points, "search"):
            say(f"search: {trial['name']} is faster, but loses too much on the rows that confirm")
    frontier = frontier_of(trials)
    return {
        "budget": points,
        "metric": chosen["search"]["metric"],
        "target": runner.target.name,
        "rows": {name: len(half) for name, half in zip(("search", "confirmation"), runner.halves, strict=True)},
        "trials": [{**trial, "frontier": trial in frontier, "chosen": trial is chosen} for trial in trials],
        "sensitivity": sensitivity,
        "chosen": chosen,
    }


def _without_worst_layers(
    runner: TrialRunner, trial: dict[str, Any], sensitivity: list[dict[str, Any]], points: float
) -> list[dict[str, Any]]:
    """Leave the worst layer in 32 bits, then two, four and so on, until the budget holds or little would be left."""
    found = []
    count = 1
    while count <= len(sensitivity) // 2:
        worst = tuple(entry["layer"] for entry in sensitivity[:count])
        found.append(runner.trial(Candidate(trial["variant"], worst, trial["calibration"])))
        if _is_accepted(found[-1], points):
            break
        count *= 2
    return found


def _tell_resolution(runner: TrialRunner, points: float) -> None:
    """A drop is a multiple of what one row counts, so a small budget on few rows lets nothing change."""
    counts = Counter(runner.rows[number].lang for number in runner.halves[0])
    language, rows = min(counts.items(), key=lambda item: item[1])
    if 100 / rows > points:
        say(
            f"search: one of the {rows} rows of {language} counts {100 / rows:.1f} points, more than the budget of "
            f"{points:g}: no row may change; with more validation rows more could be accepted"
        )


def _best(trials: list[dict[str, Any]], points: float) -> dict[str, Any]:
    """The fastest that is accepted; the form in 32 bits loses nothing, so there is one."""
    return max((trial for trial in trials if _is_accepted(trial, points)), key=_speed)


def _is_accepted(trial: dict[str, Any], points: float) -> bool:
    """Whether it stays within the budget on the rows of the search, and then on those that confirm."""
    return _holds(trial, points, "search") and _holds(trial, points, "confirmation")


def _holds(trial: dict[str, Any], points: float, half: str) -> bool:
    return 100 * trial[half]["worst_language_drop"]["value"] <= points


def _speed(trial: dict[str, Any]) -> float:
    """Against the student in 32 bits, which ran in turn with it: milliseconds of two trials cannot be compared."""
    return trial["faster"]


def _candidate(trial: dict[str, Any]) -> Candidate:
    return Candidate(trial["variant"], tuple(trial["excluded"]), trial["calibration"], trial["retrained"])

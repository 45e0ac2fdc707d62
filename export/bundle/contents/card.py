"""The model card: what the models are, what they were learnt from, how good they are in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.console import markdown, visible
from compress.data.summary import DATA
from compress.evaluation.summary import EVALUATION, Seen
from compress.evaluation.tables import MOST_SHOWN, percent, points
from compress.metrics.languages import ALL
from compress.recipe.student import Distillation
from compress.reports.bench import Report
from compress.reports.certificate import Certificate
from compress.runs.directory import Run
from compress.serving.format import BundleModel
from compress.student.summary import STUDENT, original_name, original_summary
from compress.tasks.contract import Task
from compress.tasks.rows import Row
from compress.teacher.summary import source_stage
from compress.variants.engine import read_sidecar
from compress.variants.files import engines_in
from export.bundle.contents.bom import materials_of
from export.bundle.contents.client import ClientExample
from export.onnx.graphs import depends_on_batch

if TYPE_CHECKING:
    import jinja2

_SURE = 0.05
_TO_BE_SEEN = 0.05  # a loss of accuracy, 0 to 1, that the rows of a language must be enough to show
_FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Evidence:
    """What is known of the models: the report of the run's bench stage and its certificate, where there are these."""

    report: Report | None
    certificate: Certificate | None = None


def write_card(
    run: Run,
    models: Sequence[BundleModel],
    evidence: Evidence,
    rows: Sequence[Row],
    example: ClientExample,
    path: Path,
) -> None:
    """Write the card as Markdown, with the head that model hubs read.

    :param models: Of the bundle; their files lie in the card's folder.
    :param rows: The canary's.
    :param example: What `client.py` asks.
    """
    task, recipe, folder = run.task, run.recipe, path.parent
    graphs = [model for model in models if model.reads == "tokens"]
    text = _template().render(
        run=recipe,
        task=recipe.task,
        models=models,
        materials=materials_of(recipe, run.summary(source_stage(run))),
        canary_rows=len(rows),
        asking="encode" if task.VECTORS else "rank" if task.RANKS else "predict",
        example_call=task.example_call(min(rows, key=lambda row: row.lang)),
        served_by_graph=len(task.GRAPHS) == 1,
        changing=[model for model in models if _depends_on_batch(folder / model.folder)],
        example=example.model.name,
        example_is_plain=example.plain,
        optimum=next((model for model in graphs if model.runtime == "ONNX Runtime"), None),
        optimum_class=task.AUTO_CLASS.replace("AutoModel", "ORTModel"),
        repositories=sorted({path.parent.parent.name for path in folder.glob("models/*/*/config.pbtxt")}),
        rebuild=rebuild_commands(models, folder),
        **_learnt_from(run),
        certified=certified_lines(evidence.certificate, graphs),
        **_measured(run, [model for model in graphs if model.measured], evidence.report),
    )
    path.write_text(text, "utf-8")


def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 — Markdown, not HTML
        loader=jinja2.FileSystemLoader(_FILES), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined, finalize=_on_one_line,
    )  # fmt: skip
    environment.filters |= {"parity": comparison_with_parent, "markdown": markdown}
    return environment.get_template("card.md.jinja")


def _on_one_line(value: object) -> object:
    """What the card is filled with, spaces at its ends included."""
    return visible(" ".join(value.splitlines())) if isinstance(value, str) else value


def _learnt_from(run: Run) -> Mapping[str, object]:
    """What the card says of data, teacher and student."""
    task, data = run.task, run.summary(DATA)
    languages = [language for language in run.summary(EVALUATION).rows if language != ALL]
    return {
        "data": data,
        "original": original_summary(run),
        "original_name": original_name(run),
        "student": run.summary(STUDENT) if run.recipe.student.is_learnt else None,
        "learnt_by": learnt_by(run.recipe.student.distillation, task),
        "languages": languages,
        "in_pairs": any(len(task.languages_in(language)) > 1 for language in languages),
        "codes": sorted({code for language in data.languages for code in task.languages_in(language)}),
    }


def learnt_by(settings: Distillation, task: Task) -> str:
    """What a student's loss was made of."""
    if task.VECTORS:
        return ", ".join(f"{name} {weight}" for name, weight in settings.vectors.weights.items() if weight)
    told = [f"α {settings.alpha}", *([settings.ranking] if task.RANKS else [])]
    has_temperature = settings.ranking == "lists" if task.RANKS else not task.NUMBERS
    return ", ".join([*told, *([f"temperature {settings.temperature}"] if has_temperature else [])])


def _measured(run: Run, models: Sequence[BundleModel], report: Report | None) -> Mapping[str, object]:
    """What the card says of measurements; nothing where there are none of these models."""
    if report is None or not models:
        return {"report": report, "measured": [], "table": [], "weak": {}, "cells": [], "untold": {}, "rows_of": {}}
    evaluation = run.summary(EVALUATION)
    return {
        "report": report,
        "measured": models,
        "table": quality_rows(report, models),
        "weak": weak_languages(
            report, models, evaluation.seen_in_training, enough="text" if run.task.VECTORS else "labels"
        ),
        "cells": weak_cells(report, models),
        "untold": untold_languages(report, models, evaluation.rows),
        "rows_of": evaluation.rows,
    }


def quality_rows(report: Report, models: Sequence[BundleModel]) -> list[list[str]]:
    """The main metric by language, of what the run starts from and of each model: percent with its 95 % interval."""
    metric = report.metrics[0]
    measured = [report.models[name] for name in (report.original, *(model.name for model in models))]
    return [
        [language, *(percent(model.quality[language][metric]) for model in measured)]
        for language in report.models[report.original].quality
    ]


def weak_languages(
    report: Report, models: Sequence[BundleModel], seen: Mapping[str, Seen], *, enough: Seen = "labels"
) -> Mapping[str, Sequence[str]]:
    """For each language with a known weakness, what it is.

    :param models: Measured ones.
    :param seen: What training saw of each language.
    :param enough: All that there is to see: vectors are learnt of text alone.
    """
    found: dict[str, list[str]] = {}
    for language, how in seen.items():
        if how not in ("labels", enough):
            found.setdefault(language, []).append(
                "not seen in training" if how == "nothing" else "its text was seen in training, none of its labels"
            )
    for model in models:
        for language, problems in _weaknesses(report, model.name).items():
            found.setdefault(language, []).extend(problems)
    return found


def weak_cells(report: Report, models: Sequence[BundleModel]) -> list[str]:
    """Labels that are significantly worse in a language than with what the run starts from, the surest first.

    :param models: Measured ones.
    """
    worse = [
        (cell, model.name)
        for model in models
        for cell in report.models[model.name].against[report.original].cells
        if cell.recall.value > 0 and cell.recall.p_adjusted < _SURE
    ]
    worse.sort(key=lambda found: -found[0].recall.low)
    told = [
        f"{cell.label} in {cell.language}: {name} loses {points(cell.recall)} points of recall, of {cell.rows:,} rows"
        for cell, name in worse[:MOST_SHOWN]
    ]
    return [*told, *([f"and {len(worse) - MOST_SHOWN} more"] if len(worse) > MOST_SHOWN else [])]


def certified_lines(certificate: Certificate | None, models: Sequence[BundleModel]) -> list[str]:
    """What a certificate says of models, a line each."""
    if certificate is None:
        return []
    names = [model.name for model in models]
    told = [certificate.told(name) for name in names if name in certificate.variants]
    return told + [f"{name}: not certified" for name in names if name not in certificate.variants]


def untold_languages(report: Report, models: Sequence[BundleModel], rows: Mapping[str, int]) -> Mapping[str, float]:
    """Languages whose rows are too few to call them strong, and what may be lost there unseen, 0 to 1.

    Of n rows of which none has changed, a loss of 3/n is not excluded (95 %: the rule of three, Hanley and
    Lippman-Hand, 1983).

    :param models: Measured ones.
    :param rows: Test rows by language.
    """
    found: dict[str, float] = {}
    for model in models:
        for language, drop in report.models[model.name].against[report.original].drop.items():
            lost = min(1.0, max(drop.high, 3 / rows[language]))
            if language != ALL and lost > _TO_BE_SEEN:
                found[language] = max(lost, found.get(language, 0.0))
    return found


def _weaknesses(report: Report, name: str) -> Mapping[str, Sequence[str]]:
    """By language, where there is one: significantly worse than what the run starts from, or than all languages."""
    measured, metric, original = report.models[name], report.metrics[0], report.original
    overall, drop = measured.quality[ALL][metric].value, measured.against[original].drop
    found: dict[str, list[str]] = {}
    for language, figures in measured.quality.items():
        if language == ALL:
            continue
        loss = drop[language]
        if loss.value > 0 and loss.p_adjusted < _SURE:
            said = f"{name} loses {100 * loss.value:.1f} points of {metric} against the {original}"
            found.setdefault(language, []).append(said)
        if figures[metric].high < overall:
            said = f"{name} has {percent(figures[metric])} % {metric}, all languages {100 * overall:.1f} %"
            found.setdefault(language, []).append(said)
    return found


def rebuild_commands(models: Sequence[BundleModel], folder: Path) -> list[str]:
    """The commands that build the bundle's engines again from the graphs beside them.

    :raises CompressError: If an engine's description is missing or not as it must be.
    """
    graphs = {model.name: model.folder for model in models}
    return [
        _moved(read_sidecar(engine).rebuild, model.parent, graphs[model.parent])
        for model in models
        for engine in engines_in(folder / model.folder)
    ]


def _moved(command: str, parent: str, folder: str) -> str:
    """A command that names a graph of the run, for the same graph of the bundle."""
    return command.replace(f" {parent}/", f" {folder}/", 1)


def comparison_with_parent(model: BundleModel) -> str:
    """What a variant was accepted by."""
    if model.parity is None:
        return f"the same tokens as {model.parent}'s" if model.reads == "text" else ""
    agreement = f"{100 * model.parity.agreement:.2f} % of {model.parity.rows} predictions are {model.parent}'s"
    if model.parity.cosine is not None:
        agreement = (
            f"cosines to {model.parent}'s vectors of {model.parity.rows} rows are {model.parity.cosine:.4f} or more"
        )
    if model.parity.largest_value is None:
        return agreement
    kept = f"; {model.parity.too_large:,} nodes with larger ones stay in 32 bits" if model.parity.too_large else ""
    return (
        f"{agreement}, **calculated in 32 bits on a CPU**; in half precision values up to 65,504 fit, and "
        f"{model.parity.largest_value:,.0f} was the largest{kept}"
    )


def _depends_on_batch(folder: Path) -> bool:
    return any(depends_on_batch(path) for path in folder.glob("*.onnx"))

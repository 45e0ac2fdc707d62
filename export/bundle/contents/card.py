"""The model card: what the models are, what they were learnt from, how good they are in each language."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from compress.evaluation.tables import percent
from compress.metrics.languages import ALL
from compress.runs.directory import Run
from compress.serving.format import BundleModel
from compress.tasks.rows import Row
from export.bundle.choice import Report
from export.bundle.contents.bom import materials_of
from export.bundle.contents.client import Example
from export.onnx.graphs import depends_on_batch

_SURE = 0.05
_FILES = Path(__file__).parent / "files"


def write_card(
    run: Run, models: Sequence[BundleModel], report: Report | None, rows: Sequence[Row], example: Example, path: Path
) -> None:
    """Write the card as Markdown, with the head that model hubs read.

    :param report: Of the run's bench stage, if it has been run.
    :param rows: The canary's.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 — Markdown, not HTML
        loader=jinja2.FileSystemLoader(_FILES), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    folder = path.parent
    environment.filters["parity"] = _parity
    stages, recipe = run.manifest["stages"], run.recipe
    data = stages["data"]["summary"]
    evaluation = stages["evaluation"]["summary"]
    measured = [model for model in models if report and model.measured and model.reads == "tokens"]
    text = environment.get_template("card.md.jinja").render(
        run=recipe,
        task=recipe.task,
        languages=[language for language in evaluation["rows"] if language != ALL],
        codes=sorted({code for language in data["languages"] for code in _codes(language, run.task.GENERATES)}),
        models=models,
        measured=measured,
        report=report,
        materials=materials_of(recipe),
        canary_rows=len(rows),
        pairs=rows[0].text_pair is not None,
        changing=[model for model in models if _depends_on_batch(folder / model.folder)],
        example=example.model.name,
        example_is_plain=example.plain,
        optimum=next((model for model in models if model.runtime == "ONNX Runtime" and model.reads == "tokens"), None),
        optimum_class=run.task.AUTO_CLASS.replace("AutoModel", "ORTModel"),
        repositories=sorted({path.parent.parent.name for path in folder.glob("models/*/*/config.pbtxt")}),
        data=data,
        teacher=stages["teacher"]["summary"],
        student=stages["student"]["summary"],
        table=quality_rows(report, measured) if report and measured else [],
        weak=weak_languages(report, measured, evaluation["seen in training"]) if report and measured else {},
        rebuild=rebuild_commands(models, folder),
    )
    path.write_text(text, "utf-8")


def quality_rows(report: Report, models: Sequence[BundleModel]) -> list[list[str]]:
    """The main metric by language, of the teacher and each model: percent with its 95 % interval."""
    metric = report["metrics"][0]
    names = ["teacher", *(model.name for model in models)]
    return [
        [language, *(percent(report["models"][name]["quality"][language][metric]) for name in names)]
        for language in report["models"]["teacher"]["quality"]
    ]


def weak_languages(report: Report, models: Sequence[BundleModel], seen: dict[str, str]) -> dict[str, list[str]]:
    """For each language with a known weakness, what it is."""
    metric = report["metrics"][0]
    found: dict[str, list[str]] = {}
    for language, how in seen.items():
        if how != "labels":
            found.setdefault(language, []).append(
                "not seen in training" if how == "nothing" else "its text was seen in training, none of its labels"
            )
    for model in models:
        measured = report["models"][model.name]
        overall = measured["quality"][ALL][metric]["value"]
        for language, figures in measured["quality"].items():
            if language == ALL:
                continue
            loss = measured["against"]["teacher"]["drop"][language]
            if loss["value"] > 0 and loss["p_adjusted"] < _SURE:
                said = f"{model.name} loses {100 * loss['value']:.1f} points of {metric} against the teacher"
                found.setdefault(language, []).append(said)
            if figures[metric]["high"] < overall:
                said = f"{model.name} has {percent(figures[metric])} % {metric}, all languages {100 * overall:.1f} %"
                found.setdefault(language, []).append(said)
    return found


def rebuild_commands(models: Sequence[BundleModel], folder: Path) -> list[str]:
    """The commands that build the bundle's engines again from the graphs beside them."""
    graphs = {model.name: model.folder for model in models}
    sidecars = [
        (model, json.loads(engine.with_suffix(".json").read_text("utf-8")))
        for model in models
        for engine in sorted((folder / model.folder).glob("*.engine"))
    ]
    return [_moved(sidecar["rebuild"], model.parent, graphs[model.parent]) for model, sidecar in sidecars]


def _moved(command: str, parent: str, folder: str) -> str:
    """A command that names a graph of the run, for the same graph of the bundle."""
    return command.replace(f" {parent}/", f" {folder}/", 1)


def _parity(model: BundleModel) -> str:
    """What a variant was accepted by."""
    if model.parity is None:
        return f"the same tokens as {model.parent}'s" if model.reads == "text" else ""
    return f"{100 * model.parity.agreement:.2f} % of {model.parity.rows} predictions are {model.parent}'s"


def _codes(language: str, is_pair: bool) -> list[str]:
    """The languages of a pair."""
    return language.split("-") if is_pair else [language]


def _depends_on_batch(folder: Path) -> bool:
    return any(depends_on_batch(path) for path in folder.glob("*.onnx"))

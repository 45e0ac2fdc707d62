"""The evaluation stage: teacher against student on the test split, language by language."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from compress.console import progress, say
from compress.data.stage import DataSet, load_data
from compress.data.table import RowTable
from compress.metrics.metric import ALL, agreement, compare, confidences, per_language, signatures
from compress.models.load import load_tokenizer
from compress.recipe.recipe import Recipe
from compress.runs.run import Run, run_stage, write_json
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.contract import Example, Prediction, Task
from compress.tasks.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

YARDSTICK = "TF-IDF"


@dataclass(frozen=True)
class Predicted:
    """What a model says of the rows: a prediction for each and, where rows have one label, how sure it is of it."""

    predictions: list[Prediction]
    confidences: list[float] | None


def run_evaluation_stage(run: Run) -> dict[str, Any]:
    """Fill ``evaluation/`` with ``report.json`` and what both models predict of the test rows."""
    inputs = {
        **run.tokenisation,
        **run.recipe.evaluation.model_dump(),
        "labelled_languages": run.recipe.data.labelled_languages,
        "languages": run.recipe.student.languages,
        "generation": run.recipe.generation.model_dump(),
    }
    parents = ("data", "teacher", "student")
    return run_stage(run, "evaluation", inputs, parents, lambda folder, _: _build(run, folder))


def evaluation_table(report: dict[str, Any]) -> Table:
    """The metrics of each model per language, in percent, and the student's drop in points."""
    models = report["models"]
    main, *others = report["metrics"]
    table = Table(title=f"Test {main} % (95 % interval)" + "".join(f", {name} %" for name in others))
    seen = report["seen in training"]
    mixed = len(set(seen.values())) > 1
    for heading in ("language", "rows", *(["seen in training"] if mixed else [])):
        table.add_column(heading)
    for model in models:
        for heading in (model, *others):
            table.add_column(heading, justify="right")
    table.add_column("drop (points)", justify="right")
    for language, drop in report["student against teacher"]["drop"].items():
        if language == ALL:
            table.add_section()
        cells = [language, f"{report['rows'][language]:,}", *([seen.get(language, "")] if mixed else [])]
        for figures in models.values():
            found = figures[language]
            cells += [percent(found[main]), *(f"{100 * found[name]['value']:.1f}" for name in others)]
        table.add_row(*cells, points(drop))
    return table


def percent(figure: dict[str, float]) -> str:
    """A share with its interval, for example ``91.2 (90.1–92.3)``."""
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f}–{100 * figure['high']:.1f})"


def points(figure: dict[str, float]) -> str:
    """A difference with its interval, for example ``+0.8 (-0.1…+1.7)``."""
    return f"{100 * figure['value']:+.1f} ({100 * figure['low']:+.1f}…{100 * figure['high']:+.1f})"


def comparison_line(comparison: dict[str, Any], name: str, reference: str) -> str:
    """One sentence: the drop, the worst language and the agreement."""
    worst = comparison["worst_language_drop"]
    return (
        f"{name} against {reference}: drop {points(comparison['drop'][ALL])} points, "
        f"worst-language drop {points(worst)} in {worst['language']}, "
        f"{100 * comparison['agreement']:.1f} % of the predictions are the same"
    )


def _build(run: Run, folder: Path) -> dict[str, Any]:
    data, task = load_data(run), run.task
    rows = list(data.splits["test"])
    languages = [row.lang for row in rows]
    predicted: dict[str, list[Prediction]] = {}
    if run.recipe.evaluation.yardstick:
        say("evaluation: fitting TF-IDF with logistic regression")
        predicted[YARDSTICK] = yardstick_predictions(data, run.recipe.data.labelled_languages)
    for stage in ("teacher", "student"):
        said = _predicted(run, stage, data)
        predicted[stage] = said.predictions
        write_json(folder / f"{stage}-predictions.json", said.predictions)
        if said.confidences is not None:
            write_json(folder / f"{stage}-confidences.json", said.confidences)
    metrics = {model: task.metrics(predictions, rows, data.labels) for model, predictions in predicted.items()}
    report = {
        "split": "test",
        "metrics": list(metrics["teacher"]),
        "signatures": signatures(metrics["teacher"]),
        "rows": {language: languages.count(language) for language in data.languages} | {ALL: len(languages)},
        "seen in training": _seen_in_training(run.recipe, data, task.LABEL_A_ROW),
        "student's rows": run.manifest["stages"]["student"]["summary"]["rows"],
        "models": {model: per_language(found, languages) for model, found in metrics.items()},
        "student against teacher": {
            **compare(metrics["teacher"], metrics["student"], languages),
            "agreement": agreement(predicted["teacher"], predicted["student"]),
        },
    }
    write_json(folder / "report.json", report)
    return report


def load_predicted(run: Run, stage: str) -> Predicted:
    """What the teacher or the student said of the test rows."""
    predictions, sure = (run.path_of("evaluation") / f"{stage}-{what}.json" for what in ("predictions", "confidences"))
    return Predicted(
        json.loads(predictions.read_text("utf-8")), json.loads(sure.read_text("utf-8")) if sure.exists() else None
    )


def predicted_of(
    task: Task,
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> Predicted:
    """What a model's outputs say of the rows, as `Task.decode` takes them."""
    sure = [round(value, 5) for value in confidences(outputs).tolist()] if task.LABEL_A_ROW else None
    return Predicted(task.decode(outputs, examples, rows, labels, tokenizer), sure)


def yardstick_predictions(data: DataSet, labelled_languages: Sequence[str] | None) -> list[Prediction]:
    """What a linear model of character n-grams predicts for the test rows: cheap to fit and hard to beat."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def texts(rows: RowTable) -> list[str]:
        return [f"{row.text} {row.text_pair or ''}" for row in rows]

    rows = data.labelled("train", labelled_languages)
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=2, max_features=200_000, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=100, solver="lbfgs"),
    )
    model.fit(texts(rows), rows.column("label"))
    return model.predict(texts(data.splits["test"])).tolist()


def _seen_in_training(recipe: Recipe, data: DataSet, text_alone: bool) -> dict[str, str]:
    """For each language whether training saw its labels, its text alone, or nothing of it (zero-shot).

    :param text_alone: Whether rows without labels are of use to the student.
    """
    labelled, read = recipe.data.labelled_languages, recipe.student.languages
    present = set(data.training_rows.column("lang"))

    def seen(language: str) -> str:
        if language not in present or (read is not None and language not in read):
            return "nothing"
        if labelled is None or language in labelled:
            return "labels"
        return "text" if text_alone else "nothing"

    return {language: seen(language) for language in data.languages}


def _predicted(run: Run, stage: str, data: DataSet) -> Predicted:
    folder, rows = run.path_of(stage), list(data.splits["test"])
    tokenizer = load_tokenizer(str(folder))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(rows)
    with progress() as bar:
        task = bar.add_task(f"evaluating the {stage}", total=len(examples))
        outputs = predict_examples(
            load_predict(folder, run.task, Search.of(run.recipe)),
            run.task,
            examples,
            tokenizer.pad_token_id,
            advance=lambda count: bar.advance(task, count),
        )
    return predicted_of(run.task, outputs, examples, rows, data.labels, tokenizer)

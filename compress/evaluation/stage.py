"""The evaluation stage: teacher against student on the test split, language by language."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.console import say
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.evaluation.asking import AskedModel, ask, ask_stage
from compress.evaluation.baseline import BASELINE, baseline_predictions
from compress.evaluation.predicted import Predicted, read_findings, write_findings
from compress.evaluation.summary import EVALUATION, EvaluationSummary, Seen, StoredVectors
from compress.metrics.cells import cell_figures, cell_losses
from compress.metrics.comparison import agreement, compare
from compress.metrics.figures import ModelLosses
from compress.metrics.labels import LabelCounts, label_figures, label_losses
from compress.metrics.languages import ALL, per_language, signatures
from compress.metrics.metric import Metric
from compress.models.describe import thresholds_in
from compress.models.load import load_teacher
from compress.models.source import pinned
from compress.recipe.recipe import Recipe
from compress.recipe.teacher import Teacher
from compress.runs.directory import Run
from compress.runs.files import write_json
from compress.runs.stages import run_stage
from compress.runtimes.generation import Search, generator_with
from compress.runtimes.pytorch import predict_with
from compress.student.summary import STUDENT, exported_name, original_name, reference_stages
from compress.tasks.contract import Prediction, Reported, Task
from compress.tasks.rows import Row
from compress.teacher.predictions import has_prediction, load_probabilities
from compress.teacher.summary import PREDICTIONS, TEACHER, source_stage

UNTRIMMED = "untrimmed"


def run_evaluation_stage(run: Run) -> EvaluationSummary:
    """Fill ``evaluation/`` with ``report.json`` and what teacher and student, or the model that is taken as it is,
    predict of the test rows."""
    inputs = {
        **run.tokenisation,
        **run.recipe.evaluation.model_dump(),
        "labelled_languages": run.recipe.data.labelled_languages,
        "languages": run.recipe.student.languages,
        "generation": run.recipe.generation.model_dump(),
    }
    told = (PREDICTIONS.name,) if run.recipe.teacher.predictions else ()
    parents = (DATA.name, *told, *reference_stages(run))
    return run_stage(run, EVALUATION, inputs, parents, lambda folder, _: _build(run, folder))


@dataclass(frozen=True)
class _Answered:
    """What a model predicts of rows, and how good that is; ``counts`` are of labels, where they are a closed set."""

    rows: Sequence[Row]
    predictions: list[Reported]
    metrics: Mapping[str, Metric]
    counts: LabelCounts | None


def _build(run: Run, folder: Path) -> EvaluationSummary:
    data, task = load_data(run), run.task
    rows = list(data.splits["test"])
    languages = [row.lang for row in rows]

    def answered(rows: Sequence[Row], said: list[Reported]) -> _Answered:
        return _Answered(rows, said, task.metrics(said, rows, data.labels), task.label_counts(said, rows, data.labels))

    models: dict[str, _Answered] = {}
    vectors: Sequence[Prediction] = ()
    if run.recipe.evaluation.baseline:
        say("evaluation: fitting TF-IDF with logistic regression")
        models[BASELINE] = answered(rows, baseline_predictions(data, run.recipe.data.labelled_languages))
    if _is_taken_trimmed(run.recipe.teacher):
        models[UNTRIMMED] = answered(rows, _predicted_untrimmed(run, data).predictions)
    told = _told_by_file(run, data)
    if told:
        models[TEACHER.name] = answered([rows[row] for row in told], list(told.values()))
    for stage in reference_stages(run):
        said = ask_stage(run, stage, rows, data.labels)
        models[stage] = answered(rows, said.predictions)
        vectors = said.said if task.VECTORS and stage == exported_name(run) else vectors
        write_findings(folder / f"{stage}-predictions.json", task, said.predictions)
        if said.confidences is not None:
            write_json(folder / f"{stage}-confidences.json", said.confidences)
    student = models.get(STUDENT.name)
    if student and told:
        compared, known = [rows[row] for row in told], [student.predictions[row] for row in told]
        student = answered(compared, task.findings_among(known, compared))
    original = models[original_name(run)]
    summary = EvaluationSummary(
        metrics=list(original.metrics),
        signatures=signatures(original.metrics),
        rows={language: languages.count(language) for language in data.languages} | {ALL: len(languages)},
        rows_of_teacher=_counted(models[TEACHER.name].rows) if told else None,
        seen_in_training=_seen_in_training(run.recipe, data, task),
        student_rows=run.summary(STUDENT).rows if student else None,
        models={name: per_language(model.metrics, [row.lang for row in model.rows]) for name, model in models.items()},
        labels={name: label_figures(model.counts, [row.lang for row in model.rows]) for name, model in models.items()},
        cells={name: cell_figures(model.counts, [row.lang for row in model.rows]) for name, model in models.items()},
        student_against_teacher=_losses(task, models[TEACHER.name], student)
        if student and TEACHER.name in models
        else None,
        index=_index(run, vectors, rows) if len(vectors) else {},
        teacher_against_untrimmed=_losses(task, models[UNTRIMMED], original) if UNTRIMMED in models else None,
    )
    write_json(folder / "report.json", summary.model_dump(mode="json"))
    return summary


def _index(run: Run, vectors: Sequence[Prediction], rows: Sequence[Row]) -> dict[str, StoredVectors]:
    """What is found with a model's vectors in the forms that an index may keep them in."""
    languages, kind = [row.lang for row in rows], run.recipe.teacher.embedding.compared_by

    def found(stored: Sequence[Prediction]) -> Mapping[str, Metric]:
        return run.task.metrics(run.task.findings(stored, rows, kind), rows, [])

    whole, told = found(vectors), {}
    for form, kept in run.task.index_forms(vectors, rows, run.recipe.student.distillation.vectors.dimensions):
        metrics = found(kept)
        losses = compare(whole, metrics, languages)
        told[form.name] = StoredVectors(bytes=form.bytes, quality=per_language(metrics, languages), losses=losses)
    return told


def _losses(task: Task, reference: _Answered, other: _Answered) -> ModelLosses:
    """What is lost from one model to another on the same rows."""
    languages = [row.lang for row in reference.rows]
    return ModelLosses(
        **dict(compare(reference.metrics, other.metrics, languages)),
        labels=label_losses(reference.counts, other.counts),
        cells=cell_losses(reference.counts, other.counts, languages),
        agreement=agreement(task.agreed(reference.predictions, other.predictions)),
    )


def _counted(rows: Sequence[Row]) -> dict[str, int]:
    """By language, and all."""
    return dict(sorted(Counter(row.lang for row in rows).items())) | {ALL: len(rows)}


def _told_by_file(run: Run, data: DataSet) -> dict[int, Reported]:
    """What a file says in place of a teacher, by the numbers of the test rows that it has."""
    if not run.recipe.teacher.predictions:
        return {}
    probabilities = load_probabilities(run, "test")
    known = np.flatnonzero(has_prediction(probabilities)).tolist()
    if run.task.RANKS:
        rows = list(data.splits["test"].select(known))
        found = run.task.findings(probabilities[known, 0].tolist(), rows, run.recipe.teacher.embedding.compared_by)
        return dict(zip(known, found, strict=True))
    return {row: data.labels[int(probabilities[row].argmax())] for row in known}


def load_predicted(run: Run, stage: str) -> Predicted:
    """What the teacher or the student said of the test rows.

    :raises CompressError: If they have not been asked, or others than those of the run by now.
    """
    predictions, sure = (
        run.current(EVALUATION.name) / f"{stage}-{what}.json" for what in ("predictions", "confidences")
    )
    known = json.loads(sure.read_text("utf-8")) if sure.exists() else None
    return Predicted(read_findings(predictions, run.task), known)


def _seen_in_training(recipe: Recipe, data: DataSet, task: Task) -> dict[str, Seen]:
    """For each language whether training saw its labels, its text alone, or nothing of it (zero-shot); the teacher's
    training and what was made by the rows' text, its vocabulary, count as the student's does.

    :return: Nothing of a model that is taken as it is: what it was trained on is not known.
    """
    if not recipe.trains:
        return {}
    labels, read, teacher = recipe.data.labelled_languages, recipe.student.languages, recipe.teacher
    has_student = recipe.student.is_learnt
    with_text, with_labels = (set(rows.column("lang")) for rows in (data.training_rows, data.splits["train"]))
    by_teacher = teacher.vocabulary.trim or teacher.model is None
    text_alone = task.SINGLE_LABEL or task.VECTORS  # whether rows without labels are of use to the student

    def seen(language: str) -> Seen:
        by_student = has_student and (read is None or language in read)
        has_labels = language in with_labels and (labels is None or language in labels) and not task.VECTORS
        if has_labels and (teacher.is_trained or by_student):
            return "labels"
        by_text = by_teacher or (text_alone and by_student)
        return "text" if language in with_text and by_text else "nothing"

    return {language: seen(language) for language in data.languages}


def _is_taken_trimmed(teacher: Teacher) -> bool:
    """Whether the teacher differs from the named model by its vocabulary alone."""
    return teacher.vocabulary.trim and not teacher.fine_tune and teacher.model is not None


def _predicted_untrimmed(run: Run, data: DataSet) -> Predicted:
    intake = run.summary(source_stage(run)).intake
    assert intake is not None
    settings = pinned(run.recipe.teacher, intake.revision, intake.code)  # not what came out since
    model, tokenizer = load_teacher(run.task, settings, data.labels, run.recipe.data.max_length)
    search = Search.of(run.recipe)
    predict = generator_with(model, search) if run.task.GENERATES else predict_with(model, run.task)
    thresholds = thresholds_in(run.path_of(source_stage(run).name))  # it has some of its own, or they were tuned
    return ask(run, AskedModel(UNTRIMMED, predict, tokenizer, thresholds), list(data.splits["test"]), data.labels)

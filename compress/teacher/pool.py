"""The rows a student learns from, what its teacher reads in their place, and how much each counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.recipe import Recipe, RowChoice


@dataclass(frozen=True)
class Pool:
    """``rows`` are what the student reads; row ``i`` learns what the teacher says of ``teacher_rows[reads[i]]``."""

    rows: RowTable
    teacher_rows: RowTable
    reads: np.ndarray
    counts: dict[str, int]


@dataclass(frozen=True)
class Chosen:
    """Rows of a pool that are kept: their indices and weights, the counts behind them, and targets that the teacher's
    predictions are part of; none where the rows' own are all there is."""

    indices: np.ndarray
    targets: np.ndarray | None
    weights: np.ndarray
    counts: dict[str, Any]


def build_pool(data: DataSet, recipe: Recipe) -> Pool:
    """The training rows of the student's languages, with and without labels.

    :raises CompressError: If nothing is left, or a pivot is asked for and the rows are not parallel.
    """
    student = recipe.student
    every = data.training_rows
    rows = every.in_languages(student.languages)
    if not len(rows):
        raise CompressError(f"student.languages: no training rows in {', '.join(student.languages or [])}")
    pivot = student.distillation.pivot
    if pivot is None:
        return Pool(rows, rows, np.arange(len(rows)), {"rows": len(rows)})
    return _through_pivot(rows, every, pivot)


def labelled_rows(pool: Pool, labelled_languages: Sequence[str] | None) -> Chosen:
    """All rows whose labels may be used, each counting alike.

    :raises CompressError: If there is none.
    """
    languages = pool.rows.column("lang")
    kept = np.flatnonzero(np.isin(languages, list(labelled_languages or np.unique(languages))))
    if not len(kept):
        raise CompressError("student.languages: none of them is among data.labelled_languages")
    return Chosen(kept, None, np.ones(len(kept), dtype=np.float32), pool.counts)


def choose_rows(
    pool: Pool, logits: np.ndarray, data: DataSet, choice: RowChoice, labelled_languages: Sequence[str] | None
) -> Chosen:
    """Decide by the teacher's predictions which rows the student learns from.

    A row without a label, or in a language whose labels are not used, takes the teacher's prediction as its label.

    :param logits: The teacher's, float (teacher rows, labels).
    :raises CompressError: If no row is left.
    """
    from scipy.special import softmax

    number = {label: index for index, label in enumerate(data.labels)}
    labels, languages = pool.rows.column("label"), pool.rows.column("lang")
    probabilities = softmax(logits, axis=1)[pool.reads]
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    labelled = labels != ""
    if labelled_languages is not None:
        labelled &= np.isin(languages, list(labelled_languages))
    own = np.array([number.get(label, 0) for label in labels])
    targets = np.where(labelled, own, predicted)
    disagreeing = labelled & (own != predicted)
    unsure = confidence < choice.minimum_confidence
    dropped = unsure | disagreeing if choice.drop_disagreement else unsure
    if dropped.all():
        raise CompressError(
            f"student.rows: no row is left (the teacher is less sure than {choice.minimum_confidence:g} of "
            f"{int(unsure.sum())} of {len(pool.rows)} rows); lower minimum_confidence"
        )
    kept = np.flatnonzero(~dropped)
    weights = confidence[kept] if choice.weight_by_confidence else np.ones(len(kept))
    counts = {
        **pool.counts,
        "labelled by the teacher": int((~labelled).sum()),
        "labels that the teacher does not share": int(disagreeing.sum()),
        "dropped as unsure": int(unsure.sum()),
        "dropped as disagreeing": int((dropped & ~unsure).sum()),
        "kept": len(kept),
        "mean weight": round(float(weights.mean()), 4),
    }
    return Chosen(kept, targets[kept], (weights / weights.mean()).astype(np.float32), counts)


def _through_pivot(rows: RowTable, every: RowTable, pivot: str) -> Pool:
    teacher_rows = every.in_languages([pivot])
    place = {name: index for index, name in enumerate(teacher_rows.column("parallel")) if name}
    reads = np.array([place.get(name, -1) for name in rows.column("parallel")])
    kept = np.flatnonzero(reads >= 0)
    if not len(kept):
        raise CompressError(
            f"student.distillation.pivot: no row has a parallel sentence in '{pivot}'; "
            "name the field that joins translations in data.fields.parallel"
        )
    counts = {"rows": len(kept), "without a parallel sentence": len(rows) - len(kept)}
    return Pool(rows.select(kept), teacher_rows, reads[kept], counts)

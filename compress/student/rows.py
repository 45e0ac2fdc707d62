"""Which rows the student learns from, and how much each counts, by what the teacher says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.data.stage import DataSet
from compress.errors import CompressError
from compress.recipe.student import RowChoice
from compress.student.summary import RowCounts
from compress.teacher.pool import Pool


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a pool that are kept: their indices and weights, the counts behind them, and targets that the teacher's
    predictions are part of; none where the rows' own are all there is."""

    indices: np.ndarray
    targets: np.ndarray | None
    weights: np.ndarray
    counts: RowCounts


def labelled_rows(pool: Pool, labelled_languages: Sequence[str] | None) -> ChosenRows:
    """All rows whose labels may be used, each counting alike.

    :raises CompressError: If there is none.
    """
    languages = pool.rows.column("lang")
    kept = np.flatnonzero(np.isin(languages, list(labelled_languages or np.unique(languages))))
    if not len(kept):
        raise CompressError("student.languages: none of them is among data.labelled_languages")
    counts = RowCounts(rows=len(pool.rows), without_parallel=pool.without_parallel, kept=len(kept))
    return ChosenRows(kept, None, np.ones(len(kept), dtype=np.float32), counts)


def choose_rows(
    pool: Pool, logits: np.ndarray, data: DataSet, choice: RowChoice, labelled_languages: Sequence[str] | None
) -> ChosenRows:
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
    counts = RowCounts(
        rows=len(pool.rows),
        without_parallel=pool.without_parallel,
        labelled_by_teacher=int((~labelled).sum()),
        not_shared_by_teacher=int(disagreeing.sum()),
        dropped_as_unsure=int(unsure.sum()),
        dropped_as_disagreeing=int((dropped & ~unsure).sum()),
        kept=len(kept),
        mean_weight=round(float(weights.mean()), 4),
    )
    return ChosenRows(kept, targets[kept], (weights / weights.mean()).astype(np.float32), counts)

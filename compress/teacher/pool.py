"""The rows a student may learn from, and what its teacher reads in their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.recipe import Recipe
from compress.teacher.summary import AUGMENTED


@dataclass(frozen=True)
class Pool:
    """``rows`` are what the student reads, ``texts`` those that are no copies; row ``i`` learns what the teacher
    says of ``teacher_rows[reads[i]]``; ``without_parallel`` rows were left out for lack of a parallel sentence."""

    rows: RowTable
    texts: RowTable
    teacher_rows: RowTable
    reads: np.ndarray
    without_parallel: int = 0


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
        copies = [data.splits[AUGMENTED.name]] if AUGMENTED.name in data.splits else []
        everything = RowTable.joined([rows, *copies])
        return Pool(everything, rows, everything, np.arange(len(everything)))
    return _through_pivot(rows, every, pivot)


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
    kept_rows = rows.select(kept)
    return Pool(kept_rows, kept_rows, teacher_rows, reads[kept], len(rows) - len(kept))

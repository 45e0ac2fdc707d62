"""The rows a student may learn from, and what its teacher reads in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.recipe import Recipe
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
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
    """The training rows of the student's languages, with and without labels; where vectors are learnt, the texts of
    all, each once.

    :raises CompressError: If nothing is left, or a pivot is asked for and the rows are not parallel.
    """
    copies = [data.splits[AUGMENTED.name]] if AUGMENTED.name in data.splits else []
    return _pool_of(data.training_rows, copies, recipe, "training")


def validation_pool(data: DataSet, recipe: Recipe) -> Pool:
    """The validation texts, where a student is judged by what its teacher says of them: vectors have no labels.

    :raises CompressError: As `build_pool`.
    """
    return _pool_of(data.splits["validation"], [], recipe, "validation")


def asked_rows(data: DataSet, recipe: Recipe, pool: Pool) -> RowTable:
    """The rows that the teacher is asked about: those of the pool and, behind them, of the `validation_pool`."""
    if not task_named(recipe.task).VECTORS:
        return pool.teacher_rows
    return RowTable.joined([pool.teacher_rows, validation_pool(data, recipe).teacher_rows])


def _pool_of(every: RowTable, copies: Sequence[RowTable], recipe: Recipe, split: str) -> Pool:
    student = recipe.student
    pivot = student.distillation.pivot
    if not len(every.in_languages(student.languages)):
        raise CompressError(f"student.languages: no {split} rows in {', '.join(student.languages or [])}")
    task = task_named(recipe.task)
    if task.VECTORS:

        def whose(text: Row) -> object:  # with a pivot the same text may have several translations
            return text.kind, text.lang, text.text, text.parallel if pivot else None

        every = every.divided(task.rows_learnt, whose)
    rows = every.in_languages(student.languages)
    if pivot is not None:
        return _through_pivot(rows, every, pivot)
    everything = RowTable.joined([rows, *copies])
    return Pool(everything, rows, everything, np.arange(len(everything)))


def _through_pivot(rows: RowTable, every: RowTable, pivot: str) -> Pool:
    teacher_rows = every.in_languages([pivot])
    names = [zip(table.column("parallel"), table.column("kind"), strict=True) for table in (teacher_rows, rows)]
    place = {name: index for index, name in enumerate(names[0]) if name[0]}
    reads = np.array([place.get(name, -1) for name in names[1]])
    kept = np.flatnonzero(reads >= 0)
    if not len(kept):
        raise CompressError(
            f"student.distillation.pivot: no row has a parallel sentence in '{pivot}'; "
            "name the field that joins translations in data.fields.parallel"
        )
    kept_rows = rows.select(kept)
    return Pool(kept_rows, kept_rows, teacher_rows, reads[kept], len(rows) - len(kept))

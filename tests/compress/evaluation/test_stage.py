"""What is said to have been seen in training."""

from __future__ import annotations

import pytest

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.evaluation.stage import _seen_in_training
from compress.recipe.file import load_recipe
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

AS_IS = {"teacher.model": "a-folder", "teacher.fine_tune": False}


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Rows for training in three languages, of which one has no labels; test rows in a fourth one too."""
    splits = {"train": ("de", "en"), "unlabelled": ("ja",), "test": ("de", "en", "ja", "th")}
    tables = {split: RowTable.from_rows([Row("a", "b", lang) for lang in langs]) for split, langs in splits.items()}
    return DataSet(tables, ["b"])


@pytest.mark.parametrize(
    ("fields", "task", "seen"),
    [
        (AS_IS, "text-classification", {"de": "labels", "en": "labels", "ja": "text", "th": "nothing"}),
        (AS_IS, "regression", {"de": "labels", "en": "labels", "ja": "nothing", "th": "nothing"}),
        (
            {**AS_IS, "data.labelled_languages": ["en"]},
            "text-classification",
            {"de": "text", "en": "labels", "ja": "text", "th": "nothing"},
        ),
        (
            {**AS_IS, "student.languages": ["en"]},
            "text-classification",
            {"de": "nothing", "en": "labels", "ja": "nothing", "th": "nothing"},
        ),
        # The vocabulary was trimmed by the text of all.
        (
            {**AS_IS, "student.languages": ["en"], "teacher.vocabulary.trim": True},
            "text-classification",
            {"de": "text", "en": "labels", "ja": "text", "th": "nothing"},
        ),
        # The teacher learnt from all labels.
        (
            {**AS_IS, "teacher.fine_tune": True, "student.languages": ["en"]},
            "text-classification",
            {"de": "labels", "en": "labels", "ja": "nothing", "th": "nothing"},
        ),
        # Vectors have no labels.
        (AS_IS, "embedding", {"de": "text", "en": "text", "ja": "text", "th": "nothing"}),
        # The teacher's tokenizer and first weights were made from the text of all.
        ({"student.languages": ["en"]}, "regression", {"de": "labels", "en": "labels", "ja": "text", "th": "nothing"}),
    ],
)
def test_what_teacher_student_or_vocabulary_were_made_from_was_seen(data: DataSet, fields: dict, task: str, seen: dict):
    assert _seen_in_training(load_recipe(None, fields), data, task_named(task)) == seen

"""The tasks there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from compress.errors import CompressError
from compress.tasks import (
    embedding,
    multi_label_classification,
    question_answering,
    regression,
    reranking,
    text_classification,
    token_classification,
    translation,
)
from compress.tasks.contract import Task

TaskName = Literal[
    "text-classification",
    "multi-label-classification",
    "regression",
    "token-classification",
    "question-answering",
    "translation",
    "embedding",
    "reranking",
]
TASKS: Mapping[TaskName, Task] = {
    "text-classification": text_classification,
    "multi-label-classification": multi_label_classification,
    "regression": regression,
    "token-classification": token_classification,
    "question-answering": question_answering,
    "translation": translation,
    "embedding": embedding,
    "reranking": reranking,
}


def task_called(name: str) -> TaskName:
    """A task by what the user calls it.

    :raises CompressError: If there is none of that name.
    """
    found = next((known for known in TASKS if known == name), None)
    if found is None:
        raise CompressError(f"--task {name:.60}: there is none; name one of {', '.join(TASKS)}")
    return found


def task_named(name: TaskName) -> Task:
    """The module of a task."""
    return TASKS[name]

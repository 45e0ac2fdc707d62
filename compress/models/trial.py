"""Trying a teacher in a process of its own: its files are anybody's, and can abort, hang or fill what loads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from compress.contract import Contract
from compress.errors import CompressError
from compress.recipe.teacher import Teacher
from compress.subprocesses import ProcessLimits, answers_alone, ask_limited
from compress.tasks.registry import TaskName, task_named

_SECONDS, _SECONDS_A_MEGABYTE = 300, 2
_MEMORY, _TIMES_ITS_SIZE = 8_000_000_000, 8
"""Bytes for PyTorch, and how often the weights of the files may be held: half precision becomes 32 bits, twice."""
_ODD_TEXTS = ("", " ", "a" * 10_000, "日本語 e\u0301 👩‍👩‍👧‍👦 \u202eعالم", "\x01\ufffd<unk>[MASK]</s>")


class _TeacherQuestion(Contract):
    task: TaskName
    settings: Teacher
    labels: list[str]
    max_length: int


def try_teacher(task: TaskName, settings: Teacher, labels: Sequence[str], max_length: int) -> None:
    """Load a teacher of a folder as `load_teacher` does, and split a few texts, in a process that may not come back.

    :raises CompressError: If it did not, or as `load_teacher`.
    """
    folder = Path(settings.model or "")
    if not folder.is_dir():
        return
    size = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    limits = ProcessLimits(_SECONDS + _SECONDS_A_MEGABYTE * size / 1e6, _MEMORY + _TIMES_ITS_SIZE * size)
    question = _TeacherQuestion(task=task, settings=settings, labels=list(labels), max_length=max_length)
    told = ask_limited("compress.models.trial", question.model_dump_json(), limits)
    if told.lines:
        raise CompressError(json.loads(told.lines[0]))
    if told.failure:
        raise CompressError(
            f"{folder}: the process that tried to load it {told.failure}; its files are damaged or harmful"
        )


def main() -> None:
    """Load the teacher that standard input names, and answer with what is wrong with it, if anything."""
    from compress.models.load import load_teacher

    question = _TeacherQuestion.model_validate_json(sys.stdin.read())
    task, answers = task_named(question.task), answers_alone()
    try:
        _, tokenizer = load_teacher(task, question.settings, question.labels, question.max_length)
        tokenizer(list(_ODD_TEXTS))
    except CompressError as error:
        print(json.dumps(str(error)), file=answers)


if __name__ == "__main__":
    main()

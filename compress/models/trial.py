"""Trying a teacher in a process of its own: its files are anybody's, and can abort, hang or fill what opens them."""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from compress.contract import Contract
from compress.errors import CompressError
from compress.models.source import fetch, pinned
from compress.recipe.teacher import Teacher
from compress.subprocesses import ProcessLimits, answers_alone, ask_limited
from compress.tasks.registry import TaskName, task_named
from compress.tasks.rows import Row

_SECONDS, _SECONDS_A_MEGABYTE = 300, 60
"""For opening it, and for splitting text: tokenizers written in Python split a megabyte in ten."""
_MEMORY = 8_000_000_000
"""Bytes for PyTorch and a tokenizer; no weights are loaded."""
_ODD_TEXTS = (
    "",
    " ",
    string.printable,
    "a" * 10_000,
    "日本語 e\u0301 👩‍👩‍👧‍👦 \u202eعالم",
    "\x01\ufffd<unk>[MASK]</s>",
)
_BATCH = 1000


class _TeacherQuestion(Contract):
    task: TaskName | None
    settings: Teacher
    labels: list[str]
    max_length: int
    rows: list[Path]


def try_teacher(
    task: TaskName, settings: Teacher, labels: Sequence[str], max_length: int, rows: Sequence[Path]
) -> None:
    """Open a teacher as `load_teacher` does, but for its weights, and split all text, in a process that may not come
    back; once, however often it is asked.

    What loads weights afterwards reads no more than their files hold, and has been told that memory holds them.

    :param rows: Files that the data stage has written.
    :raises CompressError: If it did not come back, or as `compress.models.load.check_teacher`.
    """
    _ask(_TeacherQuestion(task=task, settings=settings, labels=list(labels), max_length=max_length, rows=list(rows)))


def try_tokenizer(settings: Teacher) -> None:
    """The same of a model whatever it is for: that its tokenizer can be opened, and splits odd text.

    :raises CompressError: If it did not come back, or as `compress.models.load.load_tokenizer_of`.
    """
    _ask(_TeacherQuestion(task=None, settings=settings, labels=[], max_length=0, rows=[]))


def _ask(question: _TeacherQuestion) -> None:
    source = fetch(question.settings)
    settings = pinned(question.settings, source.revision, source.code)  # not one that came in between
    question = question.model_copy(update={"settings": settings})
    opened = sorted(path for path in source.folder.iterdir() if path.is_file())
    states = ((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in opened)
    if problem := _problem(question.model_dump_json(), tuple(states)):
        raise CompressError(problem)


@cache
def _problem(text: str, states: tuple[tuple[str, int, int], ...]) -> str | None:
    """What is wrong with the teacher of a question.

    :param states: Of its files, which make it another one.
    """
    question = _TeacherQuestion.model_validate_json(text)
    size = sum(path.stat().st_size for path in question.rows)
    limits = ProcessLimits(_SECONDS + _SECONDS_A_MEGABYTE * size / 1e6, _MEMORY)
    told = ask_limited("compress.models.trial", text, limits)
    if told.lines:
        return str(json.loads(told.lines[0]))
    if told.failure:
        name = question.settings.model
        return f"{name}: the process that tried to open it {told.failure}; its files are damaged or harmful"
    return None


def main() -> None:
    """Open the teacher that standard input names, and answer with what is wrong with it, if anything."""
    from compress.models.load import check_teacher, load_config, load_tokenizer_of
    from compress.models.tokenizer_files import compare_with_file
    from compress.models.tokenizers import token_ids

    question = _TeacherQuestion.model_validate_json(sys.stdin.read())
    task, answers = task_named(question.task) if question.task else None, answers_alone()
    try:
        if task:
            _, tokenizer = check_teacher(task, question.settings, question.labels, question.max_length)
        else:
            source, trusted = fetch(question.settings), question.settings.trust_remote_code
            load_config(source, trusted)
            tokenizer = load_tokenizer_of(source, trusted)
        odd = list(zip(_ODD_TEXTS, token_ids(tokenizer, _ODD_TEXTS), strict=True))
        compare_with_file(tokenizer, fetch(question.settings).folder, {"odd": odd})
        if tokenizer.is_fast:  # whose template may name tokens that it lacks
            tokenizer(list(_ODD_TEXTS))
            tokenizer(list(_ODD_TEXTS), list(reversed(_ODD_TEXTS)))
        texts = (text for row in _rows(question.rows) for text in (task.texts(row) if task else ()))
        while batch := list(islice(texts, _BATCH)):
            token_ids(tokenizer, batch)
    except CompressError as error:
        print(json.dumps(str(error)), file=answers)


def _rows(files: Sequence[Path]) -> Iterator[Row]:
    for path in files:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield Row(**json.loads(line))


if __name__ == "__main__":
    main()

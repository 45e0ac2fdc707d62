"""What two processes of a measurement tell one another: one JSON object a line, each a frozen dataclass.

Of the standard library alone: the memory of a process that measures is to be the model's.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

_KIND = "$kind"
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG

Answer = TypeVar("Answer")


class Request(Generic[Answer]):
    """What a process is asked; the parameter is the kind of its answer."""


def line_of(message: object) -> str:
    """A dataclass, and those in it, as one line of JSON without its end."""
    return json.dumps(message, default=_object_of)


def message_of(line: str, kinds: Mapping[str, type]) -> Any:
    """The dataclass that a line holds.

    :param kinds: The classes that it may be made of, by their names.
    """

    def made(content: dict[str, object]) -> object:
        kind = content.pop(_KIND, None)
        return content if kind is None else kinds[str(kind)](**content)

    return json.loads(line, object_hook=made)


def kinds_of(*classes: type) -> Mapping[str, type]:
    """Classes by their names, for `message_of`."""
    return {one.__name__: one for one in classes}


def answer_requests(kinds: Mapping[str, type], begin: Callable[[Any], tuple[object, Callable[[Any], object]]]) -> None:
    """Be a process that is asked: read the setup from standard input, then answer requests until the input ends.

    :param begin: Called with the setup; returns the first answer, and what answers each of the requests.
    """
    with suppress(OSError, AttributeError):  # Linux: a stopped process must not outlive the one that would wake it
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w")  # libraries may print: they get standard error instead
    os.dup2(2, 1)
    first, answer = begin(message_of(sys.stdin.readline(), kinds))
    print(line_of(first), file=answers, flush=True)
    for line in sys.stdin:
        print(line_of(answer(message_of(line, kinds))), file=answers, flush=True)


def _object_of(message: object) -> dict[str, object]:
    if not is_dataclass(message):
        raise TypeError(f"{type(message).__name__} is no message")
    content = {field.name: getattr(message, field.name) for field in fields(message)}
    return {_KIND: type(message).__name__, **content}

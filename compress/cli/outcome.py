"""How a command ends: its result as tables or JSON, or one line about what went wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import typer

from compress.errors import CompressError, first_line
from compress.processes import is_main_process, remember_interrupts

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

    Result = TypeVar("Result", bound=BaseModel)

_NO_TERMINAL_WIDTH = 160
_READER_GONE = 141  # as shells say of a program that was ended by SIGPIPE
_MAKE_ROOM = "free space or choose another --output"
# Libraries pass on what the system says in words of their own: Rust's as a number, C++'s in an exception of any kind.
_NO_ROOM = re.compile(r"No space left on device|File too large|Disk quota exceeded|\bos error (?:27|28|122)\b")
_ADVICE = {
    errno.EACCES: "give yourself the right to it, or choose another --output",
    errno.EPERM: "give yourself the right to it, or choose another --output",
    errno.EROFS: "choose another --output",
    errno.EEXIST: "move it away, or choose another --output",
    errno.EISDIR: "a folder lies where a file is meant; name a file",
    errno.ENOTDIR: "a file lies where a folder is meant; name a folder",
    errno.ENOENT: "it is not there; see whether its name is right",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def finish(work: Callable[[], Result], in_json: bool, verbose: bool) -> Result:
    """Do a command's work and print its result, or one line about what went wrong.

    :param in_json: Print the result as one JSON object on standard output.
    :param verbose: Show what libraries say and, on an error, the traceback.
    :raises typer.Exit: With code 2 for what the user can mend, 130 for Ctrl-C.
    :raises SystemExit: As `written_output`.
    """
    from compress.console import log_error, plain, quiet_libraries, visible

    quiet_libraries(verbose=verbose)
    remember_interrupts()
    try:
        result = work()
        if in_json and is_main_process():
            with written_output():
                print(result.model_dump_json(by_alias=True))
    except KeyboardInterrupt as interrupt:
        _complain("interrupted; the same command goes on from the last checkpoint")
        raise typer.Exit(130) from interrupt
    except Exception as error:
        log = log_error(error)
        message = _user_message(error)
        if message is None:
            raise
        if verbose:
            _complain(visible("".join(traceback.format_exception(error))).rstrip())
        _complain(plain(f"error: {message}" + (f" [log: {log}]" if log else "")))
        if in_json and is_main_process():
            with written_output():
                print(json.dumps({"error": plain(message)}, ensure_ascii=False))
        raise typer.Exit(2) from error
    return result


def open_streams() -> None:
    """Let output that was closed when the program began (``>&-``) go nowhere, rather than be no stream at all."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", closefd=False))


@contextmanager
def written_output() -> Iterator[None]:
    """Write what the block prints on standard output to its end.

    :raises SystemExit: Where that takes no more: with code 2 and one line about it, or without a word and with code 141
        if whoever read it has gone.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # a disk that is full is noticed only then
    except (OSError, UnicodeEncodeError) as error:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # for what is kept to be written yet
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_READER_GONE) from error
        told = f"{error.strerror}; let it go elsewhere" if isinstance(error, OSError) else f"{error}; set PYTHONUTF8=1"
        _complain(f"error: standard output: {told}")
        raise SystemExit(2) from error


def _complain(message: str) -> None:
    """Print on standard error, where that takes something."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def show(results: Iterable[RenderableType], in_json: bool) -> None:
    """Print tables and sentences: to standard output, or to standard error where that is kept for JSON."""
    from rich.console import Console
    from rich.text import Text

    from compress.console import plain

    if not is_main_process():
        return
    console = Console(stderr=in_json, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=in_json, highlight=False, width=_NO_TERMINAL_WIDTH)
    with written_output():
        with console.capture() as drawn:  # its own way with a reader that has gone is another exit code
            for result in results:
                console.print(Text(plain(result)) if isinstance(result, str) else result)
        print(drawn.get(), end="", file=sys.stderr if in_json else sys.stdout)


def _user_message(error: Exception) -> str | None:
    """One line for what the user can mend; nothing for our own mistakes, whose traceback must be seen."""
    if isinstance(error, CompressError):
        return str(error)
    chain = list(_causes(error))
    if any(_NO_ROOM.search(str(one)) for one in chain):
        told = next((one for one in chain if isinstance(one, OSError) and one.strerror), error)
        return f"{_of_system(told) if isinstance(told, OSError) else first_line(told)}; {_MAKE_ROOM}"
    if isinstance(error, OSError) and error.strerror:
        advice = _ADVICE.get(error.errno or 0)
        return f"{_of_system(error)}{f'; {advice}' if advice else ''}"
    if isinstance(error, OSError):
        return first_line(error)
    from safetensors import SafetensorError

    if isinstance(error, SafetensorError) or "PytorchStreamWriter failed" in str(error):
        return f"the model cannot be written ({first_line(error)}); {_MAKE_ROOM}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised over, the last first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _of_system(error: OSError) -> str:
    """What the system says, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)

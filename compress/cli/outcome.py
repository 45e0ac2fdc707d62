"""How a command ends: its result as tables or JSON, or one line about what went wrong."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import typer

from compress.errors import CompressError
from compress.processes import is_main_process, remember_interrupts

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

    Result = TypeVar("Result", bound=BaseModel)

_NO_TERMINAL_WIDTH = 160


def finish(work: Callable[[], Result], in_json: bool, verbose: bool) -> Result:
    """Do a command's work and print its result, or one line about what went wrong.

    :param in_json: Print the result as one JSON object on standard output.
    :param verbose: Show what libraries say and, on an error, the traceback.
    :raises typer.Exit: With code 2 for what the user can mend, 130 for Ctrl-C.
    """
    from compress.console import log_error, plain, quiet_libraries, visible

    quiet_libraries(verbose=verbose)
    remember_interrupts()
    try:
        result = work()
    except KeyboardInterrupt as interrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from interrupt
    except Exception as error:
        log = log_error(error)
        message = _user_message(error)
        if message is None:
            raise
        if verbose:
            print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        print(plain(f"error: {message}" + (f" [log: {log}]" if log else "")), file=sys.stderr)
        if in_json and is_main_process():
            print(json.dumps({"error": plain(message)}, ensure_ascii=False))
        raise typer.Exit(2) from error
    if in_json and is_main_process():
        print(result.model_dump_json(by_alias=True))
    return result


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
    for result in results:
        console.print(Text(plain(result)) if isinstance(result, str) else result)


def _user_message(error: Exception) -> str | None:
    """One line for what the user can mend; nothing for our own mistakes, whose traceback must be seen."""
    from safetensors import SafetensorError

    if isinstance(error, CompressError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; free space or choose another --output"
    if isinstance(error, SafetensorError) or "PytorchStreamWriter failed" in str(error):
        return f"the model cannot be written ({str(error).splitlines()[0]}); free space or choose another --output"
    return None

"""What the user sees: progress on standard error, results on standard output, libraries' chatter in a log file."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from compress.processes import is_main_process

console = Console(stderr=True, highlight=False, quiet=not is_main_process())
# What is drawn while a library's output is kept away goes to the terminal all the same.
_terminal = Console(file=sys.stderr, highlight=False, quiet=not is_main_process())
_log = logging.getLogger("compress")
_LIBRARIES = ("torch", "onnxscript", "onnx_ir", "accelerate", "datasets", "huggingface_hub", "transformers",
              "py.warnings")  # fmt: skip
_LONG_SECONDS = 5.0
_SILENT_SECONDS = 60.0
_LOG = "logs/compress.log"
# Control characters, with which terminals are steered; what turns the direction of writing; and halves of surrogates.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&]")
_log_file: Path | None = None
_handlers: list[logging.Handler] = []
_is_drawing = False


def plain(text: str) -> str:
    """Text that is not ours (of data, files, bundles, libraries) on one line that any terminal and page can show.

    Line breaks and tabs become spaces, other control characters are shown as they are written in Python.
    """
    return visible(" ".join(part.strip() for part in text.splitlines())).replace("\t", " ")


def visible(text: str) -> str:
    """The same for text of several lines, which it keeps."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown(text: str) -> str:
    """Text that is not ours, for a place in Markdown: none of its characters is markup."""
    return _MARKDOWN.sub(r"\\\g<0>", plain(text))


def table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    left: int = 1,
    total: str | None = None,
) -> Table:
    """A table for the terminal, whose text is shown as it is.

    :param headings: Empty ones alone: the table has none.
    :param rows: Cells; those that are ours may have a style.
    :param left: So many columns are text, the others figures.
    :param total: How the row begins that a line divides from those before it.
    """
    drawn = Table(title=Text(plain(title), "table.title"), show_header=any(headings))
    for position, heading in enumerate(headings):
        drawn.add_column(Text(plain(heading)), justify="left" if position < left else "right")
    for row in rows:
        if row[0] == total:
            drawn.add_section()
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return drawn


def say(message: str) -> None:
    """Print one line about what is going on to standard error."""
    console.print(Text(plain(message)), soft_wrap=True)
    _log.info(plain(message))


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is going on, with the time so far where that can be drawn; of what took long, how long it took."""
    global _is_drawing
    say(what)
    started = time.monotonic()
    if _is_drawing or not console.is_terminal or console.quiet:
        yield
    else:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=_terminal, transient=True, redirect_stderr=False) as bar:
            bar.add_task(plain(what), total=None)
            _is_drawing = True
            try:
                yield
            finally:
                _is_drawing = False
    seconds = time.monotonic() - started
    if seconds > _LONG_SECONDS:
        say(f"{what}: {seconds:.0f} s")


class _Bar(Progress):
    """A progress bar that also says each minute how far it is: in the log, and aloud where nothing can be drawn."""

    def add_task(self, description: str, *args: Any, **fields: Any) -> TaskID:
        self._first, self._started = float(fields.get("completed", 0)), time.monotonic()
        self._said = self._started
        return super().add_task(description, *args, **fields)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        self._say_at_times(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say_at_times(task_id)

    def _say_at_times(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], time.monotonic()
        if task.remaining is None or task.finished or now - self._said < _SILENT_SECONDS:
            return
        self._said = now
        made = task.completed - self._first
        left = (now - self._started) * task.remaining / made if made > 0 else None
        when = "" if left is None else f", {timedelta(seconds=round(left))} left"
        line = f"{task.description}: {task.completed:,.0f} of {task.total:,.0f}{when}"
        if console.is_terminal:
            _log.info(plain(line))
        else:
            say(line)


def progress(*more: ProgressColumn) -> Progress:
    """A progress bar on standard error; where that is no terminal, a plain line each minute.

    :param more: Columns after the usual ones.
    """
    return _Bar(
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *more,
        console=console,
        transient=True,
        disable=_is_drawing or not console.is_terminal or console.quiet,
    )


def quiet_libraries(*, verbose: bool = False) -> None:
    """Keep warnings, notices and progress bars of the libraries away from the user for the rest of the process.

    :param verbose: Show what they log on standard error all the same.
    """
    global _log_file
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that PyTorch is not installed
    if not verbose:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.simplefilter("default")
    logging.captureWarnings(True)
    logging.getLogger().setLevel(logging.INFO)
    while _handlers:  # of an earlier command in this process
        handler = _handlers.pop()
        logging.getLogger().removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
    _log_file = None
    shown = logging.StreamHandler() if verbose else logging.NullHandler()
    shown.setFormatter(_Visible())
    shown.addFilter(lambda record: record.name != _log.name)  # our own lines are printed already
    _add_handler(shown)
    adopt_loggers()


def quiet_transformers() -> None:
    """The same for transformers, whose logging can be set only once it is imported."""
    import transformers

    transformers.logging.set_verbosity(logging.WARNING)
    transformers.logging.disable_progress_bar()
    adopt_loggers()


def start_log(folder: Path) -> None:
    """Keep our lines and what libraries log in a file of a run directory."""
    global _log_file
    path = folder / _LOG
    if not is_main_process() or path == _log_file:
        return
    with contextlib.suppress(OSError):  # a run that can be read alone is measured without
        path.parent.mkdir(exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
        handler.setFormatter(_Visible("%(asctime)s %(name)s %(levelname)s %(message)s"))
        _add_handler(handler)
        _log_file = path


def end_log() -> None:
    """Keep no more lines in the run's file."""
    global _log_file
    for handler in [handler for handler in _handlers if isinstance(handler, _LogFile)]:
        logging.getLogger().removeHandler(handler)
        _handlers.remove(handler)
        handler.close()
    _log_file = None


class _LogFile(logging.FileHandler):
    """A log that ends silently where the disk is full: the command itself says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say nothing."""


class _Visible(logging.Formatter):
    """Lines that do nothing to the terminal that shows them."""

    def format(self, record: logging.LogRecord) -> str:
        """As the library does, and then `visible`."""
        return visible(super().format(record))


def _add_handler(handler: logging.Handler) -> None:
    logging.getLogger().addHandler(handler)
    _handlers.append(handler)


def log_error(error: BaseException) -> Path | None:
    """Keep the traceback of an error, its causes included.

    :return: The file that holds it; none where no run is known yet.
    """
    _log.error("%s", "".join(traceback.format_exception(error)).rstrip())
    return _log_file


@contextlib.contextmanager
def swallowed_output() -> Iterator[None]:
    """Keep what libraries print inside the block away from the user; it goes to the log."""
    out = io.StringIO()
    adopt_loggers()  # of libraries that were imported since
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield
    finally:
        if out.getvalue().strip():
            logging.getLogger("libraries").info("%s", out.getvalue().strip())


def adopt_loggers() -> None:
    """Let the libraries' loggers hand on to ours: some print by themselves once they are imported."""
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LIBRARIES]
    for logger in map(logging.getLogger, {*_LIBRARIES, *known}):
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)

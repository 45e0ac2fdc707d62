"""Attempts with malformed inputs: each in a process of its own, with limits of time and memory, and judged.

An input may be refused in one line that says where it is wrong, or be accepted with the right meaning. All else is a
fault: a traceback, a hang, a process that died, too much memory, an answer that the input does not hold.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import forked
import psutil
import typer

from bench.measure import trial as variants_trial
from compress.cli.outcome import finish
from compress.errors import CompressError
from compress.models import trial as models_trial
from export.bundle.trust import trial as bundles_trial

Spoil = Callable[[Path], object]
"""Writes a malformed input into an empty folder; text that it returns says what is wrong with it."""
Wants = Literal["refused", "accepted", "either"]
"""What must become of an input; `either`: it is accepted only if it means what it says."""
Ended = Literal["refused", "accepted", "traceback", "hang", "death", "memory", "wrong answer", "unclear message"]

_MOST_MEMORY = 2**31  # bytes that an attempt may add
_MOST_OF_CHILDREN = 6 * 2**30  # bytes of a process that the product starts with a limit of its own
_LONGEST_MESSAGE = 1000  # characters, folders not counted
_SHOWN = 4000


class WrongAnswer(Exception):  # noqa: N818 - a finding, not an error
    """What the product accepted does not mean what it took it for."""


class Refusal(CompressError):  # noqa: N818 - no error either
    """What a command tells in a table and by its exit code, as `compress verify` does."""


@dataclass(frozen=True)
class Surface:
    """A place where input from outside comes in.

    ``cases`` are inputs by name, each with what must become of it: a fault that was found once is one for ever.
    ``draw`` writes a malformed input of its own, ``draws`` times in a whole round. ``ask`` hands the input to the
    product and raises `WrongAnswer` where that takes it for something else. A refusal names the input's folder or one
    of ``places``.
    """

    name: str
    ask: Callable[[Path], object]
    cases: Mapping[str, tuple[Spoil, Wants]]
    draw: Callable[[random.Random, Path], str]
    draws: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One input to try."""

    surface: Surface
    name: str
    spoil: Spoil
    wants: Wants = "either"


class Outcome(NamedTuple):
    """What became of an attempt, the line or traceback that tells it, and the most memory that one of its processes
    held at once, in bytes; none where it did not come to its end."""

    attempt: Attempt
    ended: Ended
    told: str
    memory: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether the product did something that it must not do."""
        return self.ended not in ("refused", "accepted")


def attempts_at(surface: Surface, seed: int, part: int) -> Iterator[Attempt]:
    """All named cases, and one in ``part`` of the drawn ones."""
    for name, (spoil, wants) in surface.cases.items():
        yield Attempt(surface, name, spoil, wants)
    for number in range(0, surface.draws, part):
        yield Attempt(surface, f"{surface.name} {seed}-{number}", _drawing(surface, seed, number))


def _drawing(surface: Surface, seed: int, number: int) -> Spoil:
    return lambda folder: surface.draw(random.Random(f"{surface.name} {seed} {number}"), folder)


@dataclass
class _Running:
    attempt: Attempt
    folder: Path
    process: BaseProcess
    deadline: float


def run_attempts(attempts: Iterable[Attempt], seconds: float, processes: int, keep: Path) -> Iterator[Outcome]:
    """Try all, several at once.

    :param seconds: After which an attempt hangs.
    :param keep: Folder for the inputs of those that end in a fault.
    """
    waiting, running, started = iter(attempts), list[_Running](), itertools.count()
    context = multiprocessing.get_context("fork")
    with TemporaryDirectory(prefix="fuzz-") as scratch:
        while True:
            while len(running) < processes and (attempt := next(waiting, None)) is not None:
                folder = Path(scratch) / str(next(started))
                (folder / "input").mkdir(parents=True)
                process = context.Process(target=_attempt, args=(attempt, folder))
                process.start()
                running.append(_Running(attempt, folder, process, time.monotonic() + seconds))
            if not running:
                return
            nearest = min(each.deadline for each in running)
            ended = wait([each.process.sentinel for each in running], max(0.0, nearest - time.monotonic()))
            for each in list(running):
                if each.process.sentinel in ended or time.monotonic() >= each.deadline:
                    running.remove(each)
                    outcome = _outcome(each, hangs=each.process.sentinel not in ended)
                    if outcome.is_fault:
                        _keep(outcome, each.folder, keep)
                    shutil.rmtree(each.folder, ignore_errors=True)
                    yield outcome


def _outcome(running: _Running, *, hangs: bool) -> Outcome:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid or 0, signal.SIGKILL)  # what it may have started too
    running.process.join()
    result = running.folder / "result.json"
    if result.is_file() and not hangs:
        found = json.loads(result.read_text("utf-8"))
        return Outcome(running.attempt, found["ended"], found["told"], found["memory"])
    told = "".join(
        path.read_text("utf-8", "replace")[-_SHOWN:] + "\n"
        for path in (running.folder / "spoilt.txt", running.folder / "said.txt")
        if path.is_file()
    )
    return Outcome(running.attempt, "hang" if hangs else "death", f"{told}exit code {running.process.exitcode}")


def _keep(outcome: Outcome, folder: Path, keep: Path) -> None:
    """Leave the input and what was found where people can look at them."""
    kept = keep / "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in outcome.attempt.name)[:80]
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "found.txt").write_text(f"{outcome.attempt.name}\n{outcome.ended}\n{outcome.told}\n", "utf-8", "replace")
    with contextlib.suppress(OSError, shutil.Error):  # pipes, and what cannot be read, stay behind
        shutil.copy(folder / "said.txt", kept)
        shutil.copytree(folder / "input", kept / "input", symlinks=True)


def _attempt(attempt: Attempt, folder: Path) -> None:
    """In the attempt's own process."""
    os.setsid()
    said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(said, stream)
    forked.share_server()
    for module in (models_trial, bundles_trial, variants_trial):
        module.ask_limited = forked.ask_limited
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", errors="backslashreplace") for stream in (1, 2))
    spoilt = str(attempt.spoil(folder / "input") or attempt.name)
    (folder / "spoilt.txt").write_text(spoilt, "utf-8", "backslashreplace")
    ended, told = judged(attempt, folder / "input", folder / "said.txt")
    found = {"ended": ended, "told": f"{spoilt}: {told}", "memory": max(_largest_memory())}
    (folder / "result.json").write_text(json.dumps(found), "utf-8")


def judged(attempt: Attempt, folder: Path, said: Path) -> tuple[Ended, str]:
    """Ask the product and tell how that ended, and what it said.

    :param said: File that standard output and standard error go to.
    """
    process = psutil.Process()
    before = process.memory_info()
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (before.vms + _MOST_MEMORY,) * 2)
    try:
        finish(lambda: attempt.surface.ask(folder), in_json=False, verbose=False)  # type: ignore[type-var]
        ended: Ended = "accepted"
    except typer.Exit:
        ended = "refused"
    except WrongAnswer as wrong:
        return "wrong answer", str(wrong)
    except BaseException:  # panics of Rust too
        return "traceback", traceback.format_exc()[-_SHOWN:]
    sys.stdout.flush()
    sys.stderr.flush()
    text = said.read_text("utf-8", "backslashreplace")
    own, of_children = _largest_memory()
    if own > before.rss + _MOST_MEMORY or of_children > _MOST_OF_CHILDREN:
        return "memory", f"{own:,} bytes, {of_children:,} in processes of its own; {text[-_SHOWN:]}"
    problem = _problem_of(text, folder, ended == "refused", attempt.surface.places)
    if problem:
        return "unclear message", f"{problem}: {text[-_SHOWN:]}"
    if attempt.wants not in ("either", ended):
        return "wrong answer", f"{ended}: {text[-_SHOWN:]}"
    return ended, text.splitlines()[-1] if text else ""


def _largest_memory() -> tuple[int, int]:
    """The most bytes that this process has held, and that one of those that it has started and waited for has."""
    own, of_children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own * 1024, of_children * 1024


def _problem_of(text: str, folder: Path, refused: bool, places: tuple[str, ...]) -> str | None:
    """What is wrong with what was printed: control characters; a refusal that is not one line with its place."""
    if any(unicodedata.category(sign) == "Cc" and sign != "\n" for sign in text):
        return "control characters"
    if not refused:
        return None
    last = text.splitlines()[-1] if text else ""
    if not last.startswith("error: "):
        return "not one line"
    if len(last.replace(str(folder), "")) > _LONGEST_MESSAGE:
        return "too long"
    if not any(place in last for place in (str(folder), *places)):
        return "does not say where"
    return None

"""Modules of ours that run in processes of their own, and within limits where what they open may be anything."""

from __future__ import annotations

import os
import resource
import signal
import site
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TextIO

_MOST_WRITTEN = 64_000_000  # bytes, of answers or of what libraries print
_LAST_WORDS = 4000  # bytes
_WATCHED_EVERY = 0.2  # seconds


@dataclass(frozen=True)
class ProcessLimits:
    """What a process may take: seconds until it ends, and bytes of memory of its own.

    What uses a GPU is watched for them, as CUDA reserves more addresses than there is memory; the GPU has no limit.
    """

    seconds: float
    memory: int
    on_gpu: bool = False


@dataclass(frozen=True)
class Told:
    """What a process answered, line by line, and what it ended by; none: by itself, all answered."""

    lines: list[str]
    failure: str | None


def ask_limited(module: str, question: str, limits: ProcessLimits) -> Told:
    """Run a module of ours for what may abort, hang or fill the memory of the process that does it.

    :param module: A program that reads the question from standard input and writes lines to `answers_alone`.
    """
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as answers, TemporaryFile("w+b") as errors:
        process = subprocess.Popen(  # noqa: S603
            module_command(module), stdin=subprocess.PIPE, stdout=answers, stderr=errors, text=True,
            env=module_environment(),
        )  # fmt: skip
        try:
            for kind, most in (
                (resource.RLIMIT_DATA, resource.RLIM_INFINITY if limits.on_gpu else limits.memory),
                (resource.RLIMIT_FSIZE, _MOST_WRITTEN),
                (resource.RLIMIT_CORE, 0),
            ):
                resource.prlimit(process.pid, kind, (most, most))
            stopped = _watched(process, question, limits)
        finally:
            ended = process.poll()
            process.kill()
            process.wait()
        answers.seek(0)
        return Told(answers.read().splitlines(), stopped or _failure(ended, errors))


def _watched(process: subprocess.Popen[str], question: str, limits: ProcessLimits) -> str | None:
    """Ask a process and wait for its end; if it takes too much, in words what."""
    deadline, told = time.monotonic() + limits.seconds, question
    while True:
        try:
            process.communicate(told or None, timeout=_WATCHED_EVERY)
            return None
        except subprocess.TimeoutExpired:
            told = ""  # it is sent already, or is being sent
        if time.monotonic() > deadline:
            return f"took longer than {limits.seconds:.0f} s"
        if limits.on_gpu and _own_memory(process.pid) > limits.memory:
            return f"took more than {limits.memory / 1e9:.0f} GB of memory"


def _own_memory(number: int) -> int:
    """Bytes that a process holds and shares with no file and no other process."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        held = psutil.Process(number).memory_info()
        return int(held.rss - held.shared)
    return 0


def answers_alone() -> TextIO:
    """Standard output for answers alone: what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of ours in a process of its own.

    With a safe path (``-P``): a folder ``bench`` where the user stands must not come before this package.
    """
    return (sys.executable, "-P", "-m", module, *arguments)


def module_environment(**variables: str) -> dict[str, str]:
    """The environment that such a process finds this package in, wherever it was imported from."""
    environment = {**os.environ, **variables}
    root = Path(__file__).resolve().parents[1]
    folders = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages())
    # A checkout, which the interpreter may know only from where it was started.
    if root not in {Path(folder).resolve() for folder in folders}:
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(root), *([others] if others else [])])
    return environment


def _failure(ended: int | None, errors: IO[bytes]) -> str | None:
    """Why a process did not end well, in words that follow "the process that tried it"."""
    if not ended:
        return None
    if ended < 0:
        return f"was ended by {signal.Signals(-ended).name}"
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LAST_WORDS))
    words = errors.read().decode("utf-8", "replace").strip().splitlines() or ["no reason was given"]
    return f"ended with {words[-1]:.200}"

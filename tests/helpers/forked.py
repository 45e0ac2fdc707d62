"""Processes of ours that need not load the libraries first, which takes each four seconds of processor time.

They are forked from one that has loaded them (the standard library's fork server); all else is as in a new process.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import IO, Any

from compress import subprocesses
from compress.subprocesses import ProcessLimits, Told

LOADED = (
    "torch",
    "datasets",
    "transformers.trainer",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "compress.cli.commands",
    "export.bundle.trust.trial",
    "bench.measure.trial",
    "bench.measure.worker",
)
"""What takes these seconds."""
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(LOADED))
_WORKER = "bench.measure.worker"


def share_server() -> None:
    """For a process that comes from the one that started the server, or from the server: it is running."""
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]


def run_command(
    *arguments: str, cwd: Path | None = None, killed_after: float | None = None
) -> subprocess.CompletedProcess[str]:
    """What `compress` with these arguments prints, and its exit code.

    :param killed_after: Seconds after which it is killed, where it has not ended.
    """
    with TemporaryDirectory() as folder:
        code = _run(Path(folder), killed_after, _command, arguments, cwd or Path.cwd())
        out, error = (Path(folder, name).read_text("utf-8") for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(["compress", *arguments], -signal.SIGKILL if code is None else code, out, error)


def ask_limited(module: str, question: str, limits: ProcessLimits) -> Told:
    """Stands in for `compress.subprocesses.ask_limited`."""
    with TemporaryDirectory() as folder:
        Path(folder, "stdin").write_text(question, "utf-8")
        code = _run(Path(folder), limits.seconds, _module, module, None if limits.on_gpu else limits.memory)
        failure = f"took longer than {limits.seconds:.0f} s"
        if code is not None:
            with Path(folder, "stderr").open("rb") as errors:
                failure = subprocesses._failure(code, errors)
        return Told(Path(folder, "stdout").read_text("utf-8", "replace").splitlines(), failure)


class MeasuringProcess:
    """Stands in for a `subprocess.Popen` that runs `bench.measure.worker`."""

    def __init__(self, *, stderr: IO[str], env: dict[str, str], **_: object):
        questions, ours = multiprocessing.Pipe(duplex=False)
        theirs, answers = multiprocessing.Pipe(duplex=False)
        errors = Connection(os.dup(stderr.fileno()), readable=False)
        streams = (questions, answers, errors)
        self._process = _SERVER.Process(target=_measure, args=(streams, env), daemon=True)
        self._process.start()
        for each in streams:
            each.close()
        self.stdin, self.stdout = os.fdopen(os.dup(ours.fileno()), "w"), os.fdopen(os.dup(theirs.fileno()))
        for each in (ours, theirs):
            each.close()
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> None:
        self.wait()
        for stream in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):
                stream.close()


def _begun(command: Sequence[str], **named: Any) -> MeasuringProcess | subprocess.Popen[str]:
    return MeasuringProcess(**named) if command[-1] == _WORKER else subprocess.Popen(command, **named)


STAND_INS: Mapping[str, object] = {
    "compress.models.trial.ask_limited": ask_limited,
    "export.bundle.trust.trial.ask_limited": ask_limited,
    "bench.measure.trial.ask_limited": ask_limited,
    "bench.measure.process.subprocess": SimpleNamespace(Popen=_begun, PIPE=subprocess.PIPE),
}
"""What starts processes of ours, and what does so here."""


def _run(folder: Path, seconds: float | None, program: Callable[..., None], *arguments: object) -> int | None:
    """The exit code of a program whose streams lie in a folder; none if it took longer."""
    for name in ("stdin", "stdout", "stderr"):
        (folder / name).touch()
    process = _SERVER.Process(target=_begin, args=(folder, dict(os.environ), program, arguments))
    process.start()
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    return code


def _begin(
    folder: Path, environment: dict[str, str], program: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY if number else os.O_RDONLY), number)
    _be_new(environment)
    program(*arguments)


def _measure(streams: Sequence[Connection], environment: dict[str, str]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    _be_new(environment)
    importlib.import_module(_WORKER).main()


def _be_new(environment: dict[str, str]) -> None:
    gc.freeze()  # what was loaded is not looked at again, which would copy it
    share_server()
    sys.stdin = os.fdopen(0, encoding="utf-8")
    os.environ.clear()
    os.environ.update(environment)


def _command(arguments: tuple[str, ...], cwd: Path) -> None:
    os.chdir(cwd)
    for place, stand_in in STAND_INS.items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, stand_in)
    sys.argv = ["compress", *arguments]
    from compress.cli.app import main

    main()


def _module(name: str, memory: int | None) -> None:
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    importlib.import_module(name).main()

"""Processes of ours that need not load the libraries first, which takes each four seconds of processor time.

They are forked from one that has loaded them (the standard library's fork server); all else is as in a new process.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from compress import subprocesses
from compress.subprocesses import ProcessLimits, Told

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "torch",
        "datasets",
        "transformers.trainer",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.bert.modeling_bert",
        "compress.cli.commands",
    ]
)


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
    sys.stdin = (folder / "stdin").open(encoding="utf-8")
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    program(*arguments)


def _command(arguments: tuple[str, ...], cwd: Path) -> None:
    os.chdir(cwd)
    subprocesses.ask_limited = ask_limited  # what it tries in further processes too, as long as nothing has imported it
    sys.argv = ["compress", *arguments]
    from compress.cli.app import main

    main()


def _module(name: str, memory: int | None) -> None:
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    importlib.import_module(name).main()

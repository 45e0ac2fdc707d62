"""A process that is asked things: stopped unless it is asked, so that it disturbs none of the others."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile

from bench.measure.messages import Answer, Request, line_of, message_of
from compress.errors import CompressError
from compress.subprocesses import module_environment


class AskedProcess:
    """A process that answers requests (`bench.measure.messages.answer_requests`).

    :param name: For messages.
    :param command: What is run, as `compress.subprocesses.module_command` tells.
    :param kinds: The messages that it is asked and answers with.
    :param threads: Of each of its libraries.
    """

    def __init__(self, name: str, command: Sequence[str], kinds: Mapping[str, type], threads: int):
        self._name, self._kinds = name, kinds
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=module_environment(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads)),
        )

    @property
    def number(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, request: Request[Answer]) -> Answer:
        """Wake the process, send one request, wait for its answer, and stop the process.

        :raises CompressError: If the process ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # the answer that does not come tells
            print(line_of(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise CompressError(f"bench: the process that measures {self._name} ended ({self._reason()})")
        self._process.send_signal(signal.SIGSTOP)
        try:
            answer: Answer = message_of(line, self._kinds)
        except (ValueError, KeyError, TypeError) as error:
            raise CompressError(
                f"bench: the process that measures {self._name} answered {line.strip()!r:.80}; something that it loads "
                "writes where its answers go"
            ) from error
        return answer

    def _reason(self) -> str:
        """Why the process has ended."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "it was killed, as the system does where memory is short; free memory or measure fewer variants"
        if code < 0:
            return f"by {signal.Signals(-code).name}"
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["no reason was given"])[-1]

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

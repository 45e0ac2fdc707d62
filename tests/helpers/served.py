"""Servers of small bundles in processes of their own, on free ports of the loopback, and how they are asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked

_LONGEST_START = 120.0  # seconds
_URL = re.compile(r"answers on http://127\.0\.0\.1:(\d+);")


class StartedCommand:
    """`compress` with some arguments, while it runs; its streams lie in a folder."""

    def __init__(self, folder: Path, *arguments: str):
        self._folder = folder
        for name in ("stdin", "stdout", "stderr"):
            (folder / name).touch()
        told = (folder, dict(os.environ), forked._command, (arguments, Path.cwd()))
        self._process = forked._SERVER.Process(target=forked._begin, args=told)
        self._process.start()

    @property
    def error(self) -> str:
        """What it has written on standard error."""
        return (self._folder / "stderr").read_text("utf-8")

    @property
    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid or 0, number)

    def wait(self) -> subprocess.CompletedProcess[str]:
        """What it has printed, and its exit code."""
        self._process.join()
        out = (self._folder / "stdout").read_text("utf-8")
        return subprocess.CompletedProcess(["compress"], self._process.exitcode or 0, out, self.error)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@dataclass(frozen=True)
class HttpAnswer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    command: StartedCommand
    port: int

    def ask(
        self, path: str, sent: Any = None, headers: Mapping[str, str] | None = None, method: str | None = None
    ) -> HttpAnswer:
        """Ask for a page, or send bytes or what is written as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = sent if sent is None or isinstance(sent, bytes) else json.dumps(sent).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        found = connection.getresponse()
        answer = HttpAnswer(found.status, {**found.headers}, found.read())
        connection.close()
        return answer

    def metric(self, name: str) -> float:
        """The sum of a metric's values on the page for Prometheus."""
        lines = self.ask("/metrics").content.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}(\{{| )", line))

    def stop(self) -> subprocess.CompletedProcess[str]:
        """End it as service managers do; its process, which has ended."""
        self.command.send_signal(signal.SIGTERM)
        return self.command.wait()


@contextmanager
def served(folder: Path, bundle: Path, *options: str) -> Iterator[Served]:
    """A bundle's server.

    :param folder: An empty one, for its streams.
    """
    command = StartedCommand(folder, "serve", str(bundle), "--port", "0", *options)
    deadline = time.monotonic() + _LONGEST_START
    try:
        while (found := _URL.search(command.error)) is None:
            assert not command.has_ended, command.error
            assert time.monotonic() < deadline, command.error
            time.sleep(0.05)
        yield Served(command, int(found[1]))
    finally:
        command.kill()


def packed(folder: Path, model: Path, rows: Path, *settings: str) -> Path:
    """The bundle of a model as it is."""
    named = ("--data", str(rows), "--name", "small", "--output", str(folder))
    exported = forked.run_command("export", str(model), *named, "--set", "export.variants=[]", *settings, cwd=folder)
    assert exported.returncode == 0, exported.stderr
    done = forked.run_command("bundle", str(folder / "small"), "--accept", "onnx", "--output", str(folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "small/bundle"

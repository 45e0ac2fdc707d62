"""The measuring processes: one a model, stopped while others are asked something, so that none disturbs another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from bench.measure.contenders import REFERENCE, Contender
from compress.errors import CompressError
from compress.models.load import load_tokenizer
from compress.recipe.recipe import Recipe
from compress.runs.files import write_json
from compress.runtimes.generation import Search
from compress.tasks.contract import Example
from compress.tasks.registry import task_named
from compress.tasks.rows import Row, row_as_dict

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-m", "bench.measure.worker")


@dataclass(frozen=True)
class Machine:
    """The processors that models are measured on: each process is kept on these."""

    cpus: tuple[int, ...]

    @classmethod
    def with_threads(cls, threads: int | None) -> Machine:
        """The last processors that this process may use: the first ones serve most interrupts.

        :param threads: How many; none for all.
        """
        cpus = sorted(os.sched_getaffinity(0))
        return cls(tuple(cpus[-threads:] if threads else cpus))

    @property
    def threads(self) -> int:
        """How many of them there are."""
        return len(self.cpus)


@dataclass(frozen=True)
class Setup:
    """What a measuring process is told, and what its tokenizer made of the test rows."""

    request: dict[str, Any]
    examples: Sequence[Example]

    @cached_property
    def _of_row(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for index, example in enumerate(self.examples):
            found[example["row"]].append(index)
        return found

    def examples_of(self, rows: Sequence[int]) -> list[int]:
        """Numbers of the examples of some rows."""
        return [index for row in rows for index in self._of_row[row]]

    def tokens_of(self, row: int) -> int:
        """How many tokens the model reads of a row."""
        return sum(len(self.examples[index]["input_ids"]) for index in self._of_row[row])


@dataclass
class Started:
    """What was seen of a model's starts, each in a fresh process: seconds, and memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    memory: list[dict[str, int | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Measurement:
    """What all processes of a measurement share: recipe, test rows, processors, and a folder for their files."""

    recipe: Recipe
    rows: Sequence[Row]
    machine: Machine
    scratch: Path
    largest: tuple[int, int]
    """Batch and length that the peak of memory is measured with."""

    def setup(self, contender: Contender) -> Setup:
        """Tokenise the test rows as this model reads them."""
        tokenizer = load_tokenizer(str(contender.tokenizer))
        task = task_named(self.recipe.task)
        examples = task.encoder(tokenizer, self.recipe.data, contender.labels)(self.rows)
        path = self.scratch / f"{contender.name}-examples.json"
        path.write_text(json.dumps(examples), "utf-8")
        request = {
            **self._shared,
            "model": str(contender.model),
            "tokenizer": str(contender.tokenizer),
            "labels": list(contender.labels),
            "examples": str(path),
            "pad_id": tokenizer.pad_token_id,
        }
        return Setup(request, examples)

    def reference(self) -> Setup:
        """The fixed piece of work, measured as a model is."""
        path = self.scratch / f"{REFERENCE}-examples.json"
        examples = [{"row": number, "input_ids": [0]} for number in range(len(self.rows))]
        write_json(path, examples)
        return Setup({**self._shared, "model": None, "examples": str(path), "pad_id": 0}, examples)

    @cached_property
    def _shared(self) -> dict[str, Any]:
        texts = self.scratch / "texts.json"
        write_json(texts, [row_as_dict(row) for row in self.rows])
        return {
            "task": self.recipe.task,
            "data": self.recipe.data.model_dump(mode="json"),
            "texts": str(texts),
            "search": asdict(Search.of(self.recipe)),
            "threads": self.machine.threads,
            "cpus": self.machine.cpus,
            "largest": self.largest,
        }


class Worker:
    """A process that holds one model; stopped unless it is asked something."""

    def __init__(self, name: str, setup: Setup):
        self._name = name
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        threads = str(setup.request["threads"])
        self._process = subprocess.Popen(  # noqa: S603
            WORKER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
        try:
            self.start = self.ask(setup.request)
        except BaseException:
            self.end()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Wake the process, send one request, wait for its answer, and stop the process.

        :raises CompressError: If the process ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # the answer that does not come tells
            print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            reason = self._errors.read().strip().splitlines()[-1:] or ["no reason was given"]
            raise CompressError(f"bench: the process that measures {self._name} ended ({reason[0]})")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def started(setups: dict[str, Setup], starts: int) -> Iterator[tuple[dict[str, Worker], dict[str, Started]]]:
    """Start every model so many times, in turn; the processes of the last turn stay."""
    seen: dict[str, Started] = {name: Started() for name in setups}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for turn in range(starts):
            for name, setup in setups.items():
                worker = Worker(name, setup)
                seen[name].seconds.append(round(worker.start["start_up_seconds"], 3))
                seen[name].memory.append(worker.start["memory"])
                if turn < starts - 1:
                    worker.end()
                else:
                    stack.callback(worker.end)
                    workers[name] = worker
        yield workers, seen

"""The measuring processes: one a model, stopped while others are asked something, so that none disturbs another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.measure.contenders import Contender
from bench.measure.machine import Machine
from bench.measure.messages import Answer, Request
from bench.measure.process import AskedProcess
from bench.measure.protocol import KINDS, SizeBatch, TextSetup, WorkerSetup
from bench.measure.reference import REFERENCE
from compress.models.load import load_tokenizer
from compress.recipe.recipe import Recipe
from compress.reports.bench import Memory
from compress.runs.files import write_json
from compress.runtimes.generation import Search
from compress.subprocesses import module_command
from compress.tasks.contract import Example
from compress.tasks.registry import task_named
from compress.tasks.rows import Row, row_as_dict

WORKER_COMMAND = module_command("bench.measure.worker")
"""What runs a measuring process."""


@dataclass(frozen=True)
class ModelSetup:
    """What a measuring process is told, and what its tokenizer made of the test rows."""

    told: WorkerSetup
    examples: Sequence[Example]

    @cached_property
    def _of_row(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for index, example in enumerate(self.examples):
            found[example["row"]].append(index)
        return found

    def examples_of(self, rows: Sequence[int]) -> list[int]:
        """Numbers of the examples of some rows."""
        return [index for row in rows for index in self._of_row[int(row)]]

    def tokens_of(self, row: int) -> int:
        """How many tokens the model reads of a row."""
        return sum(len(self.examples[index]["input_ids"]) for index in self._of_row[row])


@dataclass(frozen=True)
class Starts:
    """What was seen of a model's starts, each in a fresh process: seconds of loading and the first run, and memory."""

    seconds: list[float] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


@dataclass(frozen=True)
class Measurement:
    """What all processes of a measurement share: recipe, test rows, processors, and a folder for their files.

    ``largest`` is what the peak of memory is measured with.
    """

    recipe: Recipe
    rows: Sequence[Row]
    machine: Machine
    scratch: Path
    largest: SizeBatch

    def setup(self, contender: Contender) -> ModelSetup:
        """Tokenise the test rows as this model reads them."""
        tokenizer, data = load_tokenizer(contender.tokenizer, contender.trusts_code), self.recipe.data
        examples = task_named(self.recipe.task).encoder(tokenizer, data, contender.labels)(self.rows)
        path = self.scratch / f"{contender.name}-examples.json"
        path.write_text(json.dumps(examples), "utf-8")
        text = TextSetup(
            tokenizer=str(contender.tokenizer),
            labels=list(contender.labels),
            rows=self._texts,
            max_length=data.max_length,
            language_codes=dict(data.language_codes),
            prefix=data.prefix,
            prompts=data.prompts,
            default_prompt=data.default_prompt,
        )
        told = self._told(path, str(contender.model), tokenizer.pad_token_id, text, contender.trusts_code)
        return ModelSetup(told, examples)

    def reference(self) -> ModelSetup:
        """The fixed piece of work, measured as a model is."""
        path = self.scratch / f"{REFERENCE}-examples.json"
        examples: list[Example] = [{"row": number, "input_ids": [0]} for number in range(len(self.rows))]
        write_json(path, examples)
        return ModelSetup(self._told(path, None, 0, None), examples)

    def _told(
        self, examples: Path, model: str | None, pad_id: int, text: TextSetup | None, trusts_code: bool = False
    ) -> WorkerSetup:
        return WorkerSetup(
            task=self.recipe.task,
            model=model,
            examples=str(examples),
            pad_id=pad_id,
            text=text,
            search=Search.of(self.recipe),
            threads=self.machine.threads,
            cpus=self.machine.cpus,
            largest=self.largest,
            trusts_code=trusts_code,
        )

    @cached_property
    def _texts(self) -> str:
        path = self.scratch / "texts.json"
        write_json(path, [row_as_dict(row) for row in self.rows])
        return str(path)


class Worker:
    """A process that holds one model; stopped unless it is asked something.

    :param command: Runs the process.
    """

    def __init__(self, name: str, setup: ModelSetup, command: Sequence[str] = WORKER_COMMAND):
        self.setup = setup
        self._process = AskedProcess(name, command, KINDS, setup.told.threads)
        try:
            self.start = self._process.ask(setup.told)
        except BaseException:
            self.end()
            raise

    def ask(self, request: Request[Answer]) -> Answer:
        """Send one request of `bench.measure.protocol` and wait for its answer.

        :raises CompressError: If the process ended instead.
        """
        return self._process.ask(request)

    def end(self) -> None:
        """End the process."""
        self._process.end()


@contextmanager
def started(
    setups: Mapping[str, ModelSetup], starts: int, command: Sequence[str] = WORKER_COMMAND
) -> Iterator[tuple[dict[str, Worker], dict[str, Starts]]]:
    """Start every model so many times, in turn; the processes of the last turn stay while the block runs.

    :param command: Runs a process, as `bench.measure.worker` does.
    """
    seen = {name: Starts() for name in setups}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for turn in range(starts):
            for name, setup in setups.items():
                worker = Worker(name, setup, command)
                start = worker.start
                seen[name].seconds.append(round(start.seconds, 3))
                seen[name].memory.append(
                    Memory(before=start.before, needed=start.needed, peak=start.peak, gpu=start.gpu)
                )
                if turn < starts - 1:
                    worker.end()
                else:
                    stack.callback(worker.end)
                    workers[name] = worker
        yield workers, seen

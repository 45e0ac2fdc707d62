"""Measures one model in a process of its own: ``python -P -m bench.measure.worker``.

Nothing is loaded but the model's own runtime: memory figures are the model's.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure.memory import gpu_memory, needed_memory, peak_memory
from bench.measure.messages import answer_requests
from bench.measure.protocol import (
    KINDS,
    PredictAnswer,
    PredictRequest,
    RowsBatch,
    RunAnswer,
    RunRequest,
    ServeRequest,
    SizeBatch,
    TextAnswer,
    TextRequest,
    TextSetup,
    TimingWarmUpRequest,
    WorkerSetup,
    WorkerStart,
)
from bench.measure.reference import reference_workload
from bench.measure.serving import serve
from bench.measure.timing import SHORT_MS, collect_and_keep_off, timing_warm_up
from compress.console import quiet_libraries
from compress.data.encode import inputs_of, pad
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.contract import Encode, Example, Task
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.threads import bound_threads
from compress.timing import timed_in_peace

Feed = dict[str, NDArray[Any]]
Load = Callable[[Path, Task, Search, int, bool], Predict]
"""Opens a model, as `compress.runtimes.predict.load_predict`."""


def main(load: Load = load_predict) -> None:
    """Load the model once, then answer until the input ends.

    :param load: Opens the model.
    """
    bound_threads()
    quiet_libraries()

    def begin(setup: WorkerSetup) -> tuple[WorkerStart, Callable[[object], object]]:
        os.sched_setaffinity(0, setup.cpus)
        model = MeasuredModel(setup, load)
        return model.start(), model.answer

    answer_requests(KINDS, begin)


class MeasuredModel:
    """One model, and what is asked of it.

    :param load: Opens it.
    """

    def __init__(self, setup: WorkerSetup, load: Load = load_predict):
        self._setup, self._load = setup, load
        self._examples: list[Example] = json.loads(Path(setup.examples).read_text("utf-8"))
        self._task: Task = task_named(setup.task)
        self._expected: dict[SizeBatch | int, float] = {}

    def start(self) -> WorkerStart:
        """Load the model and run it once, then on the largest batch."""
        before = needed_memory(lambda: None)
        started = time.perf_counter()
        self._predict = self._opened()
        classes = self._predict(self._padded(0)).shape[-1]
        seconds = time.perf_counter() - started
        needed = needed_memory(partial(self._predict, self._of_size(self._setup.largest)))
        collect_and_keep_off()
        return WorkerStart(seconds, before, needed, peak_memory(), gpu_memory(), classes)

    def answer(self, request: object) -> object:
        """Do what is asked: one of the requests of `bench.measure.protocol`, and its answer."""
        match request:
            case TimingWarmUpRequest(batch):
                return timing_warm_up(partial(self._predict, self._feed(batch)))
            case RunRequest(batch):
                return self._run(batch)
            case TextRequest(row):
                return self._run_text(row)
            case ServeRequest():
                return serve(lambda numbers: self._predict(self._padded(*numbers)), request)
            case PredictRequest(file):
                outputs = predict_examples(self._predict, self._task, self._examples, self._setup.pad_id)
                np.savez(file, *outputs)
                return PredictAnswer()
        raise TypeError(f"{type(request).__name__} is nothing that can be asked")

    def _opened(self) -> Predict:
        setup = self._setup
        if setup.model is None:
            return reference_workload()
        return self._load(Path(setup.model), self._task, setup.search, setup.threads, setup.trusts_code)

    def _run(self, batch: RowsBatch | SizeBatch) -> RunAnswer:
        """One timed run, or where text is written two: up to the first token, and whole."""
        feed = self._feed(batch)
        kind = len(batch.examples) if isinstance(batch, RowsBatch) else batch
        if self._expected.get(kind, 0) < SHORT_MS:
            self._predict(feed)
        outputs: list[NDArray[Any]] = []
        found = timed_in_peace(lambda: outputs.append(self._predict(feed)))
        self._expected[kind] = found.milliseconds
        if not self._task.GENERATES or self._setup.model is None:
            return RunAnswer(found.milliseconds, found.waited)
        generate: Callable[..., NDArray[Any]] = self._predict
        first = timed_in_peace(lambda: generate(feed, max_tokens=1))
        written = int((outputs[0] != self._setup.pad_id).sum())
        return RunAnswer(found.milliseconds, found.waited, first.milliseconds, written)

    def _run_text(self, number: int) -> TextAnswer:
        """A row from its text to the model's outputs."""
        row = self._texts[number]
        feed = pad(self._encode([row]), self._setup.pad_id)
        self._predict(feed)
        tokenise = timed_in_peace(lambda: self._encode([row]))
        together = timed_in_peace(lambda: self._predict(pad(self._encode([row]), self._setup.pad_id)))
        return TextAnswer(tokenise.milliseconds, together.milliseconds, tokenise.waited + together.waited)

    @property
    def _text(self) -> TextSetup:
        assert self._setup.text is not None, "the reference workload reads no text"
        return self._setup.text

    @cached_property
    def _texts(self) -> list[Row]:
        return [Row(**row) for row in json.loads(Path(self._text.rows).read_text("utf-8"))]

    @cached_property
    def _encode(self) -> Encode:
        from compress.models.load import load_tokenizer

        tokenizer = load_tokenizer(self._text.tokenizer, self._setup.trusts_code)
        encode = self._task.encoder(tokenizer, self._text, self._text.labels)
        collect_and_keep_off()
        return encode

    def _feed(self, batch: RowsBatch | SizeBatch) -> Feed:
        return self._padded(*batch.examples) if isinstance(batch, RowsBatch) else self._of_size(batch)

    def _padded(self, *numbers: int) -> Feed:
        """Some examples, side by side."""
        return pad([self._examples[number] for number in numbers], self._setup.pad_id)

    def _of_size(self, size: SizeBatch) -> Feed:
        """A batch in which every row has this many tokens: those of the test rows, one row after the other."""
        tokens = itertools.cycle(token for example in self._examples for token in example["input_ids"])
        rows = []
        for number in range(size.batch):
            row = inputs_of(self._examples[number % len(self._examples)])
            row["input_ids"] = list(itertools.islice(tokens, size.length))
            if "token_type_ids" in row:
                row["token_type_ids"] = [0] * size.length
            rows.append(row)
        return pad(rows, self._setup.pad_id)


if __name__ == "__main__":
    main()

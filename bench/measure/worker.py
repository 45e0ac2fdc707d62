"""Measures one model in a process of its own: `python -m bench.measure.worker`; requests on standard input, answers on
standard output, one JSON object a line. Nothing is loaded but the model's own runtime: memory figures are the model's.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.load import serve
from bench.measure.memory import gpu_memory, peak_memory, resident_memory
from bench.measure.reference import reference_workload
from bench.measure.timing import SHORT_MS, collect_and_keep_off, milliseconds_of, timing_warm_up
from compress.console import quiet_libraries
from compress.data.encode import inputs_of, pad
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.contract import Encode, Example, Task
from compress.tasks.registry import task_named

Feed = dict[str, np.ndarray]
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Load the model once, then answer until the input ends."""
    quiet_libraries()
    with suppress(OSError, AttributeError):  # Linux: a stopped process must not outlive the one that would wake it
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w")  # libraries may print: they get standard error instead
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    os.sched_setaffinity(0, setup["cpus"])
    measured = MeasuredModel(setup)
    print(json.dumps(measured.start()), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(measured.answer(json.loads(line))), file=answers, flush=True)


class MeasuredModel:
    """One model, and what is asked of it.

    :param setup: As `bench.measure.workers.Setup` writes it.
    """

    def __init__(self, setup: dict[str, Any]):
        self._setup = setup
        self._examples: list[Example] = json.loads(Path(setup["examples"]).read_text("utf-8"))
        self._task: Task = task_named(setup["task"])
        self._expected: dict[str, float] = {}

    def start(self) -> dict[str, Any]:
        """Load the model and run it once, then on the largest batch; seconds, and memory in bytes."""
        before = resident_memory()
        started = time.perf_counter()
        self._predict = self._load()
        classes = self._predict(self._padded(0)).shape[-1]
        seconds, loaded = time.perf_counter() - started, resident_memory()
        self._predict(self._of_size(*self._setup["largest"]))
        collect_and_keep_off()
        memory = {"before": before, "loaded": loaded, "peak": peak_memory(), "gpu": gpu_memory()}
        return {"start_up_seconds": seconds, "memory": memory, "classes": classes}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked: warm up, run a batch of rows or one of a size, a text, serve requests, or predict."""
        what = request["measure"]
        if what in ("warm up", "run"):
            feed = self._feed(request)
            if what == "warm up":
                return asdict(timing_warm_up(partial(self._predict, feed)))
            kind = f"{len(request['rows'])} rows" if "rows" in request else str(request["size"])
            return self._run(kind, feed)
        if what == "text":
            return self._run_text(request["row"])
        if what == "serve":
            return serve(lambda rows: self._predict(self._padded(*rows)), request)
        np.savez(request["file"], *predict_examples(self._predict, self._task, self._examples, self._setup["pad_id"]))
        return {}

    def _load(self) -> Predict:
        setup = self._setup
        if setup["model"] is None:
            return reference_workload()
        path = Path(setup["model"])
        engine = next(iter(path.glob("*.engine")), None)
        if engine is not None:
            from compress.runtimes.tensorrt import load_engine
            from export.tensorrt.builder import choose_builder

            return load_engine(choose_builder(), engine, self._task)
        return load_predict(path, self._task, Search(**setup["search"]), setup["threads"])

    def _run(self, kind: str, feed: Feed) -> dict[str, Any]:
        """One timed run, or where text is written two: up to the first token, and whole."""
        if self._expected.get(kind, 0) < SHORT_MS:
            self._predict(feed)
        outputs: list[np.ndarray] = []
        found: dict[str, Any] = {"ms": milliseconds_of(lambda: outputs.append(self._predict(feed)))}
        self._expected[kind] = found["ms"]
        if self._task.GENERATES and self._setup["model"] is not None:
            generate: Callable[..., np.ndarray] = self._predict
            found["first_token_ms"] = milliseconds_of(lambda: generate(feed, max_tokens=1))
            found["tokens"] = int((outputs[0] != self._setup["pad_id"]).sum())
        return found

    def _run_text(self, number: int) -> dict[str, Any]:
        """A row from its text to the model's outputs: milliseconds of the tokenizer, and of both together."""
        row = self._texts[number]
        for _ in range(2):  # the first is not counted
            started = time.perf_counter_ns()
            examples = self._encode([row])
            tokenised = time.perf_counter_ns()
            self._predict(pad(examples, self._setup["pad_id"]))
            ended = time.perf_counter_ns()
        return {"tokenise_ms": (tokenised - started) / 1e6, "together_ms": (ended - started) / 1e6}

    @cached_property
    def _texts(self) -> list[Any]:
        from compress.tasks.rows import Row

        return [Row(**row) for row in json.loads(Path(self._setup["texts"]).read_text("utf-8"))]

    @cached_property
    def _encode(self) -> Encode:
        from compress.models.load import load_tokenizer
        from compress.recipe.data import Data

        tokenizer = load_tokenizer(self._setup["tokenizer"])
        encode = self._task.encoder(tokenizer, Data(**self._setup["data"]), self._setup["labels"])
        collect_and_keep_off()
        return encode

    def _feed(self, request: dict[str, Any]) -> Feed:
        return self._padded(*request["rows"]) if "rows" in request else self._of_size(*request["size"])

    def _padded(self, *numbers: int) -> Feed:
        """Some examples, side by side."""
        return pad([self._examples[number] for number in numbers], self._setup["pad_id"])

    def _of_size(self, batch: int, length: int) -> Feed:
        """A batch in which every row has this many tokens: those of the test rows, one row after the other."""
        tokens = itertools.cycle(token for example in self._examples for token in example["input_ids"])
        rows = []
        for number in range(batch):
            row = inputs_of(self._examples[number % len(self._examples)])
            row["input_ids"] = list(itertools.islice(tokens, length))
            if "token_type_ids" in row:
                row["token_type_ids"] = [0] * length
            rows.append(row)
        return pad(rows, self._setup["pad_id"])


if __name__ == "__main__":
    main()

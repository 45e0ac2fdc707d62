"""Latencies of all models, taken run by run in turn: real rows, a grid of sizes, and texts with their tokenisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.measure.statistics import percentiles
from bench.measure.timing import TimingWarmUp
from bench.measure.workers import Setup, Worker

_CELL_RUNS, _CELL_FEWEST, _CELL_SECONDS = 30, 5, 1.0


@dataclass
class Samples:
    """What was measured of one model at one batch size.

    ``milliseconds`` has one value a batch and round, rounds one after the other and batches in the order of the rows,
    so that values of two models at the same place are of the same rows at nearly the same time.
    """

    timing_warm_up: TimingWarmUp | None = None
    milliseconds: list[float] = field(default_factory=list)
    first_token_milliseconds: list[float] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True)
class Group:
    """The workers that are measured beside one another, and how their test rows are tokenised."""

    workers: dict[str, Worker]
    setups: dict[str, Setup]

    def in_turn(self, turn: int) -> Iterator[tuple[str, Worker, Setup]]:
        """All of them, each time from another one on."""
        names = list(self.workers)
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            yield name, self.workers[name], self.setups[name]


def batches_of(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Rows, so many at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class LatencyMeasurement:
    """Latency on real rows: each batch is run by every model, one right after the other, before the next batch."""

    def __init__(self, group: Group, rows: Sequence[int], sizes: Sequence[int], seed: int):
        self._group, self._seed = group, seed
        self.rows, self.rounds = rows, 0
        self.batches = {size: batches_of(rows, size) for size in sizes}
        self.samples = {name: {size: Samples() for size in sizes} for name in group.workers}

    def timing_warm_up(self) -> None:
        """Let every model run until its times are stable, once for each batch size."""
        for size, batches in self.batches.items():
            for name, worker, setup in self._group.in_turn(0):
                request = {"measure": "warm up", "rows": _examples(setup, batches[0])}
                self.samples[name][size].timing_warm_up = TimingWarmUp(**worker.ask(request))

    def add_round(self, advance: Callable[[int], object] = lambda batches: None) -> None:
        """Measure all batches once more, in an order of this round's own."""
        generator = np.random.default_rng((self._seed, self.rounds))
        self.rounds += 1
        for size, batches in self.batches.items():
            found: dict[str, list[dict[str, Any]]] = {name: [{}] * len(batches) for name in self._group.workers}
            for turn, number in enumerate(generator.permutation(len(batches))):
                for name, worker, setup in self._group.in_turn(turn):
                    found[name][number] = worker.ask({"measure": "run", "rows": _examples(setup, batches[number])})
                advance(1)
            for name, answers in found.items():
                samples = self.samples[name][size]
                samples.milliseconds += [answer["ms"] for answer in answers]
                samples.first_token_milliseconds += [a["first_token_ms"] for a in answers if "first_token_ms" in a]
                samples.tokens += sum(answer.get("tokens", 0) for answer in answers)

    def figures(self, name: str) -> dict[str, dict[str, float]]:
        """Percentiles and throughput of a model for each batch size."""
        return {str(size): self._figures(samples) for size, samples in self.samples[name].items()}

    def _figures(self, samples: Samples) -> dict[str, float]:
        seconds = sum(samples.milliseconds) / 1000
        found = percentiles(samples.milliseconds)
        found["rows_per_second"] = round(len(self.rows) * self.rounds / seconds, 2)
        if samples.tokens:
            found["tokens_per_second"] = round(samples.tokens / seconds, 1)
            found["first_token_p50_ms"] = round(float(np.median(samples.first_token_milliseconds)), 4)
        return found

    def milliseconds_of(self, name: str, size: int = 1) -> np.ndarray:
        """Milliseconds at a batch size, float (rounds, batches)."""
        return np.array(self.samples[name][size].milliseconds).reshape(self.rounds, -1)


def measure_grid(
    group: Group, sizes: Sequence[int], lengths: Sequence[int], advance: Callable[[int], object]
) -> dict[str, list[dict[str, Any]]]:
    """Latency where all rows have the same number of tokens: for each model one entry a cell, its samples included."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in group.workers}
    for batch in sizes:
        for length in lengths:
            for name, times in _cell(group, batch, length).items():
                figures = percentiles(times)
                figures["rows_per_second"] = round(1000 * batch / figures["mean_ms"], 2)
                found[name].append({"batch": batch, "length": length, **figures, "samples_ms": _rounded(times)})
            advance(1)
    return found


def measure_texts(group: Group, rows: Sequence[int], advance: Callable[[int], object]) -> dict[str, dict[str, Any]]:
    """One row at a time from text to outputs: milliseconds of the tokenizer, and of it and the model together."""
    found: dict[str, dict[str, list[float]]] = {n: {"tokenise": [], "together": []} for n in group.workers}
    for turn, row in enumerate(rows):
        for name, worker, _ in group.in_turn(turn):
            answer = worker.ask({"measure": "text", "row": int(row)})
            for part, times in found[name].items():
                times.append(answer[f"{part}_ms"])
        advance(1)
    return {
        name: {part: {**percentiles(times), "samples_ms": _rounded(times)} for part, times in parts.items()}
        for name, parts in found.items()
    }


def _cell(group: Group, batch: int, length: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in group.workers}
    for _, worker, _ in group.in_turn(0):
        worker.ask({"measure": "warm up", "size": [batch, length]})
    ends = time.monotonic() + _CELL_SECONDS * len(times)
    for turn in range(_CELL_RUNS):
        for name, worker, _ in group.in_turn(turn):
            times[name].append(worker.ask({"measure": "run", "size": [batch, length]})["ms"])
        if turn + 1 >= _CELL_FEWEST and time.monotonic() > ends:
            break
    return times


def _examples(setup: Setup, rows: Sequence[int]) -> list[int]:
    return setup.examples_of([int(row) for row in rows])


def _rounded(times: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in times]

"""Latencies of all models, taken run by run in turn: real rows, a grid of sizes, and texts with their tokenisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.measure.machine import stolen_seconds
from bench.measure.noise import share_of_other_work, too_noisy
from bench.measure.protocol import (
    RowsBatch,
    RunAnswer,
    RunRequest,
    SizeBatch,
    TextAnswer,
    TextRequest,
    TimingWarmUpRequest,
)
from bench.measure.statistics import percentiles
from bench.measure.workers import Worker
from compress.console import say
from compress.reports.bench import CellTimes, RowTimes, Texts, TextTimes, TimingWarmUp

_CELL_RUNS, _CELL_FEWEST, _CELL_SECONDS = 30, 5, 1.0
_REPEATED_ROUNDS = _REPEATED_CELLS = 3


@dataclass
class Samples:
    """What was measured of one model at one batch size.

    ``milliseconds`` has one value a batch and round, rounds one after the other and batches in the order of the rows,
    so that values of two models at the same place are of the same rows at nearly the same time.
    """

    timing_warm_up: TimingWarmUp | None = None
    milliseconds: list[float] = field(default_factory=list)
    waited_milliseconds: float = 0.0
    first_token_milliseconds: list[float] = field(default_factory=list)
    tokens: int = 0

    def add(self, answers: Sequence[RunAnswer]) -> None:
        """Keep what was measured in one more round."""
        self.milliseconds += [answer.ms for answer in answers]
        self.waited_milliseconds += sum(answer.waited_ms for answer in answers)
        firsts = (answer.first_token_ms for answer in answers)
        self.first_token_milliseconds += [first for first in firsts if first is not None]
        self.tokens += sum(answer.tokens for answer in answers)


@dataclass(frozen=True)
class Group:
    """The workers that are measured beside one another, and the processors that they are kept on."""

    workers: Mapping[str, Worker]
    cpus: Sequence[int]

    def in_turn(self, turn: int) -> Iterator[tuple[str, Worker]]:
        """All of them, each time from another one on."""
        names = list(self.workers)
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            yield name, self.workers[name]

    def without(self, name: str) -> Group:
        """The others."""
        return replace(self, workers={other: worker for other, worker in self.workers.items() if other != name})


def batches_of(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Rows, so many at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class LatencyMeasurement:
    """Latency on real rows: each batch is run by every model, one right after the other, before the next batch.

    :param rows: Numbers of test rows.
    :param sizes: Rows a batch.
    """

    def __init__(self, group: Group, rows: Sequence[int], sizes: Sequence[int], seed: int):
        self._group, self._seed = group, seed
        self.rows, self.rounds = rows, 0
        self._repeats_left, self._stolen_milliseconds = _REPEATED_ROUNDS, 0.0
        self.batches = {size: batches_of(rows, size) for size in sizes}
        self.samples = {name: {size: Samples() for size in sizes} for name in group.workers}

    def timing_warm_up(self) -> None:
        """Let every model run until its times are stable, once for each batch size."""
        for size, batches in self.batches.items():
            for name, worker in self._group.in_turn(0):
                found = worker.ask(TimingWarmUpRequest(_batch(worker, batches[0])))
                self.samples[name][size].timing_warm_up = TimingWarmUp(runs=found.runs, stable=found.stable)

    def add_round(self, advance: Callable[[int], object] = lambda batches: None) -> None:
        """Measure all batches once more, in an order of this round's own.

        A round in which other work had the processor for too long is measured again, three times a measurement at most.

        :param advance: Told the number of batches that were run.
        """
        found, stolen = self._measured_round(advance)
        while self._repeats_left and (reason := too_noisy(_waited(_by_batch_size(found)))):
            self._repeats_left -= 1
            say(f"bench: {reason}: the round is measured again")
            found, stolen = self._measured_round(lambda batches: None)
        self.rounds += 1
        self._stolen_milliseconds += 1000 * stolen
        for (name, size), answers in found.items():
            self.samples[name][size].add(answers)

    def _measured_round(self, advance: Callable[[int], object]) -> tuple[dict[tuple[str, int], list[RunAnswer]], float]:
        """What each model answers for the batches of each size, in the order of the rows; and how many seconds other
        guests of the host had its processors meanwhile."""
        generator = np.random.default_rng((self._seed, self.rounds))
        stolen = stolen_seconds(self._group.cpus)
        answers: dict[tuple[str, int], list[RunAnswer]] = {}
        for size, batches in self.batches.items():
            found: dict[str, dict[int, RunAnswer]] = {name: {} for name in self._group.workers}
            for turn, number in enumerate(generator.permutation(len(batches)).tolist()):
                for name, worker in self._group.in_turn(turn):
                    found[name][number] = worker.ask(RunRequest(_batch(worker, batches[number])))
                advance(1)
            for name, by_number in found.items():
                answers[name, size] = [by_number[number] for number in range(len(batches))]
        return answers, stolen_seconds(self._group.cpus) - stolen

    def disturbed(self, name: str, size: int) -> float:
        """The share of a model's time at a batch size that went to other work: of this machine, which it waited for,
        and of other guests of its host, which is told of all models together."""
        own = self.samples[name][size]
        every = sum(sum(samples.milliseconds) for sizes in self.samples.values() for samples in sizes.values())
        stolen = self._stolen_milliseconds
        return share_of_other_work(own.waited_milliseconds, sum(own.milliseconds), stolen, every)

    def figures(self, name: str) -> dict[str, RowTimes]:
        """Percentiles and throughput of a model for each batch size."""
        return {str(size): self._figures(name, size) for size in self.batches}

    def _figures(self, name: str, size: int) -> RowTimes:
        samples = self.samples[name][size]
        seconds = sum(samples.milliseconds) / 1000
        writes = samples.tokens > 0
        return RowTimes(
            **dict(percentiles(samples.milliseconds)),
            rows_per_second=len(self.rows) * self.rounds / seconds,
            disturbed=round(self.disturbed(name, size), 4),
            tokens_per_second=round(samples.tokens / seconds, 1) if writes else None,
            first_token_p50_ms=round(float(np.median(samples.first_token_milliseconds)), 4) if writes else None,
        )

    def milliseconds_of(self, name: str, size: int = 1) -> NDArray[np.float64]:
        """Milliseconds at a batch size, float (rounds, batches)."""
        return np.array(self.samples[name][size].milliseconds).reshape(self.rounds, -1)


def measure_grid(
    group: Group, cells: Sequence[SizeBatch], advance: Callable[[int], object]
) -> dict[str, list[CellTimes]]:
    """Latency where all rows have the same number of tokens: for each model one entry a cell.

    A cell in which other work had the processor for too long is measured again, three times a grid at most.

    :param advance: Told the number of cells that were measured.
    """
    found: dict[str, list[CellTimes]] = {name: [] for name in group.workers}
    repeats_left = _REPEATED_CELLS
    for cell in cells:
        answers, stolen = _cell(group, cell)
        while repeats_left and (reason := too_noisy(_waited(answers))):
            repeats_left -= 1
            say(f"bench: {reason}: batches of {cell.batch} × {cell.length} tokens are measured again")
            answers, stolen = _cell(group, cell)
        every = sum(answer.ms for own in answers.values() for answer in own)
        for name, own in answers.items():
            times = [answer.ms for answer in own]
            figures, waited = percentiles(times), sum(answer.waited_ms for answer in own)
            entry = CellTimes(
                **dict(figures),
                batch=cell.batch,
                length=cell.length,
                rows_per_second=1000 * cell.batch / figures.mean_ms,
                samples_ms=_rounded(times),
                disturbed=round(share_of_other_work(waited, sum(times), 1000 * stolen, every), 4),
            )
            found[name].append(entry)
        advance(1)
    return found


def measure_texts(group: Group, rows: Sequence[int], advance: Callable[[int], object]) -> dict[str, Texts]:
    """One row at a time from text to outputs: the tokenizer alone, and it and the model together.

    :param advance: Told the number of rows that were run.
    """
    found: dict[str, list[TextAnswer]] = {name: [] for name in group.workers}
    stolen = stolen_seconds(group.cpus)
    for turn, row in enumerate(rows):
        for name, worker in group.in_turn(turn):
            found[name].append(worker.ask(TextRequest(int(row))))
        advance(1)
    stolen = stolen_seconds(group.cpus) - stolen
    taken = {name: sum(answer.tokenise_ms + answer.together_ms for answer in own) for name, own in found.items()}
    waited = {name: sum(answer.waited_ms for answer in own) for name, own in found.items()}
    every = sum(taken.values())
    return {
        name: Texts(
            tokenise=_text_times([answer.tokenise_ms for answer in answers]),
            together=_text_times([answer.together_ms for answer in answers]),
            disturbed=round(share_of_other_work(waited[name], taken[name], 1000 * stolen, every), 4),
        )
        for name, answers in found.items()
    }


def _cell(group: Group, size: SizeBatch) -> tuple[dict[str, list[RunAnswer]], float]:
    """What each model answers in turn, and how many seconds other guests of the host had its processors meanwhile."""
    answers: dict[str, list[RunAnswer]] = {name: [] for name in group.workers}
    for _, worker in group.in_turn(0):
        worker.ask(TimingWarmUpRequest(size))
    stolen, ends = stolen_seconds(group.cpus), time.monotonic() + _CELL_SECONDS * len(answers)
    for turn in range(_CELL_RUNS):
        for name, worker in group.in_turn(turn):
            answers[name].append(worker.ask(RunRequest(size)))
        if turn + 1 >= _CELL_FEWEST and time.monotonic() > ends:
            break
    return answers, stolen_seconds(group.cpus) - stolen


def _batch(worker: Worker, rows: Sequence[int]) -> RowsBatch:
    return RowsBatch(worker.setup.examples_of(rows))


def _by_batch_size(found: Mapping[tuple[str, int], Sequence[RunAnswer]]) -> dict[str, Sequence[RunAnswer]]:
    return {f"{name}, batches of {size}": answers for (name, size), answers in found.items()}


def _waited(found: Mapping[str, Sequence[RunAnswer]]) -> dict[str, float]:
    """For each of what is measured, the share of its time in which it waited for a processor."""
    return {
        name: sum(answer.waited_ms for answer in answers) / sum(answer.ms for answer in answers)
        for name, answers in found.items()
    }


def _text_times(milliseconds: list[float]) -> TextTimes:
    return TextTimes(**dict(percentiles(milliseconds)), samples_ms=_rounded(milliseconds))


def _rounded(times: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in times]

"""Latency under an open-loop load: requests arrive when they arrive, whether or not earlier ones have been answered.

Arrivals are a Poisson process that is drawn beforehand, and a request's latency counts from its arrival, so that a
server that falls behind cannot hide it (no coordinated omission). The highest rate at which 99 % of the answers come
within a bound is the server scenario of MLPerf Inference (Reddi et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.measure.machine import stolen_seconds
from bench.measure.noise import TOO_BUSY, share_of_other_work
from bench.measure.protocol import ServeAnswer, ServeRequest
from compress.reports.bench import LoadCurve, LoadPoint

_SHARE_MISSED = 0.01
_FIRST_SHARE, _STEP, _BISECTIONS = 0.25, 1.4, 3
_FEWEST, _MOST = 50, 20_000
_TRIES, _TRIES_BESIDE_OTHER_WORK = 2, 4


class RowsRead(Protocol):
    """What a model's tokenizer made of the rows; `bench.measure.workers.ModelSetup` is one."""

    def examples_of(self, rows: Sequence[int]) -> list[int]:
        """Numbers of the examples of some rows."""

    def tokens_of(self, row: int) -> int:
        """How many tokens the model reads of a row."""


class Served(Protocol):
    """A model that serves requests as they arrive; `bench.measure.workers.Worker` is one."""

    @property
    def setup(self) -> RowsRead:
        """How it reads the rows."""

    def ask(self, request: ServeRequest) -> ServeAnswer:
        """Serve them."""


@dataclass(frozen=True)
class LoadSettings:
    """What a load is.

    ``rows`` are the test rows that requests ask about, in turn. ``bound_ms`` is what 99 % of the answers must come
    within, ``largest_batch`` how many waiting requests a batch may join, ``seconds`` how long a rate is kept up;
    ``cpus`` are the processors that the model is kept on. Requests are joined in their order, or ``by_length``.
    """

    rows: Sequence[int]
    bound_ms: float
    largest_batch: int
    seconds: float
    seed: int
    cpus: Sequence[int]
    by_length: bool = False


def measure_load(worker: Served, capacity: float, settings: LoadSettings) -> LoadCurve:
    """Raise the rate until the bound breaks, then narrow down where.

    :param capacity: Rows a second of the model without any waiting.
    """
    tried: list[LoadPoint] = []

    def holds(rate: float) -> bool:
        # A second try, and more beside other work: a slow spell of the machine must not end the search.
        for attempt in range(_TRIES_BESIDE_OTHER_WORK):
            point = _try_rate(worker, rate, settings, settings.seed + len(tried) + attempt)
            if point.holds or (attempt + 1 >= _TRIES and point.disturbed <= TOO_BUSY):
                break
        tried.append(point)
        return point.holds

    rate, best = _FIRST_SHARE * capacity, 0.0
    # No server is faster than all of its batches full: beyond that only a bound longer than the load itself holds.
    fastest = 2 * capacity * settings.largest_batch
    while rate < fastest and holds(rate):
        best, rate = rate, rate * _STEP
    for _ in range(_BISECTIONS if rate < fastest else 0):
        middle = (best * rate) ** 0.5 if best else rate / 2
        if holds(middle):
            best = middle
        else:
            rate = middle
    return LoadCurve(
        largest_batch=settings.largest_batch,
        by_length=settings.by_length,
        bound_ms=round(settings.bound_ms, 3),
        highest_rate=best or None,
        rates=sorted(tried, key=lambda point: point.rate),
    )


def _try_rate(worker: Served, rate: float, settings: LoadSettings, seed: int) -> LoadPoint:
    count = int(min(max(_FEWEST, rate * settings.seconds), _MOST))
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    allowed = int(_SHARE_MISSED * count)
    rows = [int(settings.rows[number % len(settings.rows)]) for number in range(count)]
    stolen = stolen_seconds(settings.cpus)
    found = worker.ask(
        ServeRequest(
            arrivals=np.cumsum(gaps).tolist(),
            examples=[worker.setup.examples_of([row]) for row in rows],
            largest_batch=settings.largest_batch,
            bound_ms=settings.bound_ms,
            allowed=allowed,
            lengths=[worker.setup.tokens_of(row) for row in rows] if settings.by_length else None,
        )
    )
    stolen = stolen_seconds(settings.cpus) - stolen
    latencies = np.array(found.latencies_ms)
    p50, p90, p99 = np.percentile(latencies, [50, 90, 99])
    late = int((latencies > settings.bound_ms).sum())
    return LoadPoint(
        rate=rate,
        requests=count,
        answered=len(latencies),
        p50_ms=round(float(p50), 4),
        p90_ms=round(float(p90), 4),
        p99_ms=round(float(p99), 4),
        late=late,
        mean_batch=round(float(np.mean(found.batches)), 2),
        holds=late <= allowed,
        disturbed=round(share_of_other_work(found.waited_ms, found.worked_ms, 1000 * stolen, found.worked_ms), 4),
    )

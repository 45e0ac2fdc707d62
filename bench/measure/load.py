"""Latency under an open-loop load: requests arrive when they arrive, whether or not earlier ones have been answered.

Arrivals are a Poisson process that is drawn beforehand, and a request's latency counts from its arrival, so that a
server that falls behind cannot hide it (no coordinated omission). The highest rate at which 99 % of the answers come
within a bound is the server scenario of MLPerf Inference (Reddi et al., 2020).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bench.measure.workers import Setup, Worker

_SHARE_MISSED = 0.01
_FIRST_SHARE, _STEP, _BISECTIONS = 0.25, 1.4, 3
_FEWEST, _MOST = 50, 20_000
_SPIN_SECONDS = 2e-4  # sleeping is no more exact than this


@dataclass(frozen=True)
class LoadSettings:
    """The bound in milliseconds, how many waiting requests a batch may join, and seconds of a rate."""

    bound_ms: float
    largest_batch: int
    seconds: float


def serve(answer: Callable[[Sequence[int]], object], request: dict[str, Any]) -> dict[str, Any]:
    """Serve requests as they arrive, one batch after the other; in the measuring process.

    It ends early when more answers are late than the bound allows.

    :param answer: Runs the model on the examples with these numbers.
    :param request: ``arrivals`` (seconds, rising), ``examples`` of each request, ``largest_batch``, ``bound_ms`` and
        ``allowed`` late answers.
    :return: ``latencies_ms`` of the requests that were answered, and ``batches``, their sizes.
    """
    arrivals, examples = request["arrivals"], request["examples"]
    latencies: list[float] = []
    batches: list[int] = []
    late = first = 0
    begin = time.perf_counter()
    while first < len(arrivals) and late <= request["allowed"]:
        now = time.perf_counter() - begin
        if arrivals[first] > now:
            time.sleep(max(0.0, arrivals[first] - now - _SPIN_SECONDS))
            continue
        end = first + 1
        while end < len(arrivals) and end - first < request["largest_batch"] and arrivals[end] <= now:
            end += 1
        answer([number for served in examples[first:end] for number in served])
        done = time.perf_counter() - begin
        found = [1000 * (done - arrival) for arrival in arrivals[first:end]]
        late += sum(latency > request["bound_ms"] for latency in found)
        latencies += found
        batches.append(end - first)
        first = end
    return {"latencies_ms": latencies, "batches": batches}


def measure_load(
    worker: Worker, setup: Setup, rows: Sequence[int], capacity: float, settings: LoadSettings, seed: int
) -> dict[str, Any]:
    """Raise the rate until the bound breaks, then narrow down where.

    :param rows: Test rows that requests ask about, in turn.
    :param capacity: Rows a second of the model without any waiting.
    :return: As `compress.reports.bench.LoadCurve`.
    """
    tried: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        # A second try: one slow spell of the machine must not end the search.
        for attempt in range(2):
            point = _try_rate(worker, setup, rows, rate, settings, seed + len(tried) + attempt)
            if point["holds"]:
                break
        tried.append(point)
        return point["holds"]

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
    return {
        "largest_batch": settings.largest_batch,
        "bound_ms": round(settings.bound_ms, 3),
        "highest_rate": round(best, 2) if best else None,
        "rates": sorted(tried, key=lambda point: point["rate"]),
    }


def _try_rate(
    worker: Worker, setup: Setup, rows: Sequence[int], rate: float, settings: LoadSettings, seed: int
) -> dict[str, Any]:
    count = int(min(max(_FEWEST, rate * settings.seconds), _MOST))
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    allowed = int(_SHARE_MISSED * count)
    found = worker.ask(
        {
            "measure": "serve",
            "arrivals": np.cumsum(gaps).tolist(),
            "examples": [setup.examples_of([rows[number % len(rows)]]) for number in range(count)],
            "largest_batch": settings.largest_batch,
            "bound_ms": settings.bound_ms,
            "allowed": allowed,
        }
    )
    latencies = np.array(found["latencies_ms"])
    p50, p90, p99 = np.percentile(latencies, [50, 90, 99])
    return {
        "rate": round(rate, 2),
        "requests": count,
        "answered": len(latencies),
        "p50_ms": round(float(p50), 4),
        "p90_ms": round(float(p90), 4),
        "p99_ms": round(float(p99), 4),
        "late": int((latencies > settings.bound_ms).sum()),
        "mean_batch": round(float(np.mean(found["batches"])), 2),
        "holds": bool((latencies > settings.bound_ms).sum() <= allowed),
    }

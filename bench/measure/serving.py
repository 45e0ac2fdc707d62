"""Requests that are served as they arrive, in the measuring process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.measure.protocol import ServeAnswer, ServeRequest
from compress.data.batches import joined_with_first
from compress.timing import waited_nanoseconds

_SPIN_SECONDS = 5e-4  # sleeping, and looking for how long it waited, are no more exact than this


def serve(answer: Callable[[Sequence[int]], object], request: ServeRequest) -> ServeAnswer:
    """Serve requests one batch after the other; it ends early when more answers are late than the bound allows.

    :param answer: Runs the model on the examples with these numbers.
    """
    arrivals, examples = request.arrivals, request.examples
    latencies: list[float] = []
    batches: list[int] = []
    there: list[int] = []
    late = coming = idle = 0
    worked, waited = 0.0, waited_nanoseconds()
    begin = time.perf_counter()
    while len(latencies) < len(arrivals) and late <= request.allowed:
        now = time.perf_counter() - begin
        while coming < len(arrivals) and arrivals[coming] <= now:
            there.append(coming)
            coming += 1
        if not there:
            idle += _slept(begin, arrivals[coming], now)
            continue
        batch = _next_batch(request, there)
        there = [number for number in there if number not in batch]
        answer([example for number in batch for example in examples[number]])
        done = time.perf_counter() - begin
        worked += done - now
        found = [1000 * (done - arrivals[number]) for number in batch]
        late += sum(latency > request.bound_ms for latency in found)
        latencies += found
        batches.append(len(batch))
    return ServeAnswer(latencies, batches, 1000 * worked, max(0, waited_nanoseconds() - waited - idle) / 1e6)


def _slept(begin: float, until: float, now: float) -> int:
    """Sleep until shortly before a request comes; nanoseconds of that in which this process waited for a processor
    while nobody was there to be delayed.

    :param begin: When serving began, by the clock.
    :param until: Seconds from there to the request.
    """
    if (pause := until - now - _SPIN_SECONDS) <= 0:
        return 0
    before = waited_nanoseconds()
    time.sleep(pause)
    overslept = time.perf_counter() - begin - until
    return max(0, waited_nanoseconds() - before - round(1e9 * max(0.0, overslept)))


def _next_batch(request: ServeRequest, there: Sequence[int]) -> list[int]:
    """Which of the requests that are there are answered next; the one that came first is among them."""
    if request.lengths is None:
        return list(there[: request.largest_batch])
    lengths = [request.lengths[number] for number in there]
    return [there[place] for place in joined_with_first(lengths, request.largest_batch)]

"""Requests that are served as they arrive, in the measuring process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.measure.protocol import ServeAnswer, ServeRequest
from compress.timing import waited_nanoseconds

_SPIN_SECONDS = 5e-4  # sleeping, and looking for how long it waited, are no more exact than this


def serve(answer: Callable[[Sequence[int]], object], request: ServeRequest) -> ServeAnswer:
    """Serve requests one batch after the other; it ends early when more answers are late than the bound allows.

    :param answer: Runs the model on the examples with these numbers.
    """
    arrivals, examples = request.arrivals, request.examples
    latencies: list[float] = []
    batches: list[int] = []
    late = first = idle = 0
    worked, waited = 0.0, waited_nanoseconds()
    begin = time.perf_counter()
    while first < len(arrivals) and late <= request.allowed:
        now = time.perf_counter() - begin
        if (pause := arrivals[first] - now - _SPIN_SECONDS) > 0:
            before = waited_nanoseconds()
            time.sleep(pause)
            overslept = time.perf_counter() - begin - arrivals[first]
            # Waiting delays nobody before the request is there.
            idle += max(0, waited_nanoseconds() - before - round(1e9 * max(0.0, overslept)))
        if arrivals[first] > now:
            continue
        end = first + 1
        while end < len(arrivals) and end - first < request.largest_batch and arrivals[end] <= now:
            end += 1
        answer([number for served in examples[first:end] for number in served])
        done = time.perf_counter() - begin
        worked += done - now
        found = [1000 * (done - arrival) for arrival in arrivals[first:end]]
        late += sum(latency > request.bound_ms for latency in found)
        latencies += found
        batches.append(end - first)
        first = end
    return ServeAnswer(latencies, batches, 1000 * worked, max(0, waited_nanoseconds() - waited - idle) / 1e6)

"""How long a call takes, and for how much of that time it stood waiting because other work had the processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from compress.control_groups import quota_stops, usable_by_affinity

_THREADS = "/proc/self/task"
_DISTURBED = 0.02
_ATTEMPTS = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds by the clock, and those of them in which a thread stood in the queue for a processor."""

    milliseconds: float
    waited: float

    @property
    def is_disturbed(self) -> bool:
        """Whether more than 2 % of the time went by waiting."""
        return self.waited > _DISTURBED * self.milliseconds


def knows_waiting() -> bool:
    """Whether this system tells how long threads wait for a processor, as Linux does."""
    return Path("/proc/self/schedstat").exists()


def timed(run: Callable[[], object]) -> Timing:
    """Time one call."""
    before, started = waited_nanoseconds(), time.perf_counter_ns()
    run()
    ended = time.perf_counter_ns()
    return Timing((ended - started) / 1e6, max(0, waited_nanoseconds() - before) / 1e6)


def timed_in_peace(run: Callable[[], object]) -> Timing:
    """Time a call that other work does not disturb: one that was is made again, at most three times in all.

    Of several the one that waited least is told. Without that long calls would seem longer than they are beside short
    ones, which rarely lose the processor in their midst.
    """
    best = timed(run)
    for _ in range(_ATTEMPTS - 1):
        if not best.is_disturbed:
            break
        best = min(best, timed(run), key=lambda timing: timing.waited / timing.milliseconds)
    return best


def waited_nanoseconds() -> int:
    """Nanoseconds that the threads of this process have waited in the scheduler's queues so far; 0 where untold.

    The second number of ``schedstat`` (Linux, Documentation/scheduler/sched-stats.rst). It also counts the time for
    which a quota stops threads that have used it up: that is no other work, so where one can, nothing is told.
    """
    total = 0
    if quota_stops(usable_by_affinity()):
        return total
    with suppress(FileNotFoundError):
        for thread in os.listdir(_THREADS):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                total += int(Path(_THREADS, thread, "schedstat").read_bytes().split()[1])
    return total


def rate(count: float) -> str:
    """So many a second, for people: whole, or three digits where it is less than a hundred."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"

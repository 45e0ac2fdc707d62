"""When a model is timed: after a warm-up that lasts until times are stable, with garbage collection off."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np

from bench.measure.protocol import TimingWarmUpAnswer
from compress.timing import timed

_WINDOW, _TOLERANCE = 5, 0.05
_MOST_RUNS, _MOST_SECONDS = 200, 3.0
SHORT_MS = 20.0
"""A run that takes less than this is repeated untimed just before it is timed: in between other models were run, which
leave nothing of it in the processor's caches."""


def timing_warm_up(run: Callable[[], object]) -> TimingWarmUpAnswer:
    """Run until the median of five runs is within 5 % of that of the five before, at most 200 runs or three seconds."""
    times: list[float] = []
    ends = time.monotonic() + _MOST_SECONDS
    while len(times) < _MOST_RUNS and (len(times) < 2 or time.monotonic() < ends):
        times.append(timed(run).milliseconds)
        if len(times) >= 2 * _WINDOW and len(times) % _WINDOW == 0:
            before, now = np.median(times[-2 * _WINDOW : -_WINDOW]), np.median(times[-_WINDOW:])
            if abs(now - before) <= _TOLERANCE * before:
                return TimingWarmUpAnswer(len(times), True)
    return TimingWarmUpAnswer(len(times), False)


def collect_and_keep_off() -> None:
    """Collect garbage once, and no more: what is there by now stays."""
    gc.collect()
    gc.freeze()
    gc.disable()

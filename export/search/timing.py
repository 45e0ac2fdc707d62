"""Timing two models in turn, so that what else happens on the machine happens to both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from compress.data.encode import pad
from compress.runtimes.contract import Predict
from compress.tasks.contract import Example
from compress.timing import Timing, timed

_TIMED_EXAMPLES = 64
_TIMED_ROUNDS = 20
_TIMED_SECONDS, _PATIENT_SECONDS = 4.0, 20.0


@dataclass(frozen=True)
class FormTimes:
    """Median milliseconds of one example, how many times faster than the reference, and whether too little of that was
    measured while no other work had the processor."""

    milliseconds: float
    faster: float
    noisy: bool


def timed_in_turn(predict: Predict, reference: Predict, examples: Sequence[Example], pad_id: int) -> FormTimes:
    """Time one example after the other by both models, one right after the other.

    Pairs in which other work had the processor do not count; where that leaves too few it goes on for longer.
    """
    feeds = [pad([example], pad_id) for example in examples[:_TIMED_EXAMPLES]]
    quiet: list[tuple[float, float]] = []
    disturbed: list[tuple[float, float]] = []
    began = time.monotonic()
    for turn in range(_TIMED_ROUNDS * len(feeds)):
        own, other = _timed_pair(predict, reference, feeds[turn % len(feeds)], turn // len(feeds))
        kept = disturbed if own.is_disturbed or other.is_disturbed else quiet
        kept.append((own.milliseconds, other.milliseconds))
        limit = _TIMED_SECONDS if len(quiet) >= len(feeds) else _PATIENT_SECONDS
        if time.monotonic() - began > limit:
            break
    noisy = len(quiet) < len(feeds)
    # The first round warms up, unless there is not much more.
    owns, references = np.array(disturbed if noisy else quiet[len(feeds) :] or quiet).T
    return FormTimes(float(np.median(owns)), float(np.median(references / owns)), noisy)


def _timed_pair(predict: Predict, reference: Predict, feed: dict[str, np.ndarray], turn: int) -> tuple[Timing, Timing]:
    """Time both, each after an untimed run that brings it into the processor's caches; in odd turns the other first."""
    found = {}
    for name, model in ((0, predict), (1, reference)) if turn % 2 == 0 else ((1, reference), (0, predict)):
        model(feed)
        found[name] = timed(partial(model, feed))
    return found[0], found[1]

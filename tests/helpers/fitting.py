"""A whole fit in seconds: two depths and one width, and times that other work on the machine does not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from bench.fit.bounds import FitBounds
from bench.fit.forms import FormMaker
from bench.fit.report import FitReport
from bench.fit.stage import run_fit_stage
from compress.runs.directory import Run
from export.onnx.graphs import graph_bytes
from export.search.timing import FormTimes

ALL_ALLOWED = FitBounds(latency_ms=1000, size_bytes=10**9)


@contextmanager
def steady_times() -> Iterator[None]:
    """Forms are timed, but taken to need a millisecond for each megabyte."""

    def times(*arguments: Any) -> FormTimes:
        return replace(real(*arguments), milliseconds=graph_bytes(arguments[1]) / 1e6, noisy=False)

    real = FormMaker.times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.search.timing._TIMED_ROUNDS", 2)
        patch.setattr(FormMaker, "times", times)
        yield


def fitted_in_seconds(run: Run) -> FitReport:
    """The student that loses least, among few that are all trained."""
    with pytest.MonkeyPatch.context() as patch, steady_times():
        patch.setattr("bench.fit.candidates._DEPTHS", (2,))
        patch.setattr("bench.fit.candidates._WIDTHS", (1,))
        patch.setattr("bench.fit.candidates._FEED_FORWARDS", (1,))
        return run_fit_stage(run, ALL_ALLOWED, 2)

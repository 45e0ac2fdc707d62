"""What is measured of a run, as its recipe and the command tell."""

from __future__ import annotations

from dataclasses import replace

from bench.measure.protocol import SizeBatch
from compress.runs.directory import Run

_LOAD = "bench.load.enabled"


def grid_lengths(run: Run) -> list[int]:
    """The lengths of the grid in tokens: the recipe's, or a quarter of the longest and the longest."""
    longest = run.recipe.data.max_length
    return run.recipe.bench.lengths or sorted({max(1, longest // 4), longest})


def largest_batch(run: Run) -> SizeBatch:
    """What the peak of memory is measured with: the most rows of the greatest length."""
    return SizeBatch(max(run.recipe.bench.batch_sizes), max(grid_lengths(run)))


def with_load(run: Run) -> Run:
    """The run, measured under load for this command, whatever its recipe says."""
    if run.recipe.bench.load.enabled:
        return run
    load = run.recipe.bench.load.model_copy(update={"enabled": True})
    bench = run.recipe.bench.model_copy(update={"load": load})
    return replace(run, recipe=run.recipe.model_copy(update={"bench": bench}), overrides={**run.overrides, _LOAD: True})

"""What is measured of a run, as its recipe and the command tell."""

from __future__ import annotations

from dataclasses import replace

from bench.measure.protocol import SizeBatch
from compress.runs.directory import Run

_LOAD = "bench.load.enabled"
_MOST_TOKENS = 32_768  # of a batch: scores of attention grow with the square of the length


def grid_lengths(run: Run) -> list[int]:
    """The lengths of the grid in tokens: the recipe's, or a quarter of the longest and the longest."""
    longest = run.recipe.data.max_length
    return run.recipe.bench.lengths or sorted({max(1, longest // 4), longest})


def grid_cells(run: Run) -> list[SizeBatch]:
    """The batches of the grid that are measured: of few enough tokens to fit into memory, or of a single row."""
    return [cell for cell in _cells(run) if _fits(cell)]


def cells_left_out(run: Run) -> list[SizeBatch]:
    """The others."""
    return [cell for cell in _cells(run) if not _fits(cell)]


def largest_batch(run: Run) -> SizeBatch:
    """What the peak of memory is measured with: the cell with the most tokens, or one of the longest rows."""
    alone = SizeBatch(1, max(grid_lengths(run)))
    return max(grid_cells(run), key=lambda cell: cell.batch * cell.length, default=alone)


def _cells(run: Run) -> list[SizeBatch]:
    return [SizeBatch(batch, length) for batch in run.recipe.bench.batch_sizes for length in grid_lengths(run)]


def _fits(cell: SizeBatch) -> bool:
    return cell.batch == 1 or cell.batch * cell.length <= _MOST_TOKENS


def with_load(run: Run) -> Run:
    """The run, measured under load for this command, whatever its recipe says."""
    if run.recipe.bench.load.enabled:
        return run
    load = run.recipe.bench.load.model_copy(update={"enabled": True})
    bench = run.recipe.bench.model_copy(update={"load": load})
    return replace(run, recipe=run.recipe.model_copy(update={"bench": bench}), overrides={**run.overrides, _LOAD: True})

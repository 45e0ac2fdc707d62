"""Which batches are measured."""

from pathlib import Path

from bench.measure.protocol import SizeBatch
from bench.measure.settings import cells_left_out, grid_cells, largest_batch
from compress.recipe.recipe import Recipe
from compress.runs.directory import Run


def run_of(max_length: int, batch_sizes: tuple[int, ...] = (1, 8), shortest: int = 128) -> Run:
    lengths = sorted({shortest, max_length})
    recipe = Recipe(data={"max_length": max_length}, bench={"batch_sizes": list(batch_sizes), "lengths": lengths})
    return Run(Path("run"), recipe)


def test_batches_that_memory_may_not_hold_are_left_out():
    assert cells_left_out(run_of(8192)) == [SizeBatch(8, 8192)]
    assert grid_cells(run_of(8192)) == [SizeBatch(1, 128), SizeBatch(1, 8192), SizeBatch(8, 128)]
    assert largest_batch(run_of(8192)) == SizeBatch(1, 8192)


def test_usual_lengths_are_all_measured():
    assert cells_left_out(run_of(512)) == []
    assert largest_batch(run_of(512)) == SizeBatch(8, 512)


def test_where_no_batch_fits_the_peak_is_that_of_one_row():
    run = run_of(8192, batch_sizes=(8,), shortest=8192)
    assert grid_cells(run) == []
    assert largest_batch(run) == SizeBatch(1, 8192)

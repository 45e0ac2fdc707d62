"""All measurements of all models: latency on rows, a grid, texts, and load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.measure.latency import Group, LatencyMeasurement, measure_grid, measure_texts
from bench.measure.load import LoadSettings, measure_load
from bench.measure.reference import REFERENCE
from bench.measure.settings import grid_cells, grid_lengths
from bench.measure.workers import Starts
from compress.console import progress, say
from compress.reports.bench import CellTimes, LoadCurve, Texts
from compress.runs.directory import Run
from compress.student.summary import original_name
from compress.timing import rate

_TEXT_ROWS = 100
_BOUND = 5  # times the teacher's median


@dataclass(frozen=True)
class Measured:
    """What was measured of all models, by their names."""

    starts: Mapping[str, Starts]
    times: LatencyMeasurement
    grid: Mapping[str, list[CellTimes]]
    texts: Mapping[str, Texts]
    load: Mapping[str, list[LoadCurve]]


def measure_all(run: Run, chosen: Sequence[int], group: Group, starts: Mapping[str, Starts]) -> Measured:
    """Measure the models of a group one beside the other, the reference workload among them.

    :param chosen: Numbers of the test rows that latency is measured on.
    :param starts: What was seen when they were started.
    """
    settings, models = run.recipe.bench, group.without(REFERENCE)
    times = LatencyMeasurement(group, chosen, settings.batch_sizes, run.recipe.seed)
    cells, some = grid_cells(run), chosen[:_TEXT_ROWS]
    runs = settings.rounds * sum(len(batches) for batches in times.batches.values())
    with progress() as bar:
        task = bar.add_task("measuring", total=runs + len(cells) + len(some))

        def advance(steps: int) -> None:
            bar.advance(task, steps)

        say(f"bench: {len(chosen)} rows in batches of {_listed(settings.batch_sizes)}, {settings.rounds} rounds")
        times.timing_warm_up()
        for _ in range(settings.rounds):
            times.add_round(advance)
        say(f"bench: batches of {_listed(settings.batch_sizes)} rows with {_listed(grid_lengths(run))} tokens")
        grid = measure_grid(models, cells, advance)
        say("bench: from text to outputs")
        texts = measure_texts(models, some, advance)
    return Measured(starts, times, grid, texts, _loads(run, models, times))


def _loads(run: Run, models: Group, times: LatencyMeasurement) -> dict[str, list[LoadCurve]]:
    load = run.recipe.bench.load
    found: dict[str, list[LoadCurve]] = {name: [] for name in models.workers}
    if not load.enabled:
        return found
    samples = times.samples[original_name(run)]
    size = min(samples)
    bound = load.bound_ms or _BOUND * float(np.median(samples[size].milliseconds)) / size
    for name, worker in models.workers.items():
        capacity = times.figures(name)[str(size)].rows_per_second
        for largest, by_length in sorted(
            {(1, False), (load.largest_batch, False), (load.largest_batch, load.largest_batch > 1)}
        ):
            settings = LoadSettings(times.rows, bound, largest, load.seconds, run.recipe.seed, models.cpus, by_length)
            curve = measure_load(worker, capacity, settings)
            found[name].append(curve)
            highest = f"{rate(curve.highest_rate)} rows/s" if curve.highest_rate else "no rate that was tried"
            batches = f"batches of up to {largest}{' of like length' if by_length else ''}"
            batches = batches if largest > 1 else "one row at a time"
            say(f"bench: {name} under load, {batches}: {highest} with 99 % of the answers within {bound:.1f} ms")
    return found


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))

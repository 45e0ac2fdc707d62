"""The latencies of a bench report in the JSON of pytest-benchmark, so that `pytest-benchmark compare` reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from compress.reports.bench import Report
from compress.runs.files import atomic_file


def write_pytest_json(report: Report, path: Path) -> None:
    """Write one benchmark for each model and batch size, and each cell of the grid; seconds, raw samples included."""
    from pytest_benchmark import __version__, plugin, utils

    about: Any = plugin
    commit: Any = utils
    content = {
        "machine_info": about.pytest_benchmark_generate_machine_info(),
        "commit_info": commit.get_commit_info(),
        "benchmarks": _benchmarks(report),
        "datetime": report.made,
        "version": __version__,
    }
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content) + "\n", "utf-8")


def _benchmarks(report: Report) -> list[JsonValue]:
    found: list[JsonValue] = []
    for name, model in report.models.items():
        for size in model.latency:
            samples = report.samples_ms[name][size]
            found.append(_benchmark("rows", f"rows, batch {size}", {"model": name, "batch": int(size)}, samples))
        for cell in model.grid:
            params: dict[str, str | int] = {"model": name, "batch": cell.batch, "length": cell.length}
            group = f"grid, batch × length {cell.batch} × {cell.length}"
            found.append(_benchmark("grid", group, params, cell.samples_ms))
    return found


def _benchmark(
    kind: str, group: str, params: dict[str, str | int], milliseconds: Sequence[float]
) -> dict[str, JsonValue]:
    from pytest_benchmark import stats as pytest_stats

    stats: Any = pytest_stats
    found = stats.Stats()
    for value in milliseconds:
        found.update(value / 1000)
    told = "-".join(f"{name}{value}" if name != "model" else str(value) for name, value in params.items())
    return {
        "group": group,
        "name": f"test_{kind}[{told}]",
        "fullname": f"compress bench::test_{kind}[{told}]",
        "params": dict(params),
        "param": told,
        "extra_info": {},
        "options": {"disable_gc": True, "timer": "perf_counter_ns", "warmup": True},
        "stats": {**found.as_dict(), "data": found.data, "iterations": 1},
    }

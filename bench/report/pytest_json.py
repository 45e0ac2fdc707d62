"""The latencies of a bench report in the JSON of pytest-benchmark, so that `pytest-benchmark compare` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.reports.bench import Report


def write_pytest_json(report: Report, path: Path) -> None:
    """Write one benchmark for each model and batch size, and each cell of the grid; seconds, raw samples included.

    :raises CompressError: If pytest-benchmark, which computes the statistics, is not installed.
    """
    try:
        from pytest_benchmark import __version__
        from pytest_benchmark.plugin import pytest_benchmark_generate_machine_info
        from pytest_benchmark.utils import get_commit_info
    except ImportError:
        raise CompressError("--pytest-json: pytest-benchmark is not installed; install the extra `bench`") from None
    benchmarks = []
    for name, model in report.models.items():
        for size in model.latency:
            params = {"model": name, "batch": int(size)}
            benchmarks.append(_benchmark("rows", params, report.samples_ms[name][size]))
        for cell in model.grid:
            params = {"model": name, "batch": cell.batch, "length": cell.length}
            benchmarks.append(_benchmark("grid", params, cell.samples_ms))
    content = {
        "machine_info": pytest_benchmark_generate_machine_info(),
        "commit_info": get_commit_info(),
        "benchmarks": benchmarks,
        "datetime": report.made,
        "version": __version__,
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content) + "\n", "utf-8")
    partial.replace(path)


def _benchmark(kind: str, params: dict[str, Any], milliseconds: list[float]) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    stats = Stats()
    for value in milliseconds:
        stats.update(value / 1000)
    sizes = [f"{name}{value}" for name, value in params.items() if name != "model"]
    told = "-".join([params["model"], *sizes])
    others = [str(value) for name, value in params.items() if name != "model"]
    return {
        "group": f"{kind}, batch × length {' × '.join(others)}" if kind == "grid" else f"{kind}, batch {others[0]}",
        "name": f"test_{kind}[{told}]",
        "fullname": f"compress bench::test_{kind}[{told}]",
        "params": params,
        "param": told,
        "extra_info": {},
        "options": {"disable_gc": True, "timer": "perf_counter_ns", "warmup": True},
        "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1},
    }

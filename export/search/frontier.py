"""What the search found, to look at: which forms are on the frontier of latency, size and worst-language drop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from compress.console import table
from compress.evaluation.tables import points
from compress.metrics.figures import WorstLoss
from export.search.report import SearchReport, Trial


def frontier_of(trials: Sequence[Trial]) -> list[Trial]:
    """Those trials that no other one beats in latency, size and worst-language drop together."""

    def costs(trial: Trial) -> tuple[float, float, float]:
        return 1 / trial.faster, trial.bytes, trial.search.worst_language_drop.value

    def is_beaten(trial: Trial) -> bool:
        own = costs(trial)
        return any(
            all(a <= b for a, b in zip(costs(other), own, strict=True)) and costs(other) != own for other in trials
        )

    return [trial for trial in trials if not is_beaten(trial)]


def frontier_table(report: SearchReport) -> Table:
    """One row a trial, the fastest first."""
    rows = [
        (
            "→" if trial.chosen else "",
            trial.name,
            f"{trial.p50_ms:.2f}",
            f"{trial.faster:.2f}",
            f"{trial.bytes / 1e6:.2f}",
            *(f"{points(drop)} {drop.language}" for drop in _drops(trial)),
            "yes" if trial.frontier else "",
        )
        for trial in report.trials
    ]
    title = f"Forms by latency (batch 1, {report.target}); budget {report.budget:g} points of {report.metric}"
    headings = ("", "form", "p50 ms", "× fp32", "MB", "worst-language drop", "on other rows", "frontier")
    return table(title, headings, rows, left=2)


def draw(report: SearchReport, path: Path) -> None:
    """A plot of latency against worst-language drop; the area of a point is the size of the model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.collections import PathCollection

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    largest = max(trial.bytes for trial in report.trials)
    for number, trial in enumerate(report.trials, start=1):
        drop = max(_drops(trial), key=lambda drop: drop.value)
        x, y = 100 / trial.faster, 100 * drop.value
        color = "tab:green" if trial.chosen else "tab:blue" if trial.frontier else "tab:gray"
        label = f"{number}  {trial.name}, {trial.bytes / 1e6:.1f} MB" + (" (chosen)" if trial.chosen else "")
        axes.errorbar(x, y, [[y - 100 * drop.low], [100 * drop.high - y]], color=color, alpha=0.3, capsize=3)
        axes.scatter(x, y, s=60 + 600 * trial.bytes / largest, color=color, alpha=0.6, linewidths=0, label=label)
        axes.annotate(str(number), (x, y), ha="center", va="center", fontsize=9, fontweight="bold")
    axes.axhline(report.budget, color="tab:red", linestyle="--", label=f"budget: {report.budget:g} points")
    axes.margins(x=0.1)
    axes.set_xlabel("latency at batch 1, % of 32 bits")
    axes.set_ylabel(f"worst-language drop, points of {report.metric}\n(the larger one of both halves of the rows)")
    axes.set_title("Area: size; green: chosen; blue: on the frontier; bars: 95 %", fontsize=10)
    legend = figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _drops(trial: Trial) -> tuple[WorstLoss, WorstLoss]:
    """On the rows of the search, and on those that confirm."""
    return trial.search.worst_language_drop, trial.confirmation.worst_language_drop

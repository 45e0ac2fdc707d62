"""What a fit found, to look at: a table, sentences, and the frontier of latency, size and worst-language drop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bench.fit.report import FitReport, FitTrial
from compress.console import table
from compress.evaluation.tables import points
from compress.metrics.languages import ALL


def fit_table(report: FitReport) -> Table:
    """One row a candidate that was made, the fastest first."""
    rows = [
        (
            "→" if trial.chosen else "",
            trial.name,
            f"{trial.cost.p50_ms:.2f}{' (noisy)' if trial.cost.noisy else ''}",
            f"{trial.cost.bytes / 1e6:.2f}",
            *_learnt(trial),
            "yes" if trial.frontier else "",
            trial.outcome,
        )
        for trial in _made(report.trials)
    ]
    title = (
        f"Students as {report.form} for {report.target}, latency at batch 1; drop of {report.metric or 'the metric'} "
        f"against the teacher on {report.rows:,} validation rows"
    )
    headings = (
        "",
        "layers × width × feed-forward - tokens",
        "p50 ms",
        "MB",
        "epochs",
        "worst-language drop",
        "all",
        "frontier",
        "",
    )
    return table(title, headings, rows, left=2)


def fit_lines(report: FitReport) -> list[str]:
    """What was chosen and why, whether it holds on other rows, and how to go on."""
    lines = [report.why]
    left = len(report.trials) - len(_made(report.trials))
    if left:
        lines.append(
            f"{left} more shapes were not made: estimates tell that they are beyond the bounds or promise less"
        )
    if found := report.confirmation:
        worst = found.losses.worst_language_drop
        lines.append(
            f"on the test rows, which chose nothing: drop {points(found.losses.drop[ALL])}, worst-language drop "
            f"{points(worst)} in {worst.language}; trained it takes {found.cost.p50_ms:.2f} ms and "
            f"{found.cost.bytes / 1e6:.2f} MB: {'within the bounds' if found.holds else 'not within the bounds'}"
        )
    return lines


def draw_fit(report: FitReport, path: Path) -> None:
    """A plot of latency against worst-language drop; the area of a point is its size, lines are the bounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    largest = max(trial.cost.bytes for trial in report.trials)
    for number, trial in enumerate((one for one in report.trials if one.rungs), start=1):
        worst = trial.rungs[-1].losses.worst_language_drop
        x, y = trial.cost.p50_ms, 100 * worst.value
        color = "tab:green" if trial.chosen else "tab:blue" if trial.frontier else "tab:gray"
        label = f"{number}  {trial.name}, {trial.cost.bytes / 1e6:.1f} MB, {trial.rungs[-1].epochs:g} epochs"
        axes.errorbar(x, y, [[y - 100 * worst.low], [100 * worst.high - y]], color=color, alpha=0.3, capsize=3)
        axes.scatter(x, y, s=60 + 600 * trial.cost.bytes / largest, color=color, alpha=0.6, linewidths=0, label=label)
        axes.annotate(str(number), (x, y), ha="center", va="center", fontsize=9, fontweight="bold")
    if not any(trial.rungs for trial in report.trials):
        for trial in _made(report.trials):
            axes.scatter(trial.cost.p50_ms, trial.cost.bytes / 1e6, color="tab:gray", label=trial.name)
        axes.set_ylabel("MB")
    else:
        axes.set_ylabel(f"worst-language drop, points of {report.metric}")
    if report.bounds.points is not None and any(trial.rungs for trial in report.trials):
        axes.axhline(report.bounds.points, color="tab:red", linestyle="--", label=f"{report.bounds.points:g} points")
    if report.bounds.latency_ms is not None:
        axes.axvline(report.bounds.latency_ms, color="tab:red", linestyle=":", label=f"{report.bounds.latency_ms:g} ms")
    axes.margins(x=0.1)
    axes.set_xlabel(f"latency at batch 1 in milliseconds ({report.form}, {report.target})")
    axes.set_title("Area: size; green: chosen; blue: on the frontier; bars: 95 %", fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _made(trials: Sequence[FitTrial]) -> list[FitTrial]:
    return [trial for trial in trials if not trial.cost.estimated]


def _learnt(trial: FitTrial) -> tuple[str, str, str]:
    if not trial.rungs:
        return "", "", ""
    last = trial.rungs[-1]
    worst = last.losses.worst_language_drop
    return f"{last.epochs:g}", f"{points(worst)} {worst.language}", f"{100 * last.losses.drop[ALL].value:+.1f}"

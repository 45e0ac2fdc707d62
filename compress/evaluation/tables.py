"""What evaluations say, for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from compress.console import table
from compress.evaluation.summary import EvaluationSummary
from compress.metrics.figures import Interval, ModelLosses
from compress.metrics.languages import ALL


def evaluation_table(summary: EvaluationSummary) -> Table:
    """The metrics of each model per language, in percent, and the student's drop in points."""
    models = summary.models
    main, *others = summary.metrics
    told: Mapping[str, str] = summary.seen_in_training
    mixed = len(set(told.values())) > 1
    texts = ["language", "rows", *(["seen in training"] if mixed else [])]
    headings = [*texts, *(heading for model in models for heading in (model, *others)), "drop (points)"]
    rows = []
    for language, drop in summary.student_against_teacher.drop.items():
        cells = [
            language,
            f"{summary.rows[language]:,}",
            *([told.get(language, "")] if mixed else []),
        ]
        for figures in models.values():
            found = figures[language]
            cells += [percent(found[main]), *(f"{100 * found[name].value:.1f}" for name in others)]
        rows.append([*cells, points(drop)])
    title = f"Test {main} % (95 % interval)" + "".join(f", {name} %" for name in others)
    return table(title, headings, rows, left=len(texts), total=ALL)


def label_table(summary: EvaluationSummary) -> Table | None:
    """Recall and F1 of each model by label, in percent, and what the student loses of the recall, the most first; none
    where labels are no closed set."""
    losses = summary.student_against_teacher.labels
    if not losses:
        return None
    rows = []
    for label in sorted(losses, key=lambda name: -losses[name].value):
        found = [figures[label] for figures in summary.labels.values()]
        cells = [f"{percent(figures.recall)}, {100 * figures.f1.value:.1f}" for figures in found]
        rows.append([label, f"{found[0].count:,}", *cells, points(losses[label])])
    title = "Test recall % by label (95 % interval), F1 %"
    return table(title, ["label", "count", *summary.labels, "drop (points)"], rows, left=1)


def percent(figure: Interval) -> str:
    """A share with its interval, for example ``91.2 (90.1–92.3)``."""
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"


def points(figure: Interval) -> str:
    """A difference with its interval, for example ``+0.8 (-0.1…+1.7)``."""
    return f"{100 * figure.value:+.1f} ({100 * figure.low:+.1f}…{100 * figure.high:+.1f})"


def comparison_line(losses: ModelLosses, name: str, reference: str) -> str:
    """One sentence: the drop, the worst language and the agreement."""
    worst = losses.worst_language_drop
    return (
        f"{name} against {reference}: drop {points(losses.drop[ALL])} points, "
        f"worst-language drop {points(worst)} in {worst.language}, "
        f"{100 * losses.agreement:.1f} % of the predictions are the same"
    )

"""What evaluations say, for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from compress.console import table
from compress.evaluation.summary import EvaluationSummary
from compress.metrics.figures import Interval, ModelLosses
from compress.metrics.languages import ALL
from compress.metrics.numbers import figure_text, metric_title
from compress.student.summary import STUDENT

MOST_SHOWN = 20
"""So many languages or labels are read; of more, those that lose most are shown."""


def worst_first(losses: Mapping[str, float], most: int = MOST_SHOWN) -> list[str]:
    """Of many languages or labels those that lose most, the worst ones first; of few all of them in their order.

    :param losses: By language, or label; what all languages together lose is none of theirs.
    """
    names = [name for name in losses if name != ALL]
    return names if len(names) <= most else sorted(names, key=lambda name: -losses[name])[:most]


def extract_note(shown: int, of: int) -> str:
    """What the title of an extract says besides; nothing where all is shown."""
    return f"; the {shown} of {of} that lose most" if shown < of else ""


def shown_tables(summary: EvaluationSummary, *, labelled: bool) -> list[Table]:
    """What people are shown: of a model that is held against its own answers, and so is always right, its index alone.

    :param labelled: Whether the rows have labels, and not what the model says in their place.
    """
    compared = labelled or summary.student_against_teacher is not None
    tables = [evaluation_table(summary), label_table(summary), cell_table(summary)] if compared else []
    return [found for found in (*tables, index_table(summary)) if found is not None]


def evaluation_table(summary: EvaluationSummary) -> Table:
    """The metrics of each model per language, in percent, and the student's drop in points, if there is one."""
    models, losses = summary.models, summary.student_against_teacher
    main, *others = summary.metrics
    told: Mapping[str, str] = summary.seen_in_training
    mixed = len(set(told.values())) > 1
    texts = ["language", "rows", *(["seen in training"] if mixed else [])]
    headings = [*texts, *(heading for model in models for heading in (model, *others))]
    shown = [language for language in summary.rows if language != ALL]
    if losses:
        shown = worst_first({name: losses.drop[name].value if name in losses.drop else 0.0 for name in shown})
        headings.append("drop (points)")
    rows, none = [], [""] * (1 + len(others))
    for language in [*shown, ALL]:
        cells = [
            language,
            f"{summary.rows[language]:,}",
            *([told.get(language, "")] if mixed else []),
        ]
        for figures in models.values():
            found = figures.get(language)  # a file that stands in for the teacher may have no row of it
            further = [figure_text(name, found[name].value) for name in others] if found else []
            cells += [percent(found[main]), *further] if found else none
        rows.append([*cells, *([points(losses.drop[language]) if language in losses.drop else ""] if losses else [])])
    title = f"Test {main} % (95 % interval)" + "".join(f", {metric_title(name)}" for name in others)
    if summary.rows_of_teacher and summary.rows_of_teacher != summary.rows:
        title += f"; teacher and drop: of {summary.rows_of_teacher[ALL]:,} rows"
    title += extract_note(len(shown), len(summary.rows) - 1)
    return table(title, headings, rows, left=len(texts), total=ALL)


def label_table(summary: EvaluationSummary) -> Table | None:
    """Recall and F1 of each model by label, in percent, and what the student loses of the recall; none where labels are
    no closed set, or there is no student."""
    losses = summary.student_against_teacher.labels if summary.student_against_teacher else None
    if not losses:
        return None
    rows = []
    shown = worst_first({label: loss.value for label, loss in losses.items()})
    for label in shown:
        found = [figures[label] for figures in summary.labels.values()]
        cells = [f"{percent(figures.recall)}, {100 * figures.f1.value:.1f}" for figures in found]
        rows.append([label, f"{found[-1].count:,}", *cells, points(losses[label])])
    title = "Test recall % by label (95 % interval), F1 %" + extract_note(len(shown), len(losses))
    return table(title, ["label", "count", *summary.labels, "drop (points)"], rows, left=1)


def cell_table(summary: EvaluationSummary) -> Table | None:
    """The labels in a language of which it is surest that the student loses them; none where labels are no closed set,
    or there is no student."""
    losses = summary.student_against_teacher.cells if summary.student_against_teacher else []
    if not losses:
        return None
    f1 = {(cell.language, cell.label): cell.f1 for cell in summary.cells[STUDENT.name]}
    rows = []
    for loss in losses[:MOST_SHOWN]:
        own = f1[loss.language, loss.label]
        rows.append([loss.language, loss.label, f"{loss.rows:,}", percent(own), points(loss.recall), points(loss.f1)])
    title = "Labels in a language: the student's F1 %, drop in points" + extract_note(len(rows), len(losses))
    return table(title, ["language", "label", "rows", "F1 %", "drop of recall", "drop of F1"], rows, left=2)


def index_table(summary: EvaluationSummary) -> Table | None:
    """What an index loses that keeps vectors in fewer bytes; none where there are no vectors."""
    if not summary.index:
        return None
    main, *_ = summary.metrics
    rows = []
    for name, stored in summary.index.items():
        worst = stored.losses.worst_language_drop
        cells = [percent(stored.quality[ALL][main]), points(stored.losses.drop[ALL])]
        rows.append([name, f"{stored.bytes:,}", *cells, f"{points(worst)} in {worst.language}"])
    title = f"Vectors in an index: test {main} % (95 % interval)"
    return table(title, ["kept as", "bytes", main, "drop (points)", "worst language"], rows)


def percent(figure: Interval) -> str:
    """A share with its interval, for example ``91.2 (90.1–92.3)``."""
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"


def points(figure: Interval) -> str:
    """A difference with its interval, for example ``+0.8 (-0.1…+1.7)``."""
    return f"{100 * figure.value:+.1f} ({100 * figure.low:+.1f}…{100 * figure.high:+.1f})"


def comparison_lines(summary: EvaluationSummary) -> list[str]:
    """A sentence for each comparison that was made."""
    original = next(name for name in ("teacher", "model", "student") if name in summary.models)
    found = {
        ("student", original): summary.student_against_teacher,
        (original, "itself before trimming"): summary.teacher_against_untrimmed,
    }
    return [comparison_line(losses, *names) for names, losses in found.items() if losses is not None]


def comparison_line(losses: ModelLosses, name: str, reference: str) -> str:
    """One sentence: the drop, the worst language and the agreement."""
    worst = losses.worst_language_drop
    return (
        f"{name} against {reference}: drop {points(losses.drop[ALL])} points, "
        f"worst-language drop {points(worst)} in {worst.language}, "
        f"{100 * losses.agreement:.1f} % of the predictions are the same"
    )

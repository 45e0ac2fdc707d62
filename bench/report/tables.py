"""The tables of the bench report, whatever they are drawn with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import JsonValue

from bench.measure.noise import too_noisy
from compress.evaluation.tables import MOST_SHOWN, comparison_line, extract_note, percent, points, worst_first
from compress.metrics.languages import ALL
from compress.metrics.numbers import figure_text, metric_title
from compress.reports.bench import Comparison, ModelReport, Report
from compress.timing import rate

_SURE = 0.05
BROUGHT = "original"
"""What tables call the model that the user brought, where its vocabulary was trimmed."""


@dataclass(frozen=True)
class ReportTable:
    """Cells as they are shown; the first ``left`` columns are text, the others figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


def latency_table(report: Report) -> ReportTable:
    """What batches of test rows take."""
    machine = report.machine
    written = any(times.tokens_per_second for model in report.models.values() for times in model.latency.values())
    extra = ["first token ms", "tokens/s"] if written else []
    rows = []
    for name, model in report.models.items():
        for position, (size, times) in enumerate(model.latency.items()):
            written_cells = [f"{times.first_token_p50_ms:.2f}", rate(times.tokens_per_second or 0)] if written else []
            five = (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.mean_ms)
            cells = [*(f"{value:.2f}" for value in five), rate(times.rows_per_second), *written_cells]
            rows.append(
                [*([name, _runtime(model)] if position == 0 else ["", ""]), size, *cells, _faster(report, model, size)]
            )
    headings = ["model", "runtime", "batch", "p50 ms", "p90", "p95", "p99", "mean", "rows/s", *extra, "× faster"]
    if report.brought:
        rows.insert(0, [BROUGHT, f"times of the {report.original}", *([""] * (len(headings) - 3)), "1.0"])
    title = (
        f"{report.rows.latency} test rows, {report.rounds} rounds, run by run in turn; {machine.processor}, "
        f"{machine.threads} thread{'s' if machine.threads > 1 else ''}, kept on processor "
        f"{', '.join(map(str, machine.cpus))}"
        f"{f', under a quota of {machine.quota:g} processors' if machine.quota else ''}"
    )
    return ReportTable(title, headings, rows, left=2)


def cost_table(report: Report) -> ReportTable:
    """Size, memory and start-up."""
    gpu = any(entry.gpu is not None for model in report.models.values() for entry in model.memory)
    rows = []
    if report.brought:
        size = report.brought.size
        cells = [f"{size.total / 1e6:.2f}", _megabytes(size.embeddings), _megabytes(size.rest), "1.0"]
        rows.append([BROUGHT, report.brought.shape, *cells, *([""] * (4 if gpu else 3))])
    for name, model in report.models.items():
        size = model.size
        rows.append(
            [
                name,
                model.shape,
                f"{size.total / 1e6:.2f}",
                _megabytes(size.embeddings),
                _megabytes(size.rest),
                f"{report.times_smaller(name):.1f}",
                _median_megabytes([entry.needed for entry in model.memory]),
                _median_megabytes([entry.peak for entry in model.memory]),
                *([_megabytes(model.memory[-1].gpu)] if gpu else []),
                f"{np.median(model.start_up_seconds):.2f}",
            ]
        )
    headings = ["model", "shape", "MB", "embeddings", "rest", "× smaller", "needs MB", "peak MB"]
    headings += ["GPU MB", "start s"] if gpu else ["start s"]
    title = (
        f"Size on disk; memory that a run needs and its peak, start-up of fresh processes; median of {report.starts}"
    )
    return ReportTable(title, headings, rows, left=2)


def quality_table(report: Report) -> ReportTable:
    """The main metric by language."""
    rows = []
    for language, figures in _original(report).quality.items():
        main = report.metrics[0]
        cells = [percent(figures[main])]
        for model in _others(report).values():
            loss = model.against[report.original].drop[language]
            mark = "*" if loss.p_adjusted < _SURE else ""
            cells.append(f"{100 * model.quality[language][main].value:.1f} ({100 * loss.value:+.1f}{mark})")
        rows.append([language, *cells])
    title = (
        f"Test {report.metrics[0]} %: the {report.original}'s with its 95 % interval, the others' with their drop in "
        "points"
    )
    return ReportTable(title, ["language", *report.models], rows)


def drop_tables(report: Report) -> Iterator[ReportTable]:
    """Drops by language with intervals, against the models that a run starts from and exports."""
    for reference in report.references:
        compared = {
            name: model.against[reference] for name, model in report.models.items() if reference in model.against
        }
        languages = list(_original(report).quality)
        rows = [[language, *(_loss(found, language) for found in compared.values())] for language in languages]
        title = (
            f"Drop in points of {report.metrics[0]} against the {reference}, with 95 % intervals; "
            "* where none is unlikely (p < 0.05, Holm over the languages)"
        )
        yield ReportTable(title, ["language", *compared], rows)


def worst_languages(report: Report) -> list[str]:
    """Of many languages those that lose most of any model against the one that the run starts from."""
    drops = [model.against[report.original].drop for model in _others(report).values()]
    return worst_first(
        {language: max((drop[language].value for drop in drops), default=0.0) for language in _original(report).quality}
    )


def extract(table: ReportTable, languages: Sequence[str]) -> ReportTable:
    """Of a table with many rows those of some languages, in that order, and of all together; or the first ones."""
    by_name = {row[0]: row for row in table.rows}
    if len(by_name) <= MOST_SHOWN + 1:
        return table
    shown = languages if set(languages) < set(by_name) else list(by_name)[:MOST_SHOWN]
    rows = [by_name[name] for name in [*shown, *([ALL] if ALL in by_name else [])]]
    title = table.title + extract_note(len(shown), len(by_name) - (ALL in by_name))
    return replace(table, title=title, rows=rows)


def label_table(report: Report) -> ReportTable | None:
    """Recall by label; of many labels, the one that loses most of any model comes first."""
    known = _original(report).labels
    if not known:
        return None
    losses = [model.against[report.original].labels for model in _others(report).values()]
    rows = []
    worst = {label: max((loss[label].value for loss in losses), default=0.0) for label in known}
    for label in [*(shown := worst_first(worst)), *(label for label in known if label not in shown)]:
        cells = [f"{known[label].count:,}", percent(known[label].recall), f"{100 * known[label].f1.value:.1f}"]
        for model in _others(report).values():
            loss, figures = model.against[report.original].labels[label], model.labels[label]
            mark = "*" if loss.p_adjusted < _SURE else ""
            cells.append(
                f"{100 * figures.recall.value:.1f} ({100 * loss.value:+.1f}{mark}), {100 * figures.f1.value:.1f}"
            )
        rows.append([label, *cells])
    title = (
        f"Recall % by label: the {report.original}'s with its 95 % interval, the others' with their drop in points; "
        "and F1 %"
    )
    return ReportTable(title, ["label", "count", report.original, "F1", *_others(report)], rows)


def cell_table(report: Report) -> ReportTable | None:
    """The labels in a language of which it is surest that any model loses them; none where labels are no closed set."""
    known = {(cell.language, cell.label): cell for cell in _original(report).cells}
    if not known:
        return None
    losses = {
        name: {(cell.language, cell.label): cell.recall for cell in model.against[report.original].cells}
        for name, model in _others(report).items()
    }
    surest = {place: max((found[place].low for found in losses.values()), default=0.0) for place in known}
    shown = sorted(known, key=lambda place: -surest[place])[:MOST_SHOWN]
    rows = []
    for place in shown:
        cell = known[place]
        recall, f1 = percent(cell.recall), f"{100 * cell.f1.value:.1f}"
        lost = [points(found[place]) + ("*" if found[place].p_adjusted < _SURE else "") for found in losses.values()]
        rows.append([cell.language, cell.label, f"{cell.rows:,}", recall, f1, *lost])
    title = (
        f"Recall % of a label in a language: the {report.original}'s with its 95 % interval, and F1 %; the others' "
        "drop in points (* where none is unlikely: p < 0.05, Holm over all of them)"
    ) + extract_note(len(shown), len(known))
    return ReportTable(title, ["language", "label", "rows", report.original, "F1", *losses], rows, left=2)


def metric_tables(report: Report) -> Iterator[ReportTable]:
    """The other metrics by language."""
    for metric in report.metrics[1:]:
        rows = [
            [
                language,
                *(figure_text(metric, model.quality[language][metric].value) for model in report.models.values()),
            ]
            for language in _original(report).quality
        ]
        yield ReportTable(f"Test {metric_title(metric)}", ["language", *report.models], rows)


def calibration_table(report: Report) -> ReportTable | None:
    """Expected calibration error by language."""
    known = {name: model.calibration for name, model in report.models.items() if model.calibration is not None}
    if not known:
        return None
    rows = [
        [language, *(f"{100 * found[language]:.1f}" for found in known.values())]
        for language in next(iter(known.values()))
    ]
    return ReportTable("Expected calibration error in points, 15 bins (Guo et al., 2017)", ["language", *known], rows)


def changed_tables(report: Report) -> Iterator[ReportTable]:
    """The predictions that changed most often."""
    for name, model in _others(report).items():
        reference = report.original if name in report.references else report.references[-1]
        changed = model.against[reference].changed
        if changed:
            rows = [[c.before, c.after, str(c.rows), str(c.was_right), str(c.is_right)] for c in changed]
            title = f"Predictions that changed most often from {reference} to {name}"
            yield ReportTable(title, ["from", "to", "rows", "was right", "is right"], rows, left=2)


def language_table(report: Report) -> ReportTable | None:
    """Tokens and latency of a row by language."""
    models = {name: model for name, model in report.models.items() if model.languages}
    if not models:
        return None
    counts: dict[tuple[float, ...], list[str]] = {}  # models with the same tokenizer share a column
    for name, model in models.items():
        counts.setdefault(tuple(found.tokens_per_row for found in model.languages.values()), []).append(name)
    rows = []
    for position, language in enumerate(next(iter(models.values())).languages):
        tokens = [f"{found[position]:.1f}" for found in counts]
        rows.append([language, *tokens, *(f"{model.languages[language].p50_ms:.2f}" for model in models.values())])
    headings = ["tokens a row" if len(counts) == 1 else f"tokens ({', '.join(names)})" for names in counts.values()]
    return ReportTable("One row at a time by language: tokens, and p50 in ms", ["language", *headings, *models], rows)


def grid_table(report: Report) -> ReportTable:
    """Latency by batch and length."""
    cells = [(cell.batch, cell.length) for cell in _original(report).grid]
    rows = [
        [name, *(f"{cell.p50_ms:.2f} ({rate(cell.rows_per_second)})" for cell in model.grid)]
        for name, model in report.models.items()
    ]
    headings = ["model", *(f"{batch} × {length}" for batch, length in cells)]
    return ReportTable("Batch × length in tokens: p50 in ms (rows/s)", headings, rows)


def text_table(report: Report) -> ReportTable:
    """Tokenisation apart and together."""
    rows = [
        [
            name,
            f"{model.texts.tokenise.p50_ms:.2f}",
            f"{model.texts.together.p50_ms:.2f}",
            f"{100 * model.texts.tokenise.mean_ms / model.texts.together.mean_ms:.0f} %",
        ]
        for name, model in report.models.items()
    ]
    title = (
        f"From text to outputs, one row at a time, {len(_original(report).texts.together.samples_ms)} rows: p50 in ms"
    )
    return ReportTable(title, ["model", "tokenizer", "with the model", "tokenizer's share"], rows)


def load_table(report: Report) -> ReportTable | None:
    """The highest rates that hold the bound."""
    rows = []
    for name, model in report.models.items():
        for curve in model.load:
            point = next((p for p in reversed(curve.rates) if p.holds), None)
            cells = ["none", "", "", ""]
            if point:
                cells = [rate(point.rate), f"{point.p50_ms:.2f}", f"{point.p99_ms:.2f}", f"{point.mean_batch:.1f}"]
            like = ", of like length" if curve.by_length else ""
            batches = f"up to {curve.largest_batch}{like}" if curve.largest_batch > 1 else "one"
            rows.append([name, batches, *cells])
    if not rows:
        return None
    bound = next(curve.bound_ms for model in report.models.values() for curve in model.load)
    title = f"Highest Poisson rate at which 99 % of the answers come within {bound:.1f} ms"
    return ReportTable(title, ["model", "rows a batch", "rows/s", "p50 ms", "p99 ms", "mean batch"], rows, left=2)


def sentences(report: Report) -> list[str]:
    """One sentence for each model, what the original is, and how sacrebleu can compute the same."""
    lines = [
        comparison_line(model.against[report.original], name, report.original)
        for name, model in _others(report).items()
    ]
    if report.brought:
        lines.append(
            f"{BROUGHT}: the model before its vocabulary of {report.brought.tokens:,} tokens was trimmed, "
            f"{report.brought.size.total / 1e6:.2f} MB; × smaller is against it, and so is × faster: trimming leaves "
            f"all layers as they are, so that its times are the {report.original}'s"
        )
    if not report.labelled:
        metric = report.metrics[0]
        lines.append(f"the rows have no labels: {metric} is told against what the {report.original} says of them")
    return [*lines, *(f"{name}: sacrebleu {signature}" for name, signature in report.signatures.items())]


def noise_line(report: Report) -> str | None:
    """Which times cannot be trusted; none where all can."""
    disturbed: dict[str, float] = {}
    for name, model in report.models.items():
        disturbed |= {f"{name} in batches of {size}": times.disturbed for size, times in model.latency.items()}
        disturbed |= {f"{name} in batches of {at.batch} × {at.length} tokens": at.disturbed for at in model.grid}
        disturbed |= {f"{name} from text to outputs": model.texts.disturbed}
        disturbed |= {
            f"{name} under a load of {rate(at.rate)} rows/s": at.disturbed for curve in model.load for at in curve.rates
        }
    reason = too_noisy(disturbed)
    return reason and f"too noisy: {reason}; stop what else runs on this machine and measure again"


def overrides_line(overrides: Mapping[str, JsonValue]) -> str | None:
    """What held for this measurement alone; none where nothing did."""
    if not overrides:
        return None
    return "for this measurement alone: " + ", ".join(f"{field}={value}" for field, value in overrides.items())


def versions_line(report: Report) -> str:
    """Versions of everything that was measured."""
    return ", ".join(f"{name} {version}" for name, version in report.versions.items())


def _original(report: Report) -> ModelReport:
    return report.models[report.original]


def _others(report: Report) -> dict[str, ModelReport]:
    return {name: model for name, model in report.models.items() if name != report.original}


def _runtime(model: ModelReport) -> str:
    """A model that was made for another target is marked: here it may be slower, or answer differently."""
    return f"{model.runtime} (made for {model.target})" if model.made_for_another_target else model.runtime


def _faster(report: Report, model: ModelReport, size: str) -> str:
    if report.original not in model.against:
        return "1.0"
    figure = model.against[report.original].faster[size]
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1f}"
    return f"{figure.value:.1f} ({figure.low:.1f}–{figure.high:.1f})"


def _loss(found: Comparison, language: str) -> str:
    loss = found.drop[language]
    sure = (loss.p if language == ALL else loss.p_adjusted) < _SURE
    return points(loss) + ("*" if sure else "")


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.2f}"


def _median_megabytes(sizes: Sequence[int]) -> str:
    return f"{np.median(sizes) / 1e6:.0f}"

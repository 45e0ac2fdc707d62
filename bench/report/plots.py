"""The plots of the bench report, as SVG that takes its ink from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.tables import BROUGHT, worst_languages
from compress.console import visible
from compress.evaluation.tables import MOST_SHOWN, extract_note
from compress.metrics.languages import ALL
from compress.reports.bench import Report

_INK = "#010203"  # stands for the page's own text colour
# Okabe & Ito (2008): told apart by colour-blind readers, and seen on light and on dark paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
_STYLE: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "font.size": 11,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are names
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), _INK
    ),
}


@dataclass(frozen=True)
class Plot:
    """A plot and what it shows."""

    svg: str
    caption: str
    wide: bool = False


def draw_plots(report: Report) -> list[Plot]:
    """All plots that the report has figures for."""
    drawn = [_distributions(report), _frontier(report), _languages(report), _loads(report), _accuracies(report)]
    return [plot for plot in drawn if plot is not None]


def _distributions(report: Report) -> Plot:
    """For each model the share of runs that took at most so long."""
    size = str(report.batch_sizes[0])
    with _figure("latency", (8, 4.4)) as (axes, finish):
        for name, colour in _colours(report):
            times = np.sort(report.samples_ms[name][size])
            axes.plot(times, np.arange(1, len(times) + 1) / len(times), color=colour, label=name)
        _logarithmic(axes.xaxis)
        axes.set_xlabel(f"milliseconds, batches of {size}")
        axes.set_ylabel("share of the runs")
        axes.axhline(0.99, color=_INK, linewidth=0.8, linestyle=":")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        return Plot(
            finish("Distribution of latency"), "How many of the runs took at most so long; the dotted line is p99."
        )


def _frontier(report: Report) -> Plot:
    """Size and latency of all models, and what their weakest language loses."""
    size = str(report.batch_sizes[0])
    with _figure("frontier", (8, 4.4)) as (axes, finish):
        for name, colour in _colours(report):
            model = report.models[name]
            loss = model.against[report.original].worst_language_drop if report.original in model.against else None
            told = f"{name}: {100 * loss.value:+.1f} in {loss.language}" if loss else name
            place = (model.size.total / 1e6, model.latency[size].p50_ms)
            marker = "x" if model.made_for_another_target else "o"
            axes.scatter(*place, s=70, color=colour, marker=marker, zorder=3, label=told)
        if report.brought:
            place = (report.brought.size.total / 1e6, report.models[report.original].latency[size].p50_ms)
            axes.scatter(*place, s=70, facecolors="none", edgecolors=_INK, zorder=3, label=BROUGHT)
        _logarithmic(axes.xaxis, axes.yaxis)
        axes.margins(0.1)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        axes.set_xlabel("MB on disk")
        axes.set_ylabel(f"p50 in milliseconds, batches of {size}")
        caption = (
            f"Size, latency, and the points that the weakest language loses against the {report.original}; × was made "
            "for another target."
        )
        return Plot(finish("Size, latency and worst-language drop"), caption)


def _accuracies(report: Report) -> Plot:
    """The main metric of every language and model; of many languages, of those that lose most."""
    languages, metric = [*worst_languages(report), ALL], report.metrics[0]
    note = extract_note(len(languages) - 1, len(report.models[report.original].quality) - 1)
    thick = 0.84 / len(report.models)
    with _figure("accuracy", (2 + 0.15 * len(languages) * (len(report.models) + 1), 4.2)) as (axes, finish):
        for turn, (name, colour) in enumerate(_colours(report)):
            figures = [report.models[name].quality[language][metric] for language in languages]
            values = 100 * np.array([figure.value for figure in figures])
            ends = [values - [100 * f.low for f in figures], [100 * f.high for f in figures] - values]
            places = np.arange(len(languages)) + (turn - (len(report.models) - 1) / 2) * thick
            axes.bar(places, values, thick * 0.9, color=colour, label=name)
            axes.errorbar(places, values, yerr=np.abs(ends), fmt="none", ecolor=_INK, elinewidth=0.7)
        axes.set_xticks(np.arange(len(languages)), languages)
        axes.set_xlim(-0.6, len(languages) - 0.4)
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(f"{metric} %")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(report.models))
        return Plot(
            finish(f"{metric} by language"), f"Test {metric} by language, with 95 % intervals{note}.", wide=True
        )


def _languages(report: Report) -> Plot | None:
    """What a row of each language costs, against its tokens."""
    if not report.models[report.original].languages:
        return None
    with _figure("languages", (8, 4.4)) as (axes, finish):
        for name, colour in _colours(report):
            found = report.models[name].languages
            tokens = [figures.tokens_per_row for figures in found.values()]
            axes.scatter(tokens, [figures.p50_ms for figures in found.values()], color=colour, label=name, s=28)
        slowest = sorted(report.models[report.original].languages.items(), key=lambda found: -found[1].p50_ms)
        for language, figures in slowest[:MOST_SHOWN]:
            axes.annotate(
                language, (figures.tokens_per_row, figures.p50_ms), textcoords="offset points", xytext=(0, 7),
                fontsize=9, ha="center",
            )  # fmt: skip
        _logarithmic(axes.yaxis)
        axes.set_xlabel("tokens a row")
        axes.set_ylabel("p50 in milliseconds")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        caption = (
            "What a row of each language costs, one at a time: languages that a tokenizer splits finely are slower."
        )
        return Plot(finish("Tokens and latency by language"), caption)


def _loads(report: Report) -> Plot | None:
    """The 99th percentile under rising load."""
    curves = [(n, colour, curve) for n, colour in _colours(report) for curve in report.models[n].load]
    if not curves:
        return None
    with _figure("load", (8, 4.4)) as (axes, finish):
        for name, colour, curve in curves:
            shown = "-" if curve.by_length else ":" if curve.largest_batch > 1 else "--"
            axes.plot(
                [point.rate for point in curve.rates],
                [point.p99_ms for point in curve.rates],
                color=colour,
                linestyle=shown,
                marker="o",
                markersize=3,
                label=name if curve is report.models[name].load[-1] else None,
            )
        axes.axhline(curves[0][2].bound_ms, color=_INK, linewidth=0.8, linestyle=":")
        _logarithmic(axes.xaxis, axes.yaxis)
        axes.set_xlabel("rows that arrive in a second")
        axes.set_ylabel("p99 in milliseconds")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        caption = (
            "Under a Poisson load: solid with batches of rows of like length, dotted with batches of those that wait, "
            "dashed one row at a time; the level line is the bound."
        )
        return Plot(finish("Latency under load"), caption)


def _colours(report: Report) -> Iterator[tuple[str, str]]:
    for turn, name in enumerate(report.models):
        yield name, _COLOURS[turn % len(_COLOURS)]


def _logarithmic(*axes: Any) -> None:
    """Logarithmic scales whose numbers are written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    for axis in axes:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


@contextmanager
def _figure(name: str, inches: tuple[float, float]) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """Axes to draw on, and a function that turns them into SVG with this title for readers who do not see it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=inches, layout="constrained")

        def finish(title: str) -> str:
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
            return _for_pages(visible(buffer.getvalue()), title, name)

        yield figure.subplots(), finish


def _for_pages(svg: str, title: str, name: str) -> str:
    """Only the drawing, without a size of its own; names inside of it are kept apart from other drawings'."""
    svg = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="[^"]+"', svg)
    assert view is not None
    body = svg[svg.index(">") + 1 :].replace(_INK, "currentColor")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    return (
        f'<svg {view[0]} role="img" aria-label="{title}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
    )

"""The figures of a check: times, sizes and accuracies of each variant against its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.gate.baseline import Comparing, ReportBaseline, RunBaseline
from bench.gate.judgement import ALPHA, Chances, Doubt, Finding, Judged, drop, growth, slowdown
from bench.measure.latency import LatencyMeasurement
from bench.measure.noise import too_noisy
from bench.measure.reference import REFERENCE
from bench.measure.sizes import size_on_disk
from bench.measure.statistics import log_ratios
from bench.measure.workers import Starts
from compress.metrics.cells import label_cells
from compress.metrics.comparison import Pair
from compress.metrics.labels import label_pairs
from compress.metrics.languages import rows_by_language
from compress.reports.bench import Report
from compress.tasks.contract import Reported

LOOKS = (2, 4, 8, 16)
"""Rounds after which times are judged."""
_DOUBT, _MOST_DISTURBED = 0.25, 0.99


def baseline_name(variant: str) -> str:
    """What the baseline's variant is called beside the new one."""
    return f"baseline {variant}"


def latency_findings(comparing: Comparing, times: LatencyMeasurement) -> list[Finding]:
    """Each batch size over all languages and, one row at a time beside the baseline's files, each language.

    Either chance of an error is spent in equal parts on the looks, as a figure is decided at any of them.
    """
    limit, old = comparing.limits.max_slowdown, comparing.baseline
    languages = np.array([comparing.rows[row].lang for row in times.rows])
    by_language = sorted(set(languages.tolist())) if isinstance(old, RunBaseline) and 1 in times.batches else []
    figures = len(comparing.names) * (len(times.batches) + len(by_language))
    chances = Chances(below=ALPHA / figures / len(LOOKS), above=ALPHA / len(LOOKS))
    findings = []
    for name in comparing.names:
        for size in times.batches:
            figure = f"latency, batches of {size}"
            if isinstance(old, ReportBaseline):
                logs, doubt = _scaled_log_ratios(times, name, size, old.report), _scaled_doubt(times, name, size, old)
            else:
                logs = _log_ratios(times, name, baseline_name(name), size)
                doubt = _doubt(times.disturbed(name, size), times.disturbed(baseline_name(name), size), name)
            findings.append(slowdown(Judged(name, figure, None, limit), logs, chances, doubt))
            for language in by_language if size == 1 else ():
                judged = Judged(name, figure, language, limit)
                findings.append(slowdown(judged, logs[languages == language], chances, doubt))
    return findings


def size_findings(comparing: Comparing, starts: Mapping[str, Starts]) -> list[Finding]:
    """Bytes on disk, and the peaks of resident memory of all starts."""
    limit, findings = comparing.limits.max_growth, []
    for name in comparing.names:
        contender = comparing.new.contenders[name]
        new_size = size_on_disk(contender.model, contender.tokenizer).total
        match comparing.baseline:
            case RunBaseline(_, side):
                other = side.contenders[name]
                old_size = size_on_disk(other.model, other.tokenizer).total
                old_memory = starts[baseline_name(name)].memory
            case ReportBaseline(_, report):
                old_size, old_memory = report.models[name].size.total, report.models[name].memory
        findings.append(growth(Judged(name, "size on disk", None, limit), [new_size], [old_size]))
        peaks = ([entry.peak for entry in memory] for memory in (starts[name].memory, old_memory))
        findings.append(growth(Judged(name, "peak memory", None, limit), *peaks))
    return findings


def accuracy_findings(
    comparing: Comparing, name: str, old: Sequence[Reported], new: Sequence[Reported]
) -> list[Finding]:
    """The drop of the main metric in every language and over all rows, and of the recall of every label, from one list
    of predictions to another.

    :param name: The variant.
    """
    run, rows, labels = comparing.new.run, comparing.rows, comparing.data.labels
    before, after = (run.task.metrics(predictions, rows, labels) for predictions in (old, new))
    metric, groups = next(iter(before)), rows_by_language([row.lang for row in rows])
    one, other = (run.task.label_counts(predictions, rows, labels) for predictions in (old, new))
    by_label, limits = label_pairs(one, other), comparing.limits
    chances = Chances(below=ALPHA / (len(comparing.names) * (len(groups) + len(by_label))), above=ALPHA)
    found = [
        drop(Judged(name, metric, language, limits.max_drop), Pair(before[metric], after[metric], numbers), chances)
        for language, numbers in groups.items()
    ]
    return found + [
        drop(Judged(name, "recall", None, limits.max_label_drop, label), pair, chances)
        for label, pair in by_label.items()
    ]


def cell_findings(comparing: Comparing, name: str, old: Sequence[Reported], new: Sequence[Reported]) -> list[Finding]:
    """The drop of the recall of every label in every language that has rows of it.

    :param name: The variant.
    """
    run, rows, labels = comparing.new.run, comparing.rows, comparing.data.labels
    one, other = (run.task.label_counts(predictions, rows, labels) for predictions in (old, new))
    cells, limit = label_cells(one, other, [row.lang for row in rows]), comparing.limits.max_label_drop
    chances = Chances(below=ALPHA / max(len(comparing.names) * len(cells), 1), above=ALPHA)
    return [
        drop(Judged(name, "recall in a language", cell.language, limit, cell.label), cell.recall, chances)
        for cell in cells
    ]


def _log_ratios(times: LatencyMeasurement, name: str, other: str, size: int) -> NDArray[np.float64]:
    """Logarithms of one model's times over another's, float (batches,)."""
    return log_ratios(times.milliseconds_of(name, size), times.milliseconds_of(other, size))


def _scaled_log_ratios(times: LatencyMeasurement, name: str, size: int, report: Report) -> NDArray[np.float64]:
    """Logarithms of a model's times over those in a report, both as multiples of the reference workload, float
    (batches,)."""
    old, reference = (
        np.array(report.samples_ms[who][str(size)]).reshape(report.rounds, -1) for who in (name, REFERENCE)
    )
    return _log_ratios(times, name, REFERENCE, size) - log_ratios(old, reference)


def _doubt(over: float, under: float, name: str) -> Doubt:
    """What other work may have moved of a ratio of times.

    :param over: The share of the time above the line that went to it.
    :param under: The same of the time below it.
    """
    busy = too_noisy({name: over, baseline_name(name): under})
    below, above = (-float(np.log1p(-min(share, _MOST_DISTURBED))) for share in (over, under))
    return Doubt(below, above, busy)


def _scaled_doubt(times: LatencyMeasurement, name: str, size: int, baseline: ReportBaseline) -> Doubt:
    """The same of scaled times, and a share of how far the reference workload itself has moved.

    On another machine, or beside other work, a model's time does not move just as the reference's does.
    """
    report = baseline.report
    now, before = np.median(times.milliseconds_of(REFERENCE, size)), np.median(report.samples_ms[REFERENCE][str(size)])
    moved = _DOUBT * abs(float(np.log(now / before)))
    over = times.disturbed(name, size) + report.reference.disturbed
    under = times.disturbed(REFERENCE, size) + report.models[name].latency[str(size)].disturbed
    found = _doubt(over, under, name)
    return replace(found, below=found.below + moved, above=found.above + moved)

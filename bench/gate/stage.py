"""`compress check`: is a run slower, larger or worse than its baseline?

Where the baseline's files are at hand its variants are run again beside the new ones, batch by batch; else both are
scaled by the reference workload that was measured beside each. It goes on measuring until every figure is decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bench.gate.judgement import ALPHA, Finding, Limits, Verdict, drop, growth, overall, slowdown
from bench.gate.report import write_check_markdown, write_junit
from bench.measure.contenders import REFERENCE, STUDENT, TEACHER, Contender, find_contenders
from bench.measure.latency import Group, LatencyMeasurement
from bench.measure.machine import machine_facts
from bench.measure.rows import grid_lengths, predict_rows, rows_digest
from bench.measure.sizes import size_on_disk
from bench.measure.workers import Machine, Measurement, Setup, Started, Worker, started
from compress.console import progress, say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.errors import CompressError
from compress.metrics.languages import rows_by_language
from compress.reports.bench import MachineFacts, Report, read_report
from compress.runs.directory import Run, find_run
from compress.runs.files import write_json
from compress.runs.stages import run_stage
from compress.tasks.rows import Row

_LOOKS = (2, 4, 8, 16)
"""Rounds after which the figures are judged: each look takes its share of the chance of a false alarm."""
_MOST_SECONDS = 600
_DOUBT = 0.25
_FEWEST_STARTS = 3
_OLD = "baseline "


class CheckReport(BaseModel):
    """The result of a check, as it is written to ``check.json``."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(1, alias="schema")
    run: str
    baseline: str
    interleaved: bool = Field(description="whether the baseline's files were run beside; else times are scaled")
    method: str = Field(description="the same in words")
    verdict: Verdict
    limits: Limits
    rounds: int
    machine: MachineFacts
    compared: list[str]
    left_out: list[str]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """As it is written."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class Side:
    """The new run or its baseline, where its files are at hand."""

    run: Run
    labels: list[str]
    contenders: dict[str, Contender]


@dataclass(frozen=True)
class Baseline:
    """What is compared with: a run whose files are at hand, or the report of one that is elsewhere."""

    name: str
    side: Side | None
    report: Report | None

    @property
    def variants(self) -> list[str]:
        """What it has."""
        if self.side is not None:
            return list(self.side.contenders)
        assert self.report is not None
        return list(self.report.models)


@dataclass(frozen=True)
class Comparing:
    """What a check measures with."""

    new: Side
    baseline: Baseline
    names: list[str]
    rows: list[Row]
    limits: Limits
    data: DataSet


def run_check_stage(run: Run, baseline: Path, limits: Limits, variants: Sequence[str] | None) -> CheckReport:
    """Fill ``check/`` with ``check.json``, ``check.md`` and ``junit.xml``; measured anew each time.

    :param baseline: A run directory, or a ``report.json`` of `compress bench`.
    :param variants: Which to compare; none for all that both have and that were made for this machine.
    :raises CompressError: If the two cannot be compared.
    """
    data = load_data(run)
    new = _side(run, data.labels)
    old = open_baseline(baseline)
    comparing = Comparing(new, old, _names(new, old, variants), list(data.splits["test"]), limits, data)
    _check_comparable(comparing)

    def build(folder: Path, scratch: Path) -> dict[str, Any]:
        report = _compare(comparing, scratch)
        write_json(folder / "check.json", report.as_json())
        write_check_markdown(report, folder / "check.md")
        write_junit(report, folder / "junit.xml")
        return {"verdict": report.verdict}

    inputs = {"baseline": old.name, "limits": limits.model_dump(), "variants": comparing.names}
    run_stage(run, "check", inputs, ("data", *comparing.names), build, always=True)
    return CheckReport.model_validate_json((run.path_of("check") / "check.json").read_text("utf-8"))


def open_baseline(path: Path) -> Baseline:
    """Find a run's files, by its folder or by the report in it, or read a report alone.

    :raises CompressError: If the path is neither.
    """
    folder = path if path.is_dir() else path.parent.parent
    if (folder / "recipe.yaml").is_file() and (folder / "manifest.json").is_file():
        run = find_run(folder, folder)
        if path.is_dir() or run.is_current("bench"):
            return Baseline(str(path), _side(run, load_data(run).labels), None)
    if path.is_dir():
        raise CompressError(f"{path}: no run here; name a run directory or a report.json that `compress bench` wrote")
    return Baseline(str(path), None, read_report(path))


def _side(run: Run, labels: list[str]) -> Side:
    contenders, _ = find_contenders(run, labels)
    return Side(run, labels, {contender.name: contender for contender in contenders})


def _names(new: Side, old: Baseline, wanted: Sequence[str] | None) -> list[str]:
    """The variants to compare."""
    for name in wanted or []:
        for where, known in ((str(new.run.folder), list(new.contenders)), (old.name, old.variants)):
            if name not in known:
                raise CompressError(f"--variants {name}: {where} has none; it has {', '.join(known)}")
    if wanted:
        return list(wanted)
    both = [name for name in new.contenders if name in old.variants]
    here = [n for n in both if n not in (TEACHER, STUDENT) and new.contenders[n].is_for_this_machine]
    if not here:
        raise CompressError(
            f"{new.run.folder}: no variant for this machine that {old.name} has too; run `compress export`, or name "
            "what to compare with --variants"
        )
    return here


def _check_comparable(comparing: Comparing) -> None:
    new, old = comparing.new, comparing.baseline
    if old.side is not None:
        if old.side.run.recipe.task != new.run.recipe.task:
            raise CompressError(f"{old.name}: its task is {old.side.run.recipe.task}, not {new.run.recipe.task}")
        if set(old.side.labels) != set(new.labels):
            raise CompressError(f"{old.name}: its labels are not those of {new.run.folder}; they cannot be compared")
        return
    assert old.report is not None
    if old.report.rows.digest != rows_digest(comparing.rows):
        raise CompressError(
            f"{old.name}: measured on other test rows than those of {new.run.folder}; measure the "
            "baseline again on the same data, or name its run directory"
        )
    if not set(new.run.recipe.bench.batch_sizes) & set(old.report.batch_sizes):
        raise CompressError(f"{old.name}: measured with other batch sizes; set bench.batch_sizes to some of its")


def _compare(comparing: Comparing, scratch: Path) -> CheckReport:
    new, old = comparing.new, comparing.baseline
    settings = new.run.recipe.bench
    machine = Machine.with_threads(old.report.machine.threads if old.report else settings.threads)
    bench = Measurement(
        new.run.recipe, comparing.rows, machine, scratch, (max(settings.batch_sizes), max(grid_lengths(new.run)))
    )
    contenders = {name: new.contenders[name] for name in comparing.names}
    setups = {name: bench.setup(contender) for name, contender in contenders.items()}
    if old.side is not None:
        # As its own recipe has it read and write.
        theirs = replace(bench, recipe=old.side.run.recipe)
        others = {_OLD + name: replace(old.side.contenders[name], name=_OLD + name) for name in comparing.names}
        setups |= {name: theirs.setup(contender) for name, contender in others.items()}
        contenders |= others
    else:
        setups[REFERENCE] = bench.reference()
    say(f"check: {', '.join(comparing.names)} against {old.name}, {_method(old)}")
    with started(setups, max(_FEWEST_STARTS, settings.starts)) as (workers, starts):
        sized = _size_findings(comparing, starts)
        accuracy = _accuracy_findings(comparing, contenders, setups, workers, scratch)
        times = _times(comparing, Group(workers, setups))
        latency = _measured_until_decided(comparing, times)
    findings = [*latency, *sized, *accuracy]
    return CheckReport(
        run=str(new.run.folder),
        baseline=old.name,
        interleaved=old.side is not None,
        method=_method(old),
        verdict=overall(findings),
        limits=comparing.limits,
        rounds=times.rounds,
        machine=MachineFacts.model_validate(machine_facts(machine)),
        compared=comparing.names,
        left_out=sorted((set(new.contenders) | set(old.variants)) - set(comparing.names)),
        findings=findings,
    )


def _method(old: Baseline) -> str:
    if old.side is not None:
        return "run beside the baseline's own files, batch by batch"
    assert old.report is not None
    return f"scaled by a reference workload (the baseline was measured on {old.report.machine.processor})"


def _times(comparing: Comparing, group: Group) -> LatencyMeasurement:
    settings, report = comparing.new.run.recipe.bench, comparing.baseline.report
    languages = [row.lang for row in comparing.rows]
    chosen = (
        report.rows.sampled
        if report
        else spread_over_languages(languages, settings.rows, comparing.new.run.recipe.seed)
    )
    sizes = [size for size in settings.batch_sizes if report is None or size in report.batch_sizes]
    return LatencyMeasurement(group, chosen, sizes, comparing.new.run.recipe.seed)


def _measured_until_decided(comparing: Comparing, times: LatencyMeasurement) -> list[Finding]:
    ends = time.monotonic() + _MOST_SECONDS
    findings: list[Finding] = []
    with progress() as bar:
        task = bar.add_task("comparing", total=_LOOKS[-1] * sum(len(batches) for batches in times.batches.values()))
        advance: Callable[[int], object] = lambda steps: bar.advance(task, steps)  # noqa: E731
        times.timing_warm_up()
        for look in _LOOKS:
            while times.rounds < look:
                times.add_round(advance)
            findings = _latency_findings(comparing, times)
            if all(finding.verdict != "inconclusive" for finding in findings) or time.monotonic() > ends:
                break
    return findings


def _latency_findings(comparing: Comparing, times: LatencyMeasurement) -> list[Finding]:
    """Each batch size over all languages and, one row at a time beside the baseline's files, each language."""
    limit, report = comparing.limits.max_slowdown, comparing.baseline.report
    languages = np.array([comparing.rows[row].lang for row in times.rows])
    by_language = sorted(set(languages)) if report is None and 1 in times.batches else []
    figures = len(comparing.names) * (len(times.batches) + len(by_language))
    chance = ALPHA / figures / len(_LOOKS)
    findings = []
    for name in comparing.names:
        for size in times.batches:
            logs = _logs(times, name, size, report) if report else _log_ratios(times, name, _OLD + name, size)
            figure = f"latency, batches of {size}"
            doubt = _doubt(times, size, report) if report else 0.0
            findings.append(slowdown(name, figure, None, logs.ravel(), limit, chance, doubt))
            for language in by_language if size == 1 else ():
                own = logs[:, languages == language].ravel()
                findings.append(slowdown(name, figure, str(language), own, limit, chance))
    return findings


def _log_ratios(times: LatencyMeasurement, name: str, other: str, size: int) -> np.ndarray:
    """Logarithms of one model's times over another's, float (rounds, batches)."""
    return np.log(times.milliseconds_of(name, size)) - np.log(times.milliseconds_of(other, size))


def _logs(times: LatencyMeasurement, name: str, size: int, report: Report) -> np.ndarray:
    """The same over those in a report, both as multiples of the reference workload: float (batches,)."""
    old, reference = (np.array(report.samples_ms[who][str(size)]) for who in (name, REFERENCE))
    before = (np.log(old) - np.log(reference)).reshape(report.rounds, -1)
    return np.median(_log_ratios(times, name, REFERENCE, size), axis=0) - np.median(before, axis=0)


def _doubt(times: LatencyMeasurement, size: int, report: Report) -> float:
    """How far scaled times may be wrong, as a logarithm: a share of how far the reference workload itself has moved.

    On another machine, or beside other work, a model's time does not move just as the reference's does.
    """
    now, before = np.median(times.milliseconds_of(REFERENCE, size)), np.median(report.samples_ms[REFERENCE][str(size)])
    return _DOUBT * abs(float(np.log(now / before)))


def _size_findings(comparing: Comparing, starts: dict[str, Started]) -> list[Finding]:
    limit, old, findings = comparing.limits.max_growth, comparing.baseline, []
    for name in comparing.names:
        contender = comparing.new.contenders[name]
        new_size = size_on_disk(contender.model, contender.tokenizer)["total"] or 0
        new_peaks = [entry["peak"] or 0 for entry in starts[name].memory]
        if old.side is not None:
            other = old.side.contenders[name]
            old_size = size_on_disk(other.model, other.tokenizer)["total"] or 0
            old_peaks = [entry["peak"] or 0 for entry in starts[_OLD + name].memory]
        else:
            assert old.report is not None
            old_size = old.report.models[name].size.total
            old_peaks = [entry.peak for entry in old.report.models[name].memory]
        findings.append(growth(name, "size on disk", [new_size], [old_size], limit))
        findings.append(growth(name, "peak memory", new_peaks, old_peaks, limit))
    return findings


def _accuracy_findings(
    comparing: Comparing,
    contenders: dict[str, Contender],
    setups: dict[str, Setup],
    workers: dict[str, Worker],
    scratch: Path,
) -> list[Finding]:
    run, report = comparing.new.run, comparing.baseline.report
    say("check: accuracy")
    predictions: dict[str, list[Any]] = {}
    for name, contender in contenders.items():
        found = predict_rows(run, comparing.data, contender, setups[name], workers[name], scratch)
        predictions[name] = found.predictions
    if report:
        predictions |= {_OLD + name: report.predictions[name] for name in comparing.names}
    return [
        finding
        for name in comparing.names
        for finding in judge_accuracy(comparing, name, predictions[_OLD + name], predictions[name])
    ]


def judge_accuracy(comparing: Comparing, name: str, old: list[Any], new: list[Any]) -> list[Finding]:
    """The drop of the main metric in every language and over all rows, from one list of predictions to another."""
    run, rows, labels = comparing.new.run, comparing.rows, comparing.data.labels
    before, after = (run.task.metrics(predictions, rows, labels) for predictions in (old, new))
    metric, groups = next(iter(before)), rows_by_language([row.lang for row in rows])
    chance = ALPHA / (len(comparing.names) * len(groups))
    return [
        drop(name, metric, language, before[metric], after[metric], numbers, comparing.limits.max_drop, chance)
        for language, numbers in groups.items()
    ]

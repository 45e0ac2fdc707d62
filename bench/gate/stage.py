"""`compress check`: is a run slower, larger or worse than its baseline?

Where the baseline's files are at hand its variants are run again beside the new ones, batch by batch; else both are
scaled by the reference workload that was measured beside each. It goes on measuring until every figure is decided.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.gate.baseline import (
    Comparing,
    ReportBaseline,
    RunBaseline,
    check_baseline,
    compared_names,
    open_baseline,
    reported,
    side_of,
)
from bench.gate.findings import (
    LOOKS,
    accuracy_findings,
    baseline_name,
    cell_findings,
    latency_findings,
    size_findings,
)
from bench.gate.judgement import Finding, Limits, overall
from bench.gate.report import write_check_markdown, write_junit
from bench.gate.result import CHECK, CheckReport, CheckSummary
from bench.measure.contenders import Contender
from bench.measure.latency import Group, LatencyMeasurement
from bench.measure.machine import Machine
from bench.measure.reference import REFERENCE
from bench.measure.rows import predict_rows
from bench.measure.settings import largest_batch
from bench.measure.workers import WORKER_COMMAND, Measurement, ModelSetup, Worker, started
from compress.console import progress, say
from compress.data.encode import spread_over_languages
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.runs.directory import Run
from compress.runs.files import write_json
from compress.runs.stages import run_stage
from compress.tasks.contract import Reported

_Said = dict[str, Sequence[Reported]]
"""What models say of the test rows, by name."""
_Judge = Callable[[Comparing, str, Sequence[Reported], Sequence[Reported]], list[Finding]]

_MOST_SECONDS = 600
_FEWEST_STARTS = 3


@dataclass(frozen=True)
class Entries:
    """Who is started: the new variants and, where their files are at hand, those of the baseline."""

    contenders: Mapping[str, Contender]
    setups: Mapping[str, ModelSetup]


def run_check_stage(
    run: Run,
    baseline: Path,
    limits: Limits,
    variants: Sequence[str] | None,
    command: Sequence[str] = WORKER_COMMAND,
) -> CheckReport:
    """Fill ``check/`` with ``check.json``, ``check.md`` and ``junit.xml``; measured anew each time.

    :param baseline: A run directory, or a ``report.json`` of `compress bench`.
    :param variants: Which to compare; none for all that both have and that were made for this machine.
    :param command: Runs a measuring process; see `bench.measure.worker`.
    :raises CompressError: If the two cannot be compared.
    """
    data = load_data(run)
    new, old = side_of(run, data.labels), open_baseline(baseline)
    comparing = Comparing(new, old, compared_names(new, old, variants), list(data.splits["test"]), limits, data)
    check_baseline(comparing)

    def build(folder: Path, scratch: Path) -> CheckSummary:
        report = _compare(comparing, scratch, command)
        write_json(folder / "check.json", report.model_dump(mode="json", by_alias=True))
        write_check_markdown(report, folder / "check.md")
        write_junit(report, folder / "junit.xml")
        return CheckSummary(verdict=report.verdict)

    inputs = {"baseline": old.name, "limits": limits.model_dump(), "variants": comparing.names}
    run_stage(run, CHECK, inputs, (DATA.name, *comparing.names), build, always=True)
    return CheckReport.model_validate_json((run.path_of(CHECK.name) / "check.json").read_text("utf-8"))


def _compare(comparing: Comparing, scratch: Path, command: Sequence[str]) -> CheckReport:
    new, old = comparing.new, comparing.baseline
    settings = new.run.recipe.bench
    threads = old.report.machine.threads if isinstance(old, ReportBaseline) else settings.threads
    machine = Machine.with_threads(threads)
    bench = Measurement(new.run.recipe, comparing.rows, machine, scratch, largest_batch(new.run))
    entries = _entries(comparing, bench)
    say(f"check: {', '.join(comparing.names)} against {old.name}, {old.method}")
    with started(entries.setups, max(_FEWEST_STARTS, settings.starts), command) as (workers, starts):
        sized = size_findings(comparing, starts)
        said = _said(comparing, entries, workers, scratch)
        times = _times(comparing, Group(workers, machine.cpus))
        latency = _measured_until_decided(comparing, times)
    cells = _by_variant(cell_findings, comparing, said)
    failing = [finding for finding in cells if finding.verdict == "fail"]
    findings = [*latency, *sized, *_by_variant(accuracy_findings, comparing, said), *failing]
    return CheckReport(
        run=str(new.run.folder),
        baseline=old.name,
        interleaved=isinstance(old, RunBaseline),
        method=old.method,
        verdict=overall(findings),
        limits=comparing.limits,
        overrides=dict(new.run.overrides),
        rounds=times.rounds,
        machine=machine.facts,
        compared=comparing.names,
        left_out=sorted((set(new.contenders) | set(old.models)) - set(comparing.names)),
        findings=findings,
        cells=dict(Counter(finding.verdict for finding in cells)),
    )


def _entries(comparing: Comparing, bench: Measurement) -> Entries:
    contenders = {name: comparing.new.contenders[name] for name in comparing.names}
    setups = {name: bench.setup(contender) for name, contender in contenders.items()}
    match comparing.baseline:
        case RunBaseline(_, side):
            # As its own recipe has it read and write.
            theirs = replace(bench, recipe=side.run.recipe)
            for name in comparing.names:
                other = replace(side.contenders[name], name=baseline_name(name))
                contenders[other.name], setups[other.name] = other, theirs.setup(other)
        case ReportBaseline():
            setups[REFERENCE] = bench.reference()
    return Entries(contenders, setups)


def _times(comparing: Comparing, group: Group) -> LatencyMeasurement:
    recipe, rows = comparing.new.run.recipe, comparing.rows
    match comparing.baseline:
        case ReportBaseline(_, report):
            chosen = report.rows.sampled
            sizes = [size for size in recipe.bench.batch_sizes if size in report.batch_sizes]
        case RunBaseline():
            chosen = spread_over_languages([row.lang for row in rows], recipe.bench.rows, recipe.seed)
            sizes = recipe.bench.batch_sizes
    return LatencyMeasurement(group, chosen, sizes, recipe.seed)


def _measured_until_decided(comparing: Comparing, times: LatencyMeasurement) -> list[Finding]:
    ends = time.monotonic() + _MOST_SECONDS
    findings: list[Finding] = []
    with progress() as bar:
        task = bar.add_task("comparing", total=LOOKS[-1] * sum(len(batches) for batches in times.batches.values()))
        times.timing_warm_up()
        for look in LOOKS:
            while times.rounds < look:
                times.add_round(lambda steps: bar.advance(task, steps))
            findings = latency_findings(comparing, times)
            if all(finding.verdict != "inconclusive" for finding in findings) or time.monotonic() > ends:
                break
    return findings


def _said(comparing: Comparing, entries: Entries, workers: Mapping[str, Worker], scratch: Path) -> _Said:
    say("check: accuracy")
    said: _Said = {}
    for name, contender in entries.contenders.items():
        said[name] = predict_rows(comparing.new.run, comparing.data, contender, workers[name], scratch).predictions
    if isinstance(comparing.baseline, ReportBaseline):
        said |= {baseline_name(name): reported(comparing, comparing.baseline, name) for name in comparing.names}
    return said


def _by_variant(judge: _Judge, comparing: Comparing, said: _Said) -> list[Finding]:
    """What is found of each variant."""
    return [
        finding for name in comparing.names for finding in judge(comparing, name, said[baseline_name(name)], said[name])
    ]

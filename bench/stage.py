"""The bench stage: teacher, student, every variant and models of the user's own, on the same rows in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.measure.accuracy import Accuracy
from bench.measure.contenders import Contender, find_contenders, user_contenders
from bench.measure.latency import Group
from bench.measure.machine import Machine
from bench.measure.measured import measure_all
from bench.measure.reference import REFERENCE
from bench.measure.rows import check_classes, predict_rows, rows_digest
from bench.measure.settings import grid_lengths, largest_batch, with_load
from bench.measure.trial import try_contenders
from bench.measure.workers import WORKER_COMMAND, Measurement, Worker, started
from bench.report.build import Findings, model_reports, not_measured
from bench.report.html import write_html
from bench.report.summary import BENCH, BenchSummary
from bench.report.text import write_markdown
from compress.console import say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.evaluation.predicted import Predicted
from compress.evaluation.stage import load_predicted
from compress.evaluation.summary import EVALUATION
from compress.metrics.languages import signatures
from compress.reports.bench import BroughtReport, NotMeasured, Report, Rows, Size, read_report
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runs.versions import recorded_versions
from compress.runtimes.memory import check_row
from compress.student.summary import reference_stages
from compress.teacher.summary import source_stage


@dataclass(frozen=True)
class BenchPlan:
    """Who is measured on which data, and what is left out; ``command`` runs a measuring process."""

    data: DataSet
    contenders: Mapping[str, Contender]
    missing: list[NotMeasured]
    command: Sequence[str]


def run_bench_stage(
    run: Run, named: Sequence[str] = (), load: bool = False, command: Sequence[str] = WORKER_COMMAND
) -> Report:
    """Fill ``bench/`` with ``report.json``, ``report.html`` and ``report.md``; measured anew each time.

    :param named: Models of the user's own, as ``name=path``.
    :param load: Measure under load even if the recipe does not ask for it.
    :param command: Runs a measuring process; see `bench.measure.worker`.
    :raises CompressError: If the run has no evaluation of its student yet, or a model of the user's own cannot be
        measured.
    """
    run, data = with_load(run) if load else run, load_data(run)
    run.current(EVALUATION.name)
    found, missing = find_contenders(run, data.labels)
    users = user_contenders(named, run, data.labels)
    try_contenders(users, run.recipe, run.path_of(DATA.name) / "test.jsonl")
    contenders = [*found, *users]
    plan = BenchPlan(data, {contender.name: contender for contender in contenders}, missing, command)

    def build(folder: Path, scratch: Path) -> BenchSummary:
        report = _build(run, plan, scratch)
        (folder / "report.json").write_text(report.as_text(), "utf-8")
        write_markdown(report, folder / "report.md")
        write_html(report, folder / "report.html")
        return BenchSummary(models=list(report.models), rows=report.rows.digest)

    parents = (DATA.name, EVALUATION.name, *(contender.origin for contender in contenders if contender.origin))
    inputs = {**run.recipe.bench.model_dump(mode="json"), "variants": list(named)}
    run_stage(run, BENCH, inputs, parents, build, always=True)
    return read_report(run.path_of(BENCH.name) / "report.json")


def _build(run: Run, plan: BenchPlan, scratch: Path) -> Report:
    settings, rows = run.recipe.bench, list(plan.data.splits["test"])
    chosen = spread_over_languages([row.lang for row in rows], settings.rows, run.recipe.seed)
    machine = Machine.with_threads(settings.threads)
    largest = largest_batch(run)
    for contender in plan.contenders.values():
        check_row(
            contender.model, run.task, largest.length, rows=largest.batch, trust_remote_code=contender.trusts_code
        )
    bench = Measurement(run.recipe, rows, machine, scratch, largest)
    setups = {name: bench.setup(contender) for name, contender in plan.contenders.items()}
    say(f"bench: starting {len(setups)} models in fresh processes, {settings.starts} × each")
    with started({**setups, REFERENCE: bench.reference()}, settings.starts, plan.command) as (workers, starts):
        for name, contender in plan.contenders.items():
            check_classes(contender, workers[name].start.classes)
        measured = measure_all(run, chosen, Group(workers, machine.cpus), starts)
        say("bench: accuracy")
        predicted = _predicted(run, plan, workers, scratch)
    accuracy, times = Accuracy(run.task, rows, plan.data.labels, predicted), measured.times
    findings = Findings(plan.contenders, setups, measured, accuracy, reference_stages(run))
    metrics = accuracy.metrics[findings.references[0]]
    return Report(
        run=run.recipe.name,
        task=run.recipe.task,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.facts,
        versions=recorded_versions(),
        overrides=dict(run.overrides),
        rounds=settings.rounds,
        starts=settings.starts,
        batch_sizes=settings.batch_sizes,
        lengths=grid_lengths(run),
        metrics=list(metrics),
        signatures=signatures(metrics),
        rows=Rows(latency=len(chosen), quality=len(rows), digest=rows_digest(rows), sampled=chosen),
        labelled=run.summary(DATA).labelled,
        models=model_reports(findings),
        brought=_brought(run),
        reference=times.figures(REFERENCE)[str(settings.batch_sizes[0])],
        not_measured=[*plan.missing, *not_measured(run, findings)],
        samples_ms={
            name: {str(size): [round(ms, 4) for ms in found.milliseconds] for size, found in sizes.items()}
            for name, sizes in times.samples.items()
        },
        predictions={name: list(map(run.task.finding_as_json, found.predictions)) for name, found in predicted.items()},
    )


def _brought(run: Run) -> BroughtReport | None:
    """The model that the user brought, where it was trimmed since."""
    summary = run.summary(source_stage(run))
    found = summary.brought
    if found is None or run.recipe.teacher.predictions:  # who is not asked is not compared with
        return None
    size = Size(total=found.bytes, embeddings=found.embeddings, rest=found.bytes - found.embeddings)
    return BroughtReport(size=size, tokens=found.tokens, shape=summary.shape)


def _predicted(run: Run, plan: BenchPlan, workers: Mapping[str, Worker], scratch: Path) -> dict[str, Predicted]:
    """What each model says of the test rows; the evaluation has asked those that others are compared with."""
    predicted = {name: load_predicted(run, name) for name in reference_stages(run)}
    for name, contender in plan.contenders.items():
        if name not in predicted:
            predicted[name] = predict_rows(run, plan.data, contender, workers[name], scratch)
    return predicted

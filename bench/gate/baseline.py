"""What a run is compared with: a run whose files are at hand, or the report of one that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gate.judgement import Limits
from bench.measure.contenders import Contender, find_contenders
from bench.measure.rows import rows_digest
from bench.report.summary import BENCH
from compress.data.stage import DataSet, load_data
from compress.errors import CompressError, first_line
from compress.reports.bench import Report, read_report
from compress.runs.directory import Run, find_run
from compress.student.summary import reference_stages
from compress.tasks.contract import Reported
from compress.tasks.rows import Row


@dataclass(frozen=True)
class Side:
    """A run, and those of its models that this machine can run."""

    run: Run
    labels: list[str]
    contenders: Mapping[str, Contender]


@dataclass(frozen=True)
class RunBaseline:
    """A run whose files are at hand; ``name`` is its path."""

    name: str
    side: Side

    @property
    def models(self) -> list[str]:
        """Names of what it has."""
        return list(self.side.contenders)

    @property
    def method(self) -> str:
        """How times are compared, in words."""
        return "run beside the baseline's own files, batch by batch"


@dataclass(frozen=True)
class ReportBaseline:
    """The bench report of a run that is elsewhere; ``name`` is its path."""

    name: str
    report: Report

    @property
    def models(self) -> list[str]:
        """Names of what it has."""
        return list(self.report.models)

    @property
    def method(self) -> str:
        """How times are compared, in words."""
        return f"scaled by a reference workload (the baseline was measured on {self.report.machine.processor})"


Baseline = RunBaseline | ReportBaseline


@dataclass(frozen=True)
class Comparing:
    """What a check measures with: ``names`` are the variants that are compared, ``rows`` the test rows."""

    new: Side
    baseline: Baseline
    names: list[str]
    rows: Sequence[Row]
    limits: Limits
    data: DataSet


def open_baseline(path: Path) -> Baseline:
    """Find a run's files, by its folder or by the report in it, or read a report alone.

    :raises CompressError: If the path is neither.
    """
    folder = path if path.is_dir() else path.parent.parent
    if (folder / "recipe.yaml").is_file() and (folder / "manifest.json").is_file():
        run = find_run(folder, folder)
        if path.is_dir() or run.is_current(BENCH.name):
            return RunBaseline(str(path), side_of(run, load_data(run).labels))
    if path.is_dir():
        raise CompressError(f"{path}: no run here; name a run directory or a report.json that `compress bench` wrote")
    return ReportBaseline(str(path), read_report(path))


def side_of(run: Run, labels: list[str]) -> Side:
    """A run with its models.

    :param labels: Names of the classes, where the task has some.
    """
    contenders, _ = find_contenders(run, labels)
    return Side(run, labels, {contender.name: contender for contender in contenders})


def compared_names(new: Side, old: Baseline, wanted: Sequence[str] | None) -> list[str]:
    """The variants to compare: those that are wanted, or all that both have and that were made for this machine.

    :raises CompressError: If one of the two lacks what is wanted, or there is nothing to compare.
    """
    for name in wanted or []:
        for where, known in ((str(new.run.folder), list(new.contenders)), (old.name, old.models)):
            if name not in known:
                raise CompressError(f"--variants {name}: {where} has none; it has {', '.join(known)}")
    if wanted:
        return list(wanted)
    both = [contender for name, contender in new.contenders.items() if name in old.models]
    models = reference_stages(new.run)
    here = [found.name for found in both if found.name not in models and found.is_for_this_machine]
    if not here:
        raise CompressError(
            f"{new.run.folder}: no variant for this machine that {old.name} has too; run `compress export`, or name "
            "what to compare with --variants"
        )
    return here


def reported(comparing: Comparing, baseline: ReportBaseline, name: str) -> list[Reported]:
    """What a report has of a model's predictions.

    :raises CompressError: If that is nothing that its task has.
    """
    task = comparing.new.run.task
    try:
        found = [task.finding_of_json(content) for content in baseline.report.predictions[name]]
        task.metrics(found, comparing.rows, comparing.data.labels)  # which names what is none of its labels
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise CompressError(
            f"{baseline.name}: predictions of {name} are not as {comparing.new.run.recipe.task} has them "
            f"({first_line(error)}); measure the baseline again"
        ) from error
    return found


def check_baseline(comparing: Comparing) -> None:
    """Refuse what cannot be compared.

    :raises CompressError: If tasks, labels, test rows or batch sizes are not the same.
    """
    new = comparing.new
    match comparing.baseline:
        case RunBaseline(name, side):
            if side.run.recipe.task != new.run.recipe.task:
                raise CompressError(f"{name}: its task is {side.run.recipe.task}, not {new.run.recipe.task}")
            if set(side.labels) != set(new.labels):
                raise CompressError(f"{name}: its labels are not those of {new.run.folder}; they cannot be compared")
        case ReportBaseline(name, report):
            if report.rows.digest != rows_digest(comparing.rows):
                raise CompressError(
                    f"{name}: measured on other test rows than those of {new.run.folder}; measure the "
                    "baseline again on the same data, or name its run directory"
                )
            if not set(new.run.recipe.bench.batch_sizes) & set(report.batch_sizes):
                raise CompressError(f"{name}: measured with other batch sizes; set bench.batch_sizes to some of its")

"""`compress certify`: what each variant loses in each language, of each label and of each label in each language.

No model runs: what the bench stage's models said of the test rows is judged as the gate judges it, against the model
that the run starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.certify.page import write_page
from bench.certify.summary import CERTIFICATE, CertificateSummary
from bench.gate.judgement import ALPHA, Chances, Limits, judged_drop
from bench.measure.rows import rows_digest
from bench.report.summary import BENCH
from compress.console import say
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.metrics.cells import LabelCell, label_cells
from compress.metrics.comparison import Pair, agreement
from compress.metrics.labels import LabelCounts, label_pairs
from compress.metrics.languages import ALL, rows_by_language
from compress.reports.bench import Report, read_report
from compress.reports.certificate import (
    Certificate,
    CertifiedCell,
    CertifiedLabel,
    CertifiedLanguage,
    CertifiedLoss,
    CertifiedVariant,
    read_certificate,
)
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.serving.format import CERTIFICATE_FILE, CERTIFICATE_PAGE
from compress.tasks.contract import Reported, Task
from compress.tasks.rows import Row
from export.bundle.trust.signature import check_signer, sign


@dataclass(frozen=True)
class Signer:
    """Who signs a certificate: a private key, and the certificates of its holder and their issuers."""

    key: Path
    certificates: Sequence[Path] = ()


@dataclass(frozen=True)
class _Answers:
    """What a model said of the test rows, and what is counted of labels."""

    said: Sequence[Reported]
    counts: LabelCounts | None


@dataclass(frozen=True)
class _Pairs:
    """A variant beside the model that the run starts from: by language, by label and by both."""

    languages: Mapping[str, Pair]
    labels: Mapping[str, Pair]
    cells: Sequence[LabelCell]
    agreement: float

    @property
    def figures(self) -> int:
        """How many losses are judged."""
        return len(self.languages) + len(self.labels) + 2 * len(self.cells)


def run_certify_stage(run: Run, limits: Limits, signer: Signer | None = None) -> Certificate:
    """Fill ``certificate/`` with ``certificate.json`` and ``certificate.md`` and, where it is signed, the signature.

    :raises CompressError: If nothing was measured as it is now.
    """
    if signer:
        check_signer(signer.key, signer.certificates)
    if reason := run.outdated(BENCH.name):
        raise CompressError(f"{run.folder}: {reason}; run `compress bench` first")
    report = read_report(run.path_of(BENCH.name) / "report.json")
    names = _measured(run, report)

    def build(folder: Path, _: Path) -> CertificateSummary:
        certificate = certificate_of(run, report, names, limits)
        (folder / CERTIFICATE_FILE).write_text(certificate.as_text(), "utf-8")
        write_page(certificate, folder / CERTIFICATE_PAGE)
        if signer:
            sign(folder, signer.key, signer.certificates)
        return CertificateSummary(verdict=certificate.verdict, variants=names, signed=bool(signer))

    inputs = {"limits": limits.model_dump(), "variants": names, "signed": bool(signer)}
    run_stage(run, CERTIFICATE, inputs, (DATA.name, BENCH.name, *names), build, always=bool(signer))
    return read_certificate(run.path_of(CERTIFICATE.name) / CERTIFICATE_FILE)


def _measured(run: Run, report: Report) -> list[str]:
    """The models of the run that were measured as they are now, but for the one that all are compared with."""
    measured_on = run.manifest.stages[BENCH.name].parents
    made = {name: model.origin for name, model in report.models.items() if name != report.original}
    own = [name for name, origin in made.items() if origin in run.manifest.stages]
    names = [name for name in own if run.is_current(name) and measured_on.get(name) == run.digest(name)]
    for name in made:
        if name not in names:
            say(f"certify: {name}: left out, it is not of this run as it is now")
    if not names:
        raise CompressError(f"{run.folder}: no variant was measured as it is now; run `compress bench` first")
    return names


def certificate_of(run: Run, report: Report, names: Sequence[str], limits: Limits) -> Certificate:
    data, task = load_data(run), run.task
    rows = list(data.splits["test"])
    if rows_digest(rows) != report.rows.digest:
        raise CompressError(f"{run.folder}: measured on other test rows than it has now; run `compress bench` again")
    languages = [row.lang for row in rows]
    answers = {name: _answers(task, report, name, rows, data.labels) for name in (report.original, *names)}
    first = answers[report.original]
    pairs = {name: _pairs(task, first, answers[name], rows, data.labels) for name in names}
    chances = Chances(below=ALPHA / sum(found.figures for found in pairs.values()), above=ALPHA)
    unlabelled = f"rows of {run.recipe.task} have no labels of a closed set: what is lost is told by language alone"
    return Certificate(
        run=run.recipe.name,
        task=run.recipe.task,
        made=report.made,
        against=report.original,
        metric=report.metrics[0],
        max_drop=limits.max_drop,
        max_label_drop=limits.max_label_drop,
        labelled=report.labelled,
        without_labels=unlabelled if first.counts is None else None,
        rows={language: languages.count(language) for language in sorted(set(languages))},
        rows_digest=report.rows.digest,
        labels=list(first.counts.names) if first.counts else [],
        versions=report.versions,
        variants={
            name: _variant(report.models[name].target, run.digest(name), found, answers[name].counts, limits, chances)
            for name, found in pairs.items()
        },
    )


def _answers(task: Task, report: Report, name: str, rows: Sequence[Row], labels: Sequence[str]) -> _Answers:
    said = [task.finding_of_json(content) for content in report.predictions[name]]
    return _Answers(said, task.label_counts(said, rows, labels))


def _pairs(task: Task, one: _Answers, other: _Answers, rows: Sequence[Row], labels: Sequence[str]) -> _Pairs:
    before, after = (next(iter(task.metrics(answers.said, rows, labels).values())) for answers in (one, other))
    languages = [row.lang for row in rows]
    groups = {name: numbers for name, numbers in rows_by_language(languages).items() if name != ALL}
    return _Pairs(
        {name: Pair(before, after, numbers) for name, numbers in groups.items()},
        label_pairs(one.counts, other.counts),
        label_cells(one.counts, other.counts, languages),
        agreement(task.agreed(one.said, other.said)),
    )


def _variant(
    target: str, digest: str, pairs: _Pairs, counts: LabelCounts | None, limits: Limits, chances: Chances
) -> CertifiedVariant:
    def loss(pair: Pair, limit: float) -> CertifiedLoss:
        found = judged_drop(limit, pair, chances)
        value, low, high = (round(end, 2) for end in (found.value, found.low, found.high))
        return CertifiedLoss(value=value, low=low, high=high, verdict=found.verdict)

    number = {name: place for place, name in enumerate(counts.names if counts else ())}

    def cell(found: LabelCell) -> CertifiedCell:
        assert counts is not None
        rows, label = found.recall.rows, number[found.label]
        return CertifiedCell(
            language=found.language,
            label=found.label,
            rows=len(rows),
            wanted=int(counts.wanted[rows, label].sum()),
            right=int(counts.right[rows, label].sum()),
            recall=loss(found.recall, limits.max_label_drop),
            f1=loss(found.f1, limits.max_label_drop),
        )

    return CertifiedVariant(
        target=target,
        digest=digest,
        agreement=pairs.agreement,
        languages=[
            CertifiedLanguage(language=name, rows=len(pair.rows), loss=loss(pair, limits.max_drop))
            for name, pair in pairs.languages.items()
        ],
        labels=[
            CertifiedLabel(label=name, rows=len(pair.rows), recall=loss(pair, limits.max_label_drop))
            for name, pair in pairs.labels.items()
        ],
        cells=[cell(found) for found in pairs.cells],
    )

"""Which variants are packed: what was measured and agrees with its parent, or what the user accepts by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.console import say
from compress.errors import CompressError
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.runtimes.predict import runtime_of
from compress.serving.format import ServedRuntime
from compress.targets import is_for_gpu
from compress.variants.files import engines_in
from compress.variants.registry import CHOSEN, VARIANTS
from export.onnx.graphs import graph_files
from export.variants.summary import VariantSummary, variant_stage

BENCH, CERTIFICATE = "bench", "certificate"
"""Stages of another package: of them the manifest, the report and the certificate are read."""


@dataclass(frozen=True)
class PackedVariant:
    """A variant to pack.

    ``summary`` is what the manifest says of its stage; ``refused`` why it would not be packed, had it not been
    accepted by name.
    """

    name: str
    runtime: ServedRuntime
    summary: VariantSummary
    measured: bool
    refused: str | None

    @property
    def target(self) -> str:
        """What it was made for."""
        return self.summary.target

    def files(self, source: Path) -> list[Path]:
        """Graphs and weights, or engines and their sidecars, in the folder of its stage."""
        engines = engines_in(source)
        return [*graph_files(source), *engines, *(path.with_suffix(".json") for path in engines)]

    @property
    def repository(self) -> str:
        """The model repository that it belongs to: those who serve on a CPU need not see what needs a GPU."""
        if self.runtime != "ONNX Runtime":
            return self.runtime.lower()
        return "cuda" if is_for_gpu(self.target) else "cpu"

    @property
    def folder(self) -> str:
        """The version folder of its model, inside of the bundle."""
        return f"models/{self.repository}/{self.name}/1"


def choose_variants(
    run: Run, report: Report | None, named: Sequence[str], accepted: Sequence[str]
) -> list[PackedVariant]:
    """The variants that the user names, or the fastest that may be packed; behind engines what they are built from.

    :param report: Of the run's bench stage, if it has been run.
    :param accepted: Packed even if they were not measured, or do not agree with their parent.
    :raises CompressError: Naming what was not measured or did not pass, and what to do.
    """
    names = list(dict.fromkeys([*named, *accepted])) or [_fastest(run, report)]
    for name in list(names):
        parent = _summary(run, name).parent
        if VARIANTS[name].is_engine and parent not in names:
            names.append(parent)
    chosen = [_examined(run, report, name) for name in names]
    for variant in chosen:
        if variant.refused and variant.name not in accepted:
            raise CompressError(
                f"{variant.name}: {variant.refused}; run `compress export` and `compress bench` where it can run, or "
                f"pack it all the same with --accept {variant.name}: the card will say so"
            )
    return chosen


def _examined(run: Run, report: Report | None, name: str) -> PackedVariant:
    summary, measured = _summary(run, name), _is_measured(run, report, name)
    reasons = []
    if summary.parity is None:
        reasons.append("not compared with its parent, which needs its GPU")
    if not measured:
        reasons.append("not measured as it is now")
    if run.task.GENERATES and VARIANTS[name].is_engine:
        reasons.append("nothing here runs engines of models that write")
    return PackedVariant(name, _runtime(run.path_of(name)), summary, measured, ", and ".join(reasons) or None)


def _summary(run: Run, name: str) -> VariantSummary:
    known = [stage for stage in run.manifest.stages if stage in VARIANTS]
    if name not in known:
        raise CompressError(
            f"--variant {name}: {run.folder} has no such variant; it has {', '.join(known) or 'none'}: run "
            "`compress export` first"
        )
    if reason := run.outdated(name):
        raise CompressError(f"{name}: {reason}; `compress export` makes it anew")
    return run.summary(variant_stage(name))


def _is_measured(run: Run, report: Report | None, name: str) -> bool:
    bench = run.manifest.stages.get(BENCH)
    return bool(report and bench and name in report.models and bench.parents.get(name) == run.digest(name))


def _fastest(run: Run, report: Report | None) -> str:
    """What a search has chosen, or the variant for this machine that takes least time for the fewest rows at once.

    A report from before the search is no evidence: it may praise what the search has rejected.
    """
    if report is None:
        raise CompressError(f"{run.folder}: nothing was measured yet; run `compress bench` first, or name a --variant")
    own = {
        name: model
        for name, model in report.models.items()
        if name in VARIANTS
        and model.origin == name
        and not model.made_for_another_target
        and run.is_current(name)
        and _examined(run, report, name).refused is None
    }
    if not own:
        raise CompressError(f"{run.folder}: no variant was measured as it is now; run `compress bench` first")
    if run.is_current(CHOSEN.name):
        if CHOSEN.name not in own:
            raise CompressError(
                f"{run.folder}: {CHOSEN.name}, which the search chose, was not measured as it is now; run "
                "`compress bench` first, or name a --variant"
            )
        return CHOSEN.name
    _tell_not_measured(run, report)
    return min(own, key=lambda name: own[name].latency[min(own[name].latency, key=int)].p50_ms)


def _tell_not_measured(run: Run, report: Report) -> None:
    """Name what could be the fastest, as far as is known."""
    left_out = {entry.what for entry in report.not_measured}
    names = [name for name in run.manifest.stages if name in VARIANTS and name not in left_out and run.is_current(name)]
    unknown = [name for name in names if not _is_measured(run, report, name)]
    if unknown:
        say(f"bundle: {', '.join(unknown)}: not measured, and so not chosen; `compress bench` measures it")


def _runtime(folder: Path) -> ServedRuntime:
    runtime = runtime_of(folder)
    if runtime == "PyTorch":
        raise CompressError(f"{folder}: its graphs are missing; delete it, and `compress export` makes it anew")
    return runtime

"""What the commands print as JSON."""

from __future__ import annotations

from export.bundle.summary import BundleSummary
from pydantic import JsonValue

from compress.contract import Contract
from compress.data.summary import DataSummary
from compress.evaluation.summary import EvaluationSummary
from compress.student.summary import StudentSummary
from compress.teacher.summary import OutputsSummary, SequencesSummary, TeacherSummary
from export.tensorrt.compile import CompiledEngine
from export.tensorrt.explain import Explanation
from export.variants.summary import VariantSummary


class DistillResult(Contract):
    """Of `compress distill`."""

    run: str
    data: DataSummary
    teacher: TeacherSummary
    sequences: SequencesSummary | None
    cache: OutputsSummary
    student: StudentSummary
    evaluation: EvaluationSummary


class ExportResult(Contract):
    """Of `compress export`."""

    run: str
    variants: dict[str, VariantSummary]


class ExplainResult(Contract):
    """Of `compress export --explain`: by name of variant and graph."""

    run: str | None
    graphs: dict[str, Explanation]


class EngineResult(Contract):
    """Of `compress export --onnx`."""

    engine: CompiledEngine


class BenchResult(Contract):
    """Of `compress bench`: the report without raw samples and predictions."""

    run: str
    bench: dict[str, JsonValue]


class RunResult(DistillResult, ExportResult, BenchResult):
    """Of `compress run`."""


class BundleResult(BundleSummary):
    """Of `compress bundle`."""

    run: str
    bundle: str
    archive: str | None

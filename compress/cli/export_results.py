"""What the commands about exported models print as JSON."""

from __future__ import annotations

from pydantic import Field

from bench.fit.report import FitReport
from compress.cli.results import BenchResult, DistillResult
from compress.contract import Contract
from compress.variants.engine import EngineSidecar
from export.bundle.summary import BundleSummary
from export.bundle.web.summary import WebSummary
from export.search.report import SearchReport
from export.tensorrt.explain import Explanation
from export.variants.summary import VariantSummary


class ExportResult(Contract):
    """Of `compress export`."""

    run: str
    variants: dict[str, VariantSummary]
    left_out: dict[str, str] = Field(
        default_factory=dict, description="why, of variants that nobody asked for and that are not good enough"
    )
    search: SearchReport | None = Field(None, description="what `--budget` found")


class ExplainResult(Contract):
    """Of `compress export --explain`: by name of variant and graph."""

    run: str | None
    graphs: dict[str, Explanation]


class BuiltEngine(EngineSidecar):
    """An engine's sidecar, and where it lies."""

    folder: str


class EngineResult(Contract):
    """Of `compress export --onnx`."""

    engine: BuiltEngine


class FitResult(FitReport):
    """Of `compress fit`."""

    run: str
    recipe: str | None = Field(description="of the chosen student, or the nearest; null: none was trained")


class RunResult(DistillResult, ExportResult, BenchResult):
    """Of `compress run`."""


class BundleResult(BundleSummary):
    """Of `compress bundle`."""

    run: str
    bundle: str
    archive: str | None


class WebResult(WebSummary):
    """Of `compress bundle --web`."""

    run: str
    web: str

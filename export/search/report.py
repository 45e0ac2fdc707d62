"""What a search found: every form that was tried, what it costs and loses, and the one that was chosen."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from compress.contract import Contract
from compress.errors import CompressError, first_problem
from compress.metrics.figures import LanguageLosses
from compress.recipe.export import CalibrationMethod
from compress.runs.files import write_json
from compress.variants.registry import VARIANTS, Variant, VariantName

_REPORT = "search.json"


class Candidate(Contract):
    """A form of the student."""

    variant: VariantName
    excluded: tuple[str, ...] = Field((), description="layers that stay in 32 bits")
    calibration: CalibrationMethod | None = Field(None, description="of static int8; null: the recipe's")

    @property
    def form(self) -> Variant:
        """The variant that it is a form of."""
        return VARIANTS[self.variant]

    @property
    def name(self) -> str:
        """For people."""
        parts: list[str] = [self.variant]
        if self.calibration:
            parts.append(self.calibration)
        if self.excluded:
            parts.append(f"{len(self.excluded)} layer{'s' if len(self.excluded) > 1 else ''} in 32 bits")
        return ", ".join(parts)


class Trial(Contract):
    """A candidate, made, timed and judged."""

    name: str = Field(description="the candidate, for people")
    candidate: Candidate
    bytes: int
    p50_ms: float = Field(description="median latency at batch 1")
    faster: float = Field(description="how many times faster than the student in 32 bits, which ran in turn with it")
    noisy: bool = Field(False, description="other work had the processor while it was timed: its speed is not sure")
    search: LanguageLosses = Field(description="against the student in 32 bits, on the rows of the search")
    confirmation: LanguageLosses = Field(description="the same on the other rows")
    frontier: bool = Field(False, description="no other trial beats it in latency, size and worst-language drop")
    chosen: bool = False

    def holds_in_search(self, points: float) -> bool:
        """Whether no language loses more than so many points on the rows of the search."""
        return 100 * self.search.worst_language_drop.value <= points

    def is_accepted(self, points: float) -> bool:
        """Whether no language loses more than so many points, on these rows and then on those that confirm."""
        return self.holds_in_search(points) and 100 * self.confirmation.worst_language_drop.value <= points


class LayerSensitivity(Contract):
    """How far the outputs move where one layer alone is quantised, in the language in which they move most."""

    layer: str = Field(description="named after its module")
    difference: float


class SearchedRows(Contract):
    """How many rows there are to search with, and to confirm with."""

    search: int
    confirmation: int


class SearchReport(Contract):
    """`search.json` of a search."""

    budget: float = Field(description="points that a language may lose")
    metric: str
    target: str
    rows: SearchedRows
    trials: list[Trial] = Field(description="the fastest first")
    sensitivity: list[LayerSensitivity] = Field(description="the most sensitive first; empty: nobody asked")

    @property
    def chosen(self) -> Trial:
        """The form that was chosen."""
        return next(trial for trial in self.trials if trial.chosen)


def write_search(report: SearchReport, folder: Path) -> None:
    """Write ``search.json`` into a folder."""
    write_json(folder / _REPORT, report.model_dump(mode="json"))


def read_search(folder: Path) -> SearchReport:
    """The report in the folder of ``onnx-chosen``.

    :raises CompressError: If it is missing or not as it must be.
    """
    path = folder / _REPORT
    again = "search again with `compress export --budget`"
    try:
        return SearchReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CompressError(f"{path}: cannot be read ({error.strerror}); {again}") from error
    except ValidationError as error:
        raise CompressError(f"{path}: not as it must be: {first_problem(error)}; {again}") from error

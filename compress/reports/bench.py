"""The bench report as JSON: its fields, their units, and its version.

`bench.schema.json` beside this file is the same as JSON Schema (``python -m compress.reports.bench`` prints it). A
report of another version is refused by those who read it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from compress.contract import Contract
from compress.errors import CompressError, first_problem
from compress.files import read_limited
from compress.metrics.figures import CellFigures, LabelFigures, ModelLosses, Quality

SCHEMA = 4
_LARGEST = 2_000_000_000  # bytes
_DISTURBED = "share of the time that went to other work, of this machine or of other guests of its host"


class Change(Contract):
    """Predictions of one class that became another."""

    before: str = Field(alias="from")
    after: str = Field(alias="to")
    rows: int
    was_right: int
    is_right: int


class Ratio(Contract):
    """A median ratio with its 95 % interval."""

    value: float
    low: float | None = Field(description="null: there are too few values for an interval")
    high: float | None


class Comparison(ModelLosses):
    """What changes from another model to this one, on the same test rows."""

    changed: list[Change] | None = Field(description="most frequent first; null where rows have no label")
    smaller: float = Field(description="size of the other model over that of this one")
    faster: dict[str, Ratio] = Field(
        description="by batch size: median ratio of the other model's time to this one's over the batches, of each the "
        "median over pairs of runs, one right after the other"
    )


class Times(Contract):
    """Of the samples, in milliseconds; percentiles are interpolated linearly."""

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float


class RowTimes(Times):
    """Latency of batches of test rows."""

    rows_per_second: float
    tokens_per_second: float | None = Field(None, description="tokens that are written")
    first_token_p50_ms: float | None = None
    disturbed: float = Field(description=_DISTURBED)


class CellTimes(Times):
    """Latency of batches in which all rows have the same number of tokens."""

    batch: int
    length: int
    rows_per_second: float
    samples_ms: list[float]
    disturbed: float = Field(description=_DISTURBED)


class TextTimes(Times):
    """Latency of single rows from their text on."""

    samples_ms: list[float]


class Texts(Contract):
    """One row at a time: the tokenizer alone, and tokenizer and model together."""

    tokenise: TextTimes
    together: TextTimes
    disturbed: float = Field(description=_DISTURBED)


class LanguageTimes(Contract):
    """One row at a time, in one language."""

    rows: int
    tokens_per_row: float
    p50_ms: float
    p99_ms: float
    mean_ms: float


class LoadPoint(Contract):
    """What happened at one rate of arrivals, in requests a second."""

    rate: float
    requests: int
    answered: int = Field(description="fewer than the requests where too many were late already")
    p50_ms: float
    p90_ms: float
    p99_ms: float
    late: int = Field(description="answers after the bound")
    mean_batch: float
    holds: bool = Field(description="at most 1 % are late")
    disturbed: float = Field(description="the same as of the latencies, of the time in which requests were worked on")


class LoadCurve(Contract):
    """Latency under a Poisson load, for one size of dynamic batches (1: none)."""

    largest_batch: int
    by_length: bool = Field(False, description="requests of like length are joined; else all that wait, in their order")
    bound_ms: float
    highest_rate: float | None = Field(description="that holds the bound; null: none that was tried")
    rates: list[LoadPoint]


class TimingWarmUp(Contract):
    """What a model needed until its times were stable."""

    runs: int
    stable: bool = Field(description="the last five runs were within 5 % of the five before")


class Memory(Contract):
    """Bytes of one start in a fresh process."""

    before: int = Field(description="needed before the model is loaded: Python, NumPy, the tokens of the test rows")
    needed: int = Field(
        description="for a run with the largest batch and length: memory of its own, and pages of files that it touches"
    )
    peak: int = Field(description="largest resident so far, after a run with the largest batch and length")
    gpu: int | None = Field(description="held on GPUs, as NVML tells")


class Size(Contract):
    """Bytes on disk, without the tokenizer."""

    total: int
    embeddings: int | None = Field(description="weights with an axis as long as the vocabulary")
    rest: int | None


class ModelReport(Contract):
    """What was measured of one model."""

    runtime: str
    target: str
    made_for_another_target: bool
    shape: str
    origin: str = Field(description="stage of the run, or the path that the user named")
    size: Size
    memory: list[Memory] = Field(description="one entry a start")
    start_up_seconds: list[float] = Field(description="loading and the first run, one entry a start")
    timing_warm_up: dict[str, TimingWarmUp] = Field(description="by batch size")
    latency: dict[str, RowTimes] = Field(description="by batch size")
    languages: dict[str, LanguageTimes] = Field(description="empty where batch size 1 was not measured")
    grid: list[CellTimes]
    texts: Texts
    load: list[LoadCurve] = Field(description="empty where it was not asked for")
    quality: Quality = Field(description="by language, and all; by metric")
    labels: dict[str, LabelFigures] = Field(description="empty where labels are no closed set")
    cells: list[CellFigures] = Field(
        default_factory=list,
        description="of each label in each language that has rows of it; empty where labels are no closed set",
    )
    calibration: dict[str, float] | None = Field(description="expected calibration error with 15 bins, by language")
    against: dict[str, Comparison] = Field(
        description="by the other model: teacher and student, or the model that is taken as it is"
    )


class BroughtReport(Contract):
    """The model that the user brought, before its vocabulary was trimmed: how much smaller others are is told against
    it. A run of it takes what one of the trimmed model takes: its layers are the same."""

    size: Size
    tokens: int = Field(description="rows of the embeddings")
    shape: str


class MachineFacts(Contract):
    """What machine was measured on, and which part of it."""

    processor: str
    system: str
    memory_bytes: int
    threads: int
    cpus: list[int] = Field(description="processors that every measuring process is kept on")
    quota: float | None = Field(
        None, description="processors' time that a container's limit granted all processes together; null: no limit"
    )
    gpus: list[str]


class NotMeasured(Contract):
    """What was left out."""

    what: str
    why: str


class Rows(Contract):
    """The test rows: how many were measured on, and which."""

    latency: int
    quality: int
    digest: str = Field(description="SHA-256 of the test rows")
    sampled: list[int] = Field(description="numbers of the test rows that latency was measured on, in their order")


class Report(Contract):
    """What `compress bench` measured."""

    version: Literal[4] = Field(4, alias="schema")
    run: str
    task: str
    made: str = Field(description="when, ISO 8601")
    machine: MachineFacts
    versions: dict[str, str]
    overrides: dict[str, JsonValue] = Field(description="recipe fields that held for this measurement alone, by path")
    rounds: int
    starts: int
    batch_sizes: list[int]
    lengths: list[int]
    metrics: list[str] = Field(description="what models are compared by comes first")
    signatures: dict[str, str] = Field(description="how sacrebleu can compute the same")
    rows: Rows
    labelled: bool = Field(True, description="false: rows have no labels, and what the model says takes their place")
    models: dict[str, ModelReport]
    brought: BroughtReport | None = Field(None, description="null: the vocabulary was not trimmed")
    reference: RowTimes = Field(description="a fixed piece of work, measured beside the models")
    not_measured: list[NotMeasured]
    samples_ms: dict[str, dict[str, list[float]]] = Field(
        description="by model (or reference) and batch size: one value a batch and round, rounds one after the other, "
        "batches in the order of the sampled rows; values at the same place belong together"
    )
    predictions: dict[str, list[Any]] = Field(description="by model, one a test row")

    @model_validator(mode="after")
    def _rows_and_samples_are_all_there(self) -> Report:
        for name, predictions in self.predictions.items():
            if len(predictions) != self.rows.quality:
                raise ValueError(f"predictions.{name} has {len(predictions)} rows, not {self.rows.quality}")
        for name, sizes in self.samples_ms.items():
            for size, samples in sizes.items():
                wanted = self.rounds * -(-self.rows.latency // int(size))
                if len(samples) != wanted:
                    raise ValueError(f"samples_ms.{name}.{size} has {len(samples)} values, not {wanted}")
        return self

    def as_text(self) -> str:
        """As it is written."""
        return self.model_dump_json(by_alias=True) + "\n"

    @property
    def references(self) -> list[str]:
        """The models that all others are compared with: teacher and student, or the model that is taken as it is."""
        return [name for name in ("teacher", "student", "model") if name in self.models]

    @property
    def original(self) -> str:
        """The first of them, which a run starts from."""
        return self.references[0]

    def times_smaller(self, name: str) -> float:
        """How many times smaller a model is than the one that the user brought."""
        first = self.brought.size if self.brought else self.models[self.original].size
        return first.total / (self.models[name].size.total or 1)

    @property
    def without_raw(self) -> dict[str, JsonValue]:
        """Without raw samples and predictions, for standard output."""
        cells = {"__all__": {"samples_ms"}}
        texts = {"tokenise": {"samples_ms"}, "together": {"samples_ms"}}
        raw = {"samples_ms": True, "predictions": True, "models": {"__all__": {"grid": cells, "texts": texts}}}
        content: dict[str, JsonValue] = self.model_dump(mode="json", by_alias=True, exclude=raw)  # type: ignore[arg-type]
        return content


def read_report(path: Path) -> Report:
    """Read a report.

    :raises CompressError: If it is no report, or of another version.
    """
    try:
        content = json.loads(read_limited(path, _LARGEST))
    except OSError as error:
        raise CompressError(
            f"{path}: cannot be read ({error.strerror}); name a report.json or a run directory"
        ) from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or "schema" not in content:
        raise CompressError(f"{path}: not a bench report; name a report.json that `compress bench` wrote")
    if content["schema"] != SCHEMA:
        raise CompressError(
            f"{path}: a report of schema {content['schema']}, this version reads {SCHEMA}; measure it again with "
            "`compress bench`"
        )
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise CompressError(f"{path}: not a bench report: {first_problem(error)}; measure it again") from error


if __name__ == "__main__":
    print(json.dumps(Report.model_json_schema(by_alias=True), indent=2))

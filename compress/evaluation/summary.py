"""What the evaluation stage returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.contract import Contract
from compress.metrics.figures import CellFigures, LabelFigures, LanguageLosses, ModelLosses, Quality
from compress.runs.manifest import Stage
from compress.student.summary import RowCounts

Seen = Literal["labels", "text", "nothing"]
"""What training saw of a language: its labels, its text alone, or nothing of it (zero-shot)."""


class StoredVectors(Contract):
    """What is found where an index keeps vectors in another form than 32 bits."""

    bytes: int = Field(description="of a vector")
    quality: Quality
    losses: LanguageLosses = Field(description="against 32 bits")


class EvaluationSummary(Contract):
    """Teacher against student on the test split, or a model that is taken as it is, language by language."""

    split: Literal["test"] = "test"
    metrics: list[str] = Field(description="what models are compared by comes first")
    signatures: dict[str, str] = Field(description="how sacrebleu can compute the same")
    rows: dict[str, int] = Field(description="by language, and all")
    rows_of_teacher: dict[str, int] | None = Field(
        None, description="of these, such as the file has that stands in for the teacher; null: it was asked about all"
    )
    seen_in_training: dict[str, Seen]
    student_rows: RowCounts | None
    models: dict[str, Quality]
    labels: dict[str, dict[str, LabelFigures]] = Field(description="by model and label")
    cells: dict[str, list[CellFigures]] = Field(
        default_factory=dict, description="by model: of each label in each language that has rows of it"
    )
    student_against_teacher: ModelLosses | None = Field(description="null: there is no student, or no teacher's answer")
    index: dict[str, StoredVectors] = Field(
        default_factory=dict,
        description="by form, of the student, or the model as it is; empty where there are no vectors",
    )
    teacher_against_untrimmed: ModelLosses | None = Field(
        None,
        description="what trimming the vocabulary has cost; null: none was trimmed, or it was trained since",
    )


EVALUATION = Stage("evaluation", EvaluationSummary)

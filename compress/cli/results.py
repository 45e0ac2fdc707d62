"""What the commands print as JSON: those that need nothing of export."""

from __future__ import annotations

from pydantic import Field, JsonValue

from compress.contract import Contract
from compress.data.summary import DataSummary
from compress.evaluation.summary import EvaluationSummary
from compress.models.vocabulary.summary import TrimmingSummary
from compress.student.summary import StudentSummary
from compress.tasks.registry import TaskName
from compress.teacher.summary import (
    AugmentationSummary,
    OutputsSummary,
    PredictionsSummary,
    SequencesSummary,
    TeacherSummary,
)


class DistillResult(Contract):
    """Of `compress distill`; of a model that is taken as it is, `teacher` tells what it is, and of one that gives a
    student its first weights alone."""

    run: str
    data: DataSummary
    predictions: PredictionsSummary | None = Field(None, description="null: no file has the teacher's")
    teacher: TeacherSummary
    sequences: SequencesSummary | None = None
    augmented: AugmentationSummary | None = Field(None, description="null: there are no copies")
    cache: OutputsSummary | None = Field(None, description="null: there is no student")
    student: StudentSummary | None = Field(None, description="null: the model is taken as it is")
    evaluation: EvaluationSummary


class TrimResult(TrimmingSummary):
    """Of `compress trim`."""

    output: str


class BenchResult(Contract):
    """Of `compress bench`: the report without raw samples and predictions."""

    run: str
    bench: dict[str, JsonValue]


class Said(Contract):
    """What a model says of one text: a label, labels of words, an answer or a translation."""

    text: JsonValue
    text_pair: str | None = None
    languages: str | None = None
    prediction: JsonValue
    probabilities: dict[str, float] | None = None


class ServeResult(Contract):
    """Of `compress serve`, when it has ended."""

    bundle: str
    model: str
    url: str
    requests: dict[int, int] = Field(description="how many were answered, by HTTP status")


class PredictResult(Contract):
    """Of `compress predict`."""

    model: str
    task: TaskName
    answers: list[Said]

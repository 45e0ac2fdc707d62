"""What the stages of the teacher return."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.models.describe import BroughtModel, ModelSummary
from compress.models.intake import Intake
from compress.models.vocabulary.summary import TrimmingSummary
from compress.runs.directory import Run
from compress.runs.manifest import Stage
from compress.training.summary import TrainingSummary


class TeacherSummary(ModelSummary):
    """The teacher: its shape, what it was let in by, what was trimmed, and how it was trained."""

    intake: Intake | None = Field(None, description="null: made from scratch")
    vocabulary: TrimmingSummary | None = None
    brought: BroughtModel | None = Field(
        None, description="what the user brought, where its vocabulary was trimmed: others are compared with its size"
    )
    training: TrainingSummary | None = Field(None, description="null: taken as it is")


class OutputsSummary(Contract):
    """The cached outputs of the teacher."""

    store: str = Field(description="their folder in the store beside the runs")
    examples: int
    bytes: int
    shards: int


class PredictionsSummary(Contract):
    """What a file says of the rows in place of a teacher; rows are those that the student may learn from."""

    read: int = Field(description="different texts in the file")
    unused: int = Field(description="of these, such as no row has")
    rows: dict[str, int] = Field(description="training rows by language")
    missing: dict[str, int] = Field(description="of these, left out as the file lacks them")
    test_rows: int = Field(description="test rows that the file has")


class AugmentationSummary(Contract):
    """Copies of the training rows, whose labels the teacher tells."""

    rows: int
    copies: int


class SequencesSummary(Contract):
    """The teacher's own translations of the training rows."""

    rows: int
    dropped_empty: int = Field(description="rows that it translated by nothing")


TEACHER = Stage("teacher", TeacherSummary)
MODEL = Stage("model", TeacherSummary)
"""In place of teacher and student, where a model is exported as it is."""
INITIAL = Stage("initial", TeacherSummary)
"""In place of the teacher, where a file has its predictions: what the student takes its tokenizer and first weights
from. It is never asked."""

CACHE = Stage("cache", OutputsSummary)
SEQUENCES = Stage("sequences", SequencesSummary)
AUGMENTED = Stage("augmented", AugmentationSummary)
PREDICTIONS = Stage("predictions", PredictionsSummary)


def source_stage(run: Run) -> Stage[TeacherSummary]:
    """The stage of the model that the recipe's section on the teacher describes."""
    if run.recipe.student.kind == "as-is":
        return MODEL
    return INITIAL if run.recipe.teacher.predictions else TEACHER

"""What the stages of the teacher return."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.models.describe import ModelSummary
from compress.models.intake import Intake
from compress.models.vocabulary.summary import TrimmingSummary
from compress.runs.directory import Run
from compress.runs.manifest import Stage
from compress.training.summary import TrainingSummary


class TeacherSummary(ModelSummary):
    """The teacher: its shape, what it was let in by, what was trimmed, and how it was trained."""

    intake: Intake | None = Field(None, description="null: made from scratch")
    vocabulary: TrimmingSummary | None = None
    training: TrainingSummary | None = Field(None, description="null: taken as it is")


class OutputsSummary(Contract):
    """The cached outputs of the teacher."""

    store: str = Field(description="their folder in the store beside the runs")
    examples: int
    bytes: int
    shards: int


class SequencesSummary(Contract):
    """The teacher's own translations of the training rows."""

    rows: int
    dropped_empty: int = Field(description="rows that it translated by nothing")


TEACHER = Stage("teacher", TeacherSummary)
MODEL = Stage("model", TeacherSummary)
"""In place of teacher and student, where a model is exported as it is."""

CACHE = Stage("cache", OutputsSummary)
SEQUENCES = Stage("sequences", SequencesSummary)


def original_stage(run: Run) -> Stage[TeacherSummary]:
    """The stage of the model that a run starts from, and that all others are compared with."""
    return MODEL if run.recipe.student.kind == "as-is" else TEACHER

"""What the student stage returns."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.models.describe import ModelSummary
from compress.models.vocabulary.summary import TrimmingSummary
from compress.runs.directory import Run
from compress.runs.manifest import Stage
from compress.teacher.summary import MODEL, source_stage
from compress.training.summary import TrainingSummary


class RowCounts(Contract):
    """Rows that the student learned from, and why others were left out."""

    rows: int
    without_parallel: int = Field(0, description="left out: no parallel sentence in the pivot language")
    labelled_by_teacher: int = 0
    not_shared_by_teacher: int = Field(0, description="their labels are not what the teacher predicts")
    dropped_as_unsure: int = 0
    dropped_as_disagreeing: int = 0
    kept: int
    mean_weight: float = 1.0

    @property
    def told(self) -> str:
        """For people, what is nothing left out."""
        counts = {
            "rows": self.rows,
            "without a parallel sentence": self.without_parallel,
            "labelled by the teacher": self.labelled_by_teacher,
            "labels that the teacher does not share": self.not_shared_by_teacher,
            "dropped as unsure": self.dropped_as_unsure,
            "dropped as disagreeing": self.dropped_as_disagreeing,
            "kept": self.kept,
        }
        return ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)


class SeedResult(Contract):
    """One of several students."""

    seed: int
    best: float = Field(description="its best epoch, by what the training's metric is, on the validation rows")


class StudentSummary(ModelSummary):
    """The student: its shape, its rows, and how it was trained."""

    rows: RowCounts
    vocabulary: TrimmingSummary | None = Field(None, description="null: it has the teacher's tokens, or its own")
    training: TrainingSummary
    language_weights: dict[str, float] | None = Field(None, description="of group DRO at the end")
    seeds: list[SeedResult] = Field(default_factory=list, description="of several students; empty: there was one")
    seed: int | None = Field(None, description="of these, whose student this is")


STUDENT = Stage("student", StudentSummary)


def exported_name(run: Run) -> str:
    """The stage of the model that is exported: the student or, without one, the model that is taken as it is."""
    return STUDENT.name if run.recipe.student.is_learnt else MODEL.name


def exported_summary(run: Run) -> ModelSummary:
    """What that model is."""
    return run.summary(STUDENT) if run.recipe.student.is_learnt else run.summary(MODEL)


def original_name(run: Run) -> str:
    """The stage of the model that a run starts from, and that all others are compared with: the student itself, where a
    file has the predictions of its teacher."""
    return STUDENT.name if run.recipe.teacher.predictions else source_stage(run).name


def original_summary(run: Run) -> ModelSummary:
    """What that model is."""
    return run.summary(STUDENT) if run.recipe.teacher.predictions else run.summary(source_stage(run))


def reference_stages(run: Run) -> list[str]:
    """The stages of the models that all others are compared with: teacher and student, or the one that there is."""
    return list(dict.fromkeys((original_name(run), exported_name(run))))

"""The recipe: everything a run depends on, in one YAML file. Every field has a default: an empty recipe is the demo."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from compress.errors import CompressError
from compress.recipe.bench import Bench
from compress.recipe.bundle import Bundle
from compress.recipe.data import Data, check_prefix
from compress.recipe.evaluation import Evaluation, Generation
from compress.recipe.export import Export
from compress.recipe.rules import idle_in, refused_by
from compress.recipe.section import Section
from compress.recipe.student import Student
from compress.recipe.teacher import Teacher
from compress.tasks.registry import TaskName, task_named


class Recipe(Section):
    """Everything a run depends on."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = Field(
        "demo", description="of the run and its folder"
    )
    task: TaskName = Field("text-classification", description="what the models do")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="fixes everything that is drawn at random")
    data: Data = Data()
    teacher: Teacher = Teacher()
    student: Student = Student()
    generation: Generation = Generation()
    evaluation: Evaluation = Evaluation()
    export: Export = Export()
    bench: Bench = Bench()
    bundle: Bundle = Bundle()

    @property
    def trains(self) -> bool:
        """Whether a model is trained: a student, or the one that the run starts from."""
        return self.student.is_learnt or self.teacher.is_trained

    @property
    def keeps_all_tokens(self) -> bool:
        """Whether teacher and student have all tokens that are theirs."""
        return not (self.teacher.vocabulary.trim or self.student.vocabulary_size)

    @field_validator("name")
    @classmethod
    def _name_is_a_run_s_own(cls, name: str) -> str:
        if name.lower() == "latest":
            raise ValueError("'latest' is the link to the newest run; choose another name")
        return name

    @model_validator(mode="after")
    def _measured_lengths_can_be_read(self) -> Recipe:
        longest = max(self.bench.lengths or [0])
        if longest > self.data.max_length:
            raise ValueError(f"bench.lengths: {longest} is more than data.max_length {self.data.max_length}")
        return self

    @model_validator(mode="after")
    def _graphs_are_in_full_precision(self) -> Recipe:
        if self.student.kind == "as-is" and self.teacher.dtype != "float32":
            raise ValueError(
                "teacher.dtype is for the teacher of a student; what is exported as it is begins in float32, and "
                "export.variants names other precisions; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _labels_are_named_for_a_teacher_that_has_some(self) -> Recipe:
        if self.data.label_names and (self.teacher.model is None or self.teacher.fine_tune):
            raise ValueError("data.label_names is for a teacher that is taken as it is (teacher.fine_tune: false)")
        return self

    @model_validator(mode="after")
    def _a_file_says_labels_alone(self) -> Recipe:
        student = self.student
        asked = [f"distillation.{name}" for name in student.distillation.model_signals]
        pruned = student.initialization in ("importance", "svd")
        asked += [f"initialization: {student.initialization}"] if pruned else []
        asked += ["augmentation.copies"] if student.augmentation.copies else []
        asked += ["cache.compute: bf16"] if student.cache.compute == "bf16" else []
        asked += ["kind: as-is"] if student.kind == "as-is" else []
        if self.teacher.predictions and asked:
            raise ValueError(f"student.{asked[0]} asks a model, and teacher.predictions is a file; leave one out")
        return self

    @model_validator(mode="after")
    def _a_head_that_is_trained_can_read_otherwise(self) -> Recipe:
        teacher = self.teacher
        if task_named(self.task).VECTORS or teacher.pooling is None:
            return self
        if not (teacher.model and teacher.fine_tune):
            raise ValueError("teacher.pooling is for a model that is fine-tuned; leave it out")
        if teacher.read_by_classifiers is None:
            raise ValueError("teacher.pooling: a classifier reads the first token or the mean of all: first, or mean")
        return self

    @model_validator(mode="after")
    def _models_that_give_vectors_are_there_already(self) -> Recipe:
        if not task_named(self.task).VECTORS:
            return self
        teacher, fields = self.teacher, self.data.fields
        if teacher.model is None or teacher.fine_tune:
            raise ValueError(
                f"the task {self.task} takes a model as it is: name teacher.model, and set teacher.fine_tune: false"
            )
        learnt = self.student.distillation.vectors
        if self.student.is_learnt and not any(learnt.weights.values()):
            raise ValueError(
                f"student.distillation.vectors: the student learns nothing where {', '.join(learnt.weights)} are 0"
            )
        if learnt.projection == "principal-components" and not (fields.text_pair or fields.parallel):
            raise ValueError(
                "student.distillation.vectors.projection: vectors of another length than the teacher's are measured by "
                "what they find: name data.fields.text_pair or data.fields.parallel, or leave it at dense"
            )
        if fields.label and not fields.text_pair:
            raise ValueError(
                "data.fields.label says how alike the two texts of a pair are; name the second in data.fields.text_pair"
            )
        return self

    @model_validator(mode="after")
    def _the_task_has_a_use_for_it(self) -> Recipe:
        task = task_named(self.task)
        if self.data.source == "cldr" and not self.data.train and not task.BUILT_IN:
            raise ValueError(f"data.source: the built-in data has no rows for {self.task}; name a file or folder")
        check_prefix(self.data.prefix, translates=task.GENERATES)
        refused = refused_by(self, self.task, task) or idle_in(self, task)
        if refused:
            raise ValueError(refused)
        return self


def check_plain_text(recipe: Recipe) -> None:
    """Refuse plain text that has nothing to say. A fit, which looks for vocabularies itself, may be given it.

    :raises CompressError: If all tokens are kept.
    """
    if recipe.data.plain_text and recipe.keeps_all_tokens:
        raise CompressError(
            "data.plain_text says which tokens are kept, and all are: set teacher.vocabulary.trim or "
            "student.vocabulary_size, or leave it out"
        )

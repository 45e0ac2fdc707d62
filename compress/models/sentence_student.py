"""The head of a student that gives vectors: its teacher's, with what brings a narrower student's vectors there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import CompressError
from compress.models.sentence_folder import SentenceHead, SentenceModule

if TYPE_CHECKING:
    from compress.models.sentence import SentenceEncoder
    from compress.recipe.student import Student, VectorSignal


def head_of_student(head: SentenceHead, width: int, student_width: int, settings: VectorSignal) -> SentenceHead:
    """What follows the transformer of a student.

    :param head: The teacher's.
    :param width: Of the teacher's transformer.
    :raises CompressError: If vectors cannot be as the recipe has them.
    """
    pooling, rest = head.modules[:1], head.modules[1:]
    own, wanted = (SentenceHead(modules=pooling).dimensions(one) for one in (student_width, width))
    modules = [*pooling, *rest]
    if settings.projection == "principal-components":
        modules = [*pooling, *([SentenceModule(kind="Normalize")] if head.normalizes else [])]
    elif own != wanted:
        modules = [*pooling, SentenceModule(kind="Dense", width=own, out=wanted, bias=True), *rest]
    found = head.model_copy(update={"modules": modules})
    _check_dimensions(found.dimensions(student_width), head.dimensions(width), settings)
    return found


def static_head(head: SentenceHead, width: int, student: Student) -> SentenceHead:
    """What follows the token vectors of a static student: their mean, at length one.

    :param head: The teacher's.
    :param width: Of the teacher's transformer.
    :raises CompressError: If its vectors are not as long as they are to be.
    """
    settings, wanted = student.distillation.vectors, head.dimensions(width)
    if settings.projection == "dense" and student.hidden_size != wanted:
        raise CompressError(
            f"student.hidden_size: a static student's vectors have {student.hidden_size} numbers, its teacher's "
            f"{wanted}; set student.distillation.vectors.projection: principal-components, or make them as long"
        )
    modules = [SentenceModule(kind="Pooling", modes=["mean"]), SentenceModule(kind="Normalize")]
    found = head.model_copy(update={"modules": modules})
    _check_dimensions(student.hidden_size, wanted, settings)
    return found


def _check_dimensions(own: int, teacher: int, settings: VectorSignal) -> None:
    if settings.projection == "principal-components" and own > teacher:
        raise CompressError(
            f"student.distillation.vectors.projection: the student's {own} numbers are more than the {teacher} of the "
            "teacher's vectors; lower hidden_size, or leave it at dense"
        )
    longest = max(settings.dimensions, default=0)
    if longest > own:
        raise CompressError(
            f"student.distillation.vectors.dimensions: {longest} are more than the {own} of the student's vectors"
        )


def copy_head(teacher: SentenceEncoder, student: SentenceEncoder) -> None:
    """Give a student the weights of the modules that it shares with its teacher, which come last."""
    pairs = zip(reversed(list(teacher.head)), reversed(list(student.head)), strict=False)
    for theirs, own in pairs:
        shapes = [{name: value.shape for name, value in module.state_dict().items()} for module in (theirs, own)]
        if type(theirs) is not type(own) or shapes[0] != shapes[1]:
            break
        own.load_state_dict(theirs.state_dict())

"""Rules on what in a recipe has no effect: for its task, or beside another of its fields."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from compress.tasks.contract import Task

_NEEDED: Mapping[str, str] = {
    "data.negatives.by": "data.negatives.per_query",
    "student.augmentation.kinds": "student.augmentation.copies",
    "student.distillation.hidden.layers": "student.distillation.hidden.weight",
    "student.distillation.attention.layers": "student.distillation.attention.weight",
    "student.distillation.relations.layer": "student.distillation.relations.weight",
    "student.distillation.relations.heads": "student.distillation.relations.weight",
    "student.distillation.sequences.beams": "student.distillation.sequences.enabled",
    "student.distillation.vectors.temperature": "student.distillation.vectors.similarities",
    **{
        f"teacher.vocabulary.{name}": "teacher.vocabulary.trim"
        for name in ("minimum_count", "coverage", "tokens", "fill", "keep", "max_loss")
    },
}
"""Fields that say how, by those that say whether; those that an option of a later command switches on have none."""
_TEMPERATURES = ("student.distillation.temperature", "student.distillation.final_temperature")


def refused_by(recipe: BaseModel, name: str, task: Task) -> str | None:
    """The first thing in a recipe that its task has no use for, in words; none where there is none.

    :param name: Of the task.
    """
    for rule, whose in task.REFUSED_FIELDS.items():
        field, _, value = rule.partition("=")
        given, default = _field(recipe, field), _field(type(recipe).model_construct(), field)
        named = given == value or (isinstance(given, list) and value in given)
        if named if value else given != default:
            what = f"{field}: {value}" if value else field
            return f"{what} is for {whose}, the task is {name}; leave it out"
    return None


def idle_in(recipe: BaseModel, task: Task) -> str | None:
    """The first field of a recipe that says how something is done which is not done, in words; none where there is
    none."""
    usual = type(recipe).model_construct()
    for field, needed in _NEEDED.items():
        if _field(recipe, field) != _field(usual, field) and not _field(recipe, needed):
            off = str(_field(recipe, needed)).lower()
            return f"{field} has no effect where {needed} is {off}; leave it out, or set {needed}"
    ranking = _field(recipe, "student.distillation.ranking")
    for field in _TEMPERATURES if task.RANKS and ranking != "lists" else ():
        if _field(recipe, field) != _field(usual, field):
            return f"{field} is for student.distillation.ranking: lists, and it is {ranking}; leave it out"
    return None


def _field(section: BaseModel, dotted: str) -> object:
    found: object = section
    for part in dotted.split("."):
        found = getattr(found, part)
    return found

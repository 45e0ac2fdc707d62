"""Rules that a task makes for a recipe."""

from __future__ import annotations

from pydantic import BaseModel

from compress.tasks.contract import Task


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


def _field(section: BaseModel, dotted: str) -> object:
    found: object = section
    for part in dotted.split("."):
        found = getattr(found, part)
    return found

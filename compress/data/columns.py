"""From the user's fields to a row: which columns a task reads, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from compress.errors import CompressError
from compress.metrics.languages import ALL
from compress.recipe.data import Fields
from compress.tasks.contract import Task
from compress.tasks.rows import Row, name_in

NO_LANGUAGE = "und"  # BCP 47: undetermined


class Mark(Enum):
    """What stands in a field in place of a value."""

    WITHOUT_LABEL = -1  # as data sets of the hub number it


def columns_of(task: Task, fields: Fields, *, labelled: bool) -> dict[str, str]:
    """Names of the fields that a row must have, by role: the recipe's, else the task's."""
    given = {role: name for role, name in fields.model_dump().items() if name}
    roles = [*task.FIELDS, *(["text_pair"] if "text_pair" in given and "text_pair" not in task.FIELDS else [])]
    roles += ["lang"] if "lang" in given and "source_lang" not in roles else []
    roles += ["label"] if "label" in given and "label" not in roles else []
    roles += ["parallel"] if "parallel" in given else []
    return {role: given.get(role) or task.FIELDS[role] for role in roles if labelled or role != "label"}


def row_of(task: Task, place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row | None:
    """One of the user's rows as ours; none where the data set says that it has no label.

    :param place: Where it stands, for messages.
    :param columns: Names of its fields, by role.
    :raises CompressError: Naming the row, the field, and what is wrong with it.
    """
    if "label" in columns and content.get(columns["label"]) is Mark.WITHOUT_LABEL:
        return None
    row = task.read_row(place, content, columns)
    row = replace(
        row,
        lang=row.lang or (name_in(place, content, columns, "lang") if "lang" in columns else NO_LANGUAGE),
        parallel=name_in(place, content, columns, "parallel") if "parallel" in columns else None,
    )
    if row.lang == ALL:
        raise CompressError(f"{place}: a language cannot be called '{ALL}', which stands for all of them; rename it")
    return row

"""The recipe of a model that is exported as it is, by what the model itself tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compress.cli.options import Overrides
from compress.console import say

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe

_LONGEST_NAME = 100
_OF_VECTORS = ("teacher.pooling", "teacher.embedding")
"""Fields that some tasks alone have a use for."""


def fields_of_model(model: str, data: str, wanted: Mapping[str, object]) -> Overrides:
    """Fields of the recipe of a model that is exported as it is.

    :param model: Its folder or hub id.
    :param data: Rows that say what it is for.
    :param wanted: Fields that the user named: what they say is not looked for.
    :raises CompressError: If it is no model, or does not tell what it is for.
    """
    from compress.models.load import load_config
    from compress.models.source import fetch
    from compress.models.taken import readable_tokens, task_of
    from compress.recipe.file import load_recipe
    from compress.tasks.registry import task_called

    fields: Overrides = {
        "name": _run_name(model),
        "data.source": data,
        "teacher.model": model,
        "teacher.fine_tune": False,
        "student.kind": "as-is",
    }
    named = {field: value for field, value in wanted.items() if field.startswith("teacher.")}
    opening = {field: value for field, value in named.items() if not field.startswith(_OF_VECTORS)}
    teacher = load_recipe(None, {**fields, **opening}).teacher
    named_task = wanted.get("task")
    task = (
        task_called(str(named_task))
        if named_task
        else task_of(fetch(teacher), load_config(fetch(teacher), teacher.trust_remote_code))
    )
    fields["task"] = task
    teacher = load_recipe(None, {**fields, **named}).teacher
    if "data.max_length" not in wanted:
        fields["data.max_length"] = readable_tokens(task, teacher)
    say(f"export: {model}: {task}, up to {wanted.get('data.max_length') or fields['data.max_length']} tokens of a row")
    return fields


def with_what_the_model_says(recipe: Recipe) -> Recipe:
    """A recipe with the prompts of its model, and how its vectors are compared, where it does not say them itself.

    :raises CompressError: If the model does not tell how token vectors become one, or as something that is not known.
    """
    from compress.models.load import load_config
    from compress.models.sentence_folder import read_head
    from compress.models.source import fetch
    from compress.tasks.registry import task_named

    teacher, data = recipe.teacher, recipe.data
    if not task_named(recipe.task).VECTORS:
        return recipe
    source = fetch(teacher)
    head = read_head(source, teacher, load_config(source, teacher.trust_remote_code))
    if data.prompts is None:
        told: dict[str, object] = {"prompts": head.prompts}
        told["default_prompt"] = head.default_prompt if head.default_prompt in head.prompts else None
        data = data.model_copy(update=told)
    if data.prompts and data.default_prompt is None and not data.fields.text_pair:
        named = ", ".join(data.prompts)
        say(f"data: of the prompts {named} none stands before the texts; data.default_prompt names one")
    embedding = teacher.embedding.model_copy(update={"similarity": teacher.embedding.similarity or head.similarity})
    return recipe.model_copy(update={"data": data, "teacher": teacher.model_copy(update={"embedding": embedding})})


def _run_name(model: str) -> str:
    """The last part of a model's folder or hub id, as a run may be called; in the hub's cache the id's."""
    path = Path(model).resolve() if Path(model).is_dir() else Path(model)
    last = path.parent.parent.name.rpartition("--")[2] if path.parent.name == "snapshots" else path.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last)
    return name.lstrip("._-")[:_LONGEST_NAME] or "model"

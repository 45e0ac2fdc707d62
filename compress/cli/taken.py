"""The recipe of a model that is exported as it is, by what the model itself tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from compress.cli.options import Overrides
from compress.console import say

_LONGEST_NAME = 100


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
    teacher = load_recipe(None, {**fields, **named}).teacher
    named_task = wanted.get("task")
    task = (
        task_called(str(named_task))
        if named_task
        else task_of(model, load_config(fetch(teacher), teacher.trust_remote_code))
    )
    fields["task"] = task
    if "data.max_length" not in wanted:
        fields["data.max_length"] = readable_tokens(task, teacher)
    say(f"export: {model}: {task}, up to {wanted.get('data.max_length') or fields['data.max_length']} tokens of a row")
    return fields


def _run_name(model: str) -> str:
    """The last part of a model's folder or hub id, as a run may be called."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).resolve().name if Path(model).is_dir() else Path(model).name)
    return name.lstrip("._-")[:_LONGEST_NAME] or "model"

"""Reading and writing recipe files; what is wrong in one is told by the path of its field."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from compress.errors import CompressError
from compress.recipe.parsing import parse_yaml
from compress.recipe.recipe import Recipe

Content = dict[str, object]
"""What YAML holds, before it is validated."""

_LARGEST = 10_000_000  # bytes
_MOST_TOLD = 10
_SECRET = ("teacher.token",)  # where somebody may have written what nobody else is to read
RENAMED = {
    "evaluation.yardstick": "evaluation.baseline",
    "student.training.warmup": "student.training.learning_rate_warmup",
    "teacher.scratch.warm_up": "teacher.scratch.pretraining",
    "teacher.scratch.pretraining.warmup": "teacher.scratch.pretraining.learning_rate_warmup",
    "teacher.training.warmup": "teacher.training.learning_rate_warmup",
}
"""Fields by their earlier names."""


def load_recipe(path: Path | None, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read and validate a recipe.

    :param path: YAML file; none for the defaults.
    :param overrides: Dotted field names with values that replace the file's, for example ``{"student.layers": 3}``.
    :return: The resolved recipe.
    :raises CompressError: With the file, the field's path and the nearest valid name.
    """
    place = str(path) if path else "recipe"
    content = _read_yaml(path) if path else {}
    for dotted, value in (overrides or {}).items():
        _set(content, dotted, value)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = [_explained(problem) for problem in error.errors()]
        more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
        secret = any(_place_of(problem) in _SECRET for problem in error.errors())
        raise CompressError(f"{place}: " + "; ".join(problems[:_MOST_TOLD]) + more) from (None if secret else error)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, every field named."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), "utf-8")


def _read_yaml(path: Path) -> Content:
    if path.exists() and (not path.is_file() or path.stat().st_size > _LARGEST):
        raise CompressError(f"{path}: not a recipe but a folder, a pipe or a device, or more than {_LARGEST:,} bytes")
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise CompressError(f"{path}: no such recipe; name an existing YAML file") from error
    except (OSError, ValueError) as error:
        raise CompressError(f"{path}: cannot be read as a recipe ({error})") from error
    content = parse_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CompressError(f"{path}: a recipe is a mapping of fields, got {type(content).__name__}")
    return content


def _set(content: Content, dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        below = content.get(parent)
        inner: Content = dict(below) if isinstance(below, dict) else {}  # an alias may have it elsewhere too
        content[parent] = inner
        content = inner
    content[last] = value


def _explained(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    where, value = _place_of(problem), problem["input"]
    if problem["type"] == "string_type" and value is not None and not isinstance(value, list):
        read = "a mapping" if isinstance(value, dict) else f"{value!r:.60}"
        return f"{where}: must be text, and YAML reads {read} here; put it in quotes"
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        untold = isinstance(value, dict) or where in _SECRET  # a section: too long
        given = "" if untold else f" (got {value!r:.60})"
        return f"{where}: {message}{given}" if where else message
    if where in RENAMED:
        return f"{where}: is called {RENAMED[where]} now; rename it"
    names = list(_section_at(location[:-1]).model_fields)
    near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"valid here: {', '.join(names)}"
    return f"{where}: unknown field; {hint}"


def _place_of(problem: Any) -> str:
    return f"{'.'.join(map(str, problem['loc'])):.100}"


def _section_at(location: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Recipe
    for part in location:
        if not part.isdigit():
            section = next(_sections_in(section.model_fields[part].annotation))
    return section


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)

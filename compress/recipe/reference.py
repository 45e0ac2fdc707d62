"""The recipe's reference, written from its models: a commented recipe, a JSON Schema, a page of the documentation.

What is said of a field is its description; of a section, its docstring. A field that is added, renamed or bounded in
another way is so here at once.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from compress.recipe.recipe import Recipe

_WIDTH = 100
_NAMES: Mapping[object, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    NoneType: "null",
}


@dataclass(frozen=True)
class _Field:
    """A field of a recipe, as people are told of it.

    ``section`` is the model of the fields that it holds, if it holds any; ``given`` are these fields' values where the
    recipe has them by default, else the section is left out by default, or the entry of a list.
    """

    path: str
    name: str
    meaning: str
    kind: str
    default: JsonValue
    section: type[BaseModel] | None
    given: BaseModel | None
    is_list: bool


def commented_recipe(model: type[BaseModel] = Recipe) -> str:
    """YAML with every field and its default, each with a comment; loaded, it is the default recipe."""
    recipe = model()
    head = _comment(_docstring(model), "Every field with its default; a recipe names only what is its own.")
    spelled_out = {field.section: field.path for field in reversed([*_all_fields(model, recipe)]) if field.given}
    return "\n".join([*head, "", *_yaml_lines(model, recipe, "", spelled_out), ""])


def recipe_schema(model: type[BaseModel] = Recipe) -> str:
    """JSON Schema (draft 2020-12) of a recipe file, for editors and other programs."""
    schema = model.model_json_schema(schema_generator=_SchemaOfFiles)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "title": "Recipe of compress"}
    return (
        json.dumps(
            {**head, **{key: value for key, value in schema.items() if key != "title"}}, indent=2, ensure_ascii=False
        )
        + "\n"
    )


def reference_page(model: type[BaseModel] = Recipe) -> str:
    """Markdown: a heading for each section, and a table of its fields."""
    head = ["## The recipe", "", *([_docstring(model), ""] if model.__doc__ else [])]
    return "\n".join([*head, *_page_lines(model, model())]).strip() + "\n"


def field_paths(model: type[BaseModel] = Recipe) -> list[str]:
    """Dotted names of all fields and sections, as ``--set`` takes them."""
    return [field.path for field in _all_fields(model, model()) if "[]" not in field.path]


class _SchemaOfFiles(GenerateJsonSchema):
    """Without titles that only say a field's name again."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def _fields_of(model: type[BaseModel], values: BaseModel | None, path: str) -> Iterator[_Field]:
    """The fields of a section, in their order.

    :param values: What they are by default; none for the model's own defaults.
    """
    dumped: Mapping[str, JsonValue] = values.model_dump(mode="json") if values else {}
    for name, info in model.model_fields.items():
        value = getattr(values, name) if values else _own_default(info)
        default = dumped[name] if values else _as_json(value)
        section = _section_in(info.annotation)
        is_list = section is not None and _is_list(info.annotation)
        given = value if isinstance(value, BaseModel) else None
        kind, meaning = _kind(info.annotation, info.metadata), (info.description or "").strip()
        yield _Field(f"{path}{name}", name, meaning, kind, default, section, given, is_list)


def _all_fields(model: type[BaseModel], values: BaseModel | None, path: str = "") -> Iterator[_Field]:
    """The fields of a section and of all sections in it, depth first."""
    for field in _fields_of(model, values, path):
        yield field
        if field.section:
            yield from _all_fields(field.section, field.given, _inside(field))


def _inside(field: _Field) -> str:
    return f"{field.path}[]." if field.is_list else f"{field.path}."


def _own_default(info: FieldInfo) -> object:
    """A field's default; nothing where it has to be given."""
    return None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})


def _as_json(value: object) -> JsonValue:
    if isinstance(value, BaseModel):
        dumped: JsonValue = value.model_dump(mode="json")
        return dumped
    if isinstance(value, Mapping):
        return {str(key): _as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(part) for part in value]
    return value if isinstance(value, bool | int | float | None) else str(value)


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) in (list, tuple, Sequence) or any(map(_is_list, get_args(annotation)))


def _docstring(model: type[BaseModel]) -> str:
    text = inspect.cleandoc(model.__doc__ or "")
    return " ".join(text.replace("``", "`").split())


def _given_in_part(field: _Field) -> str:
    """What a section's fields are where only some of them are given, if that is not what they are by default."""
    if field.section is None or field.given is None:
        return ""
    infos = field.section.model_fields
    needed = [name for name, info in infos.items() if info.is_required()]
    own = {name: _own_default(info) for name, info in infos.items() if name not in needed}
    others = [f"{name} {_flow(_as_json(value))}" for name, value in own.items() if value != getattr(field.given, name)]
    sentences = [f"Given in part, it needs {' and '.join(needed)}."] if needed else []
    sentences += [f"Given in part, what it leaves out is not as here: {', '.join(others)}."] if others else []
    return " ".join(sentences)


# What a field takes


def _kind(annotation: object, metadata: Iterable[object] = ()) -> str:
    """A field's type, its values or its bounds, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, UnionType, Literal) or annotation is bool:
        return _either([*_alternatives(annotation)])
    if origin in (dict, Mapping):
        return f"mapping of {_plural(arguments[0])} to {_plural(arguments[1])}"
    if origin is tuple and Ellipsis not in arguments:
        return f"list of {len(arguments)}: {_either(list(dict.fromkeys(map(_plural, arguments))))}"
    if origin in (list, tuple, Sequence, set, frozenset):
        return f"list of {''.join(f'{bound}: ' for bound in _bounds(metadata))}{_plural(arguments[0])}"
    if _section_in(annotation):
        return "section"
    name = _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return ", ".join([name, *_bounds(metadata, " characters" if annotation is str else "")])


def _alternatives(annotation: object) -> Iterator[str]:
    """What a field takes one of; null comes last."""
    if get_origin(annotation) in (Union, UnionType):
        for part in sorted(get_args(annotation), key=lambda part: part is NoneType):
            yield from _alternatives(part)
    elif get_origin(annotation) is Literal:
        yield from map(_flow, get_args(annotation))
    elif annotation is bool:
        yield from ("true", "false")
    else:
        yield _kind(annotation)


def _either(words: Sequence[str]) -> str:
    *others, last = words
    comma = "," if any("," in word or " of " in word for word in words) else ""
    return f"{', '.join(others)}{comma} or {last}" if others else last


def _plural(annotation: object) -> str:
    return re.sub(r"^(whole number|number|path|section)\b", r"\1s", _kind(annotation))


def _bounds(metadata: Iterable[object], unit: str = "") -> Iterator[str]:
    found = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    low = next((part.ge for part in found if isinstance(part, Ge)), None)
    high = next((part.le for part in found if isinstance(part, Le)), None)
    if low is not None:
        yield f"{_number(low)} or more" if high is None else f"{_number(low)} to {_number(high)}"
    elif high is not None:
        yield f"at most {_number(high)}"
    for part in found:
        if isinstance(part, Gt):
            yield f"more than {_number(part.gt)}"
        elif isinstance(part, Lt):
            yield f"less than {_number(part.lt)}"
        elif isinstance(part, MinLen):
            yield f"{part.min_length} or more{unit}"
        elif isinstance(part, MaxLen):
            yield f"at most {part.max_length}{unit}"
        elif pattern := getattr(part, "pattern", None):
            yield f"as {pattern}"


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _flow(value: object) -> str:
    """A value on one line, as YAML has it."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


# The commented recipe


def _yaml_lines(
    model: type[BaseModel], values: BaseModel, path: str, spelled_out: Mapping[type[BaseModel] | None, str]
) -> Iterator[str]:
    after_section = False
    for number, field in enumerate(_fields_of(model, values, path)):
        if number and (field.given or after_section):
            yield ""
        after_section = field.given is not None
        if field.section and field.given:
            said = [_docstring(field.section), field.meaning, _given_in_part(field)]
            yield from _comment(*said)
            yield f"{field.name}:"
            lines = _yaml_lines(field.section, field.given, _inside(field), spelled_out)
            yield from textwrap.indent("\n".join(lines), "  ").split("\n")
            continue
        example = field.section if field.section not in spelled_out else None
        yield from _comment(_sentence(field, spelled_out.get(field.section, "")))
        yield f"{field.name}: {_flow(field.default)}"
        if example:
            yield from _left_out(field, example)
            after_section = True


def _left_out(field: _Field, section: type[BaseModel]) -> Iterator[str]:
    """The fields of a section that is left out by default, as lines to uncomment."""
    for number, inner in enumerate(_fields_of(section, None, _inside(field))):
        start = "  " if number or not field.is_list else "- "
        yield f"# {start}{inner.name}: {_flow(inner.default)}  # {_sentence(inner)}"


def _sentence(field: _Field, as_in: str = "") -> str:
    kind = f"{field.kind}; its fields are those of {as_in}" if as_in else field.kind
    return f"{field.meaning} ({kind})" if field.meaning else kind


def _comment(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
        )


# The page


def _page_lines(model: type[BaseModel], values: BaseModel | None, path: str = "") -> Iterator[str]:
    fields = [*_fields_of(model, values, path)]
    yield from ("| field | type or values | default | meaning |", "|---|---|---|---|")
    for field in fields:
        name = f"[`{field.path}`](#{_anchor(field)})" if field.section else f"`{field.path}`"
        default = "" if field.given or _is_needed(model, field, values) else f"`{_flow(field.default)}`"
        yield f"| {name} | {' | '.join(map(_cell, (field.kind, default, field.meaning)))} |"
    yield ""
    for field in fields:
        if field.section:
            level = min(2 + field.path.count("."), 4)
            yield from (f"{'#' * level} {field.path} {{ #{_anchor(field)} }}", "")
            for text in (_docstring(field.section), _when_left_out(field), _given_in_part(field)):
                if text:
                    yield from (text, "")
            yield from _page_lines(field.section, field.given, _inside(field))


def _is_needed(model: type[BaseModel], field: _Field, values: BaseModel | None) -> bool:
    return values is None and model.model_fields[field.name].is_required()


def _when_left_out(field: _Field) -> str:
    if field.given:
        return ""
    which = "Each entry" if field.is_list else "One that is given"
    return f"By default `{_flow(field.default)}`. {which} has these fields."


def _anchor(field: _Field) -> str:
    return field.path.replace("[]", "").replace(".", "-").replace("_", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

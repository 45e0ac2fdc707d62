"""A row, and reading its parts from the user's fields."""

from __future__ import annotations

import math
import reprlib
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from compress.errors import CompressError, first_line


@dataclass(frozen=True)
class Row:
    """One example; what its parts hold is told by the task's module. Rows without a label have an empty one; ``kind``
    is what stands before a text that was one of a pair, as `TextSettings.prompts` calls it."""

    text: Any
    label: Any
    lang: str
    text_pair: str | None = None
    parallel: str | None = None
    kind: str | None = None


def query_of(row: Row) -> tuple[str, str]:
    """What rows of the same query share, where passages are ranked."""
    return row.lang, row.text


def row_as_dict(row: Row) -> dict[str, Any]:
    """The row as written to the run's data files."""
    return {name: value for name, value in asdict(row).items() if value is not None}


def text_in(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> str:
    """Text of a field, in Unicode's NFC.

    :param columns: Names of the fields that a row must have, by role.
    :raises CompressError: If it is missing or something else than text.
    """
    value = value_in(place, content, columns, role)
    if not isinstance(value, str):
        raise CompressError(f"{place}: field '{columns[role]}' must be text, got {type(value).__name__}")
    return normalised(place, columns[role], value).strip()


def name_in(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> str:
    """A name in a field: text or a whole number.

    :raises CompressError: If it is missing, empty or something else.
    """
    value = value_in(place, content, columns, role)
    if not isinstance(value, str | int | bool) or not str(value).strip():
        raise CompressError(
            f"{place}: field '{columns[role]}' must be a name or a whole number, got {reprlib.repr(value)}"
        )
    return normalised(place, columns[role], str(value)).strip()


def number_in(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> float:
    """A number in a field.

    :raises CompressError: If it is missing or something else.
    """
    value = value_in(place, content, columns, role)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise CompressError(f"{place}: field '{columns[role]}' must be a number, got {reprlib.repr(value)}")
    return number


def normalised(place: str, field: str, text: str) -> str:
    """Text in Unicode's NFC.

    :raises CompressError: If it holds a half of a surrogate pair, which is no character: no tokenizer can read it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise CompressError(
            f"{place}: field '{field}' has {half} at character {error.start + 1}, half of a surrogate pair and no "
            "character; write the text as UTF-8"
        ) from error
    return unicodedata.normalize("NFC", text)


def value_in(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> Any:
    """The value of a field.

    :raises CompressError: If it is missing, naming the recipe's field for it, what is wanted and what the row has.
    """
    name = columns[role]
    if content.get(name) is None:
        raise CompressError(
            f"{place}: field '{name}' is missing (data.fields.{role}); a row must have {', '.join(columns.values())}; "
            f"this one has {', '.join(map(str, content)) or 'nothing'}"
        )
    if isinstance(content[name], Exception):
        raise CompressError(f"{place}: field '{name}' cannot be read ({first_line(content[name])})") from content[name]
    return content[name]

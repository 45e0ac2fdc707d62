"""Text alone, of files and folders, with the language of each: for what needs no labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.data.columns import NO_LANGUAGE
from compress.data.read import LONGEST_LINE, READERS, SPLIT_NAMES, read_file
from compress.errors import CompressError
from compress.tasks.rows import name_in, normalised

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
# The fields of the tasks' rows that hold text, and those that tell its language.
_FIELDS: Mapping[str, str] = {
    "text": "lang",
    "text_pair": "lang",
    "tokens": "lang",
    "question": "lang",
    "context": "lang",
    "source": "source_lang",
    "target": "target_lang",
}


@dataclass(frozen=True)
class TextFile:
    """A file of text: rows, or a text a line.

    :param language: Of texts whose rows do not tell theirs.
    """

    path: Path
    language: str


def text_files(sources: Sequence[str]) -> list[TextFile]:
    """The files that are named: one, a folder's, or ``de=FILE`` with the language of its text.

    Without it, a file's language is what its name begins with, as in ``de.txt`` and ``pt_BR.train.jsonl``.

    :raises CompressError: If there is none.
    """
    return [file for source in sources for file in _named_files(source)]


def read_texts(files: Sequence[TextFile]) -> Iterator[tuple[str, str]]:
    """The texts of files with the language of each, blank ones left out.

    :raises CompressError: Naming the file and line that is no text.
    """
    for file in files:
        found = _texts_of_rows(file) if file.path.suffix in READERS else _lines(file)
        yield from ((language, text) for language, text in found if text.strip())


def _named_files(source: str) -> list[TextFile]:
    language, separator, name = source.partition("=")
    if Path(source).exists() or not (separator and _LANGUAGE.fullmatch(language)):
        language, name = "", source
    path = Path(name)
    if path.is_file():
        return [TextFile(path, language or _language_of(path))]
    if not path.is_dir():
        raise CompressError(f"{name}: no such file or folder of text")
    found = sorted(file for ending in (*READERS, ".txt") for file in path.rglob(f"*{ending}") if file.is_file())
    if not found:
        raise CompressError(f"{name}: no text in this folder; its files must end in {', '.join(('.txt', *READERS))}")
    return [TextFile(file, language or _language_of(file)) for file in found]


def _language_of(path: Path) -> str:
    name = path.name.partition(".")[0]
    return name if _LANGUAGE.fullmatch(name) and name not in SPLIT_NAMES else NO_LANGUAGE


def _lines(file: TextFile) -> Iterator[tuple[str, str]]:
    try:
        with file.path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), ""), 1):
                if "\0" in line:
                    raise CompressError(f"{file.path}:{number}: not text but binary data (a zero byte)")
                if len(line) == LONGEST_LINE:
                    raise CompressError(f"{file.path}:{number}: a line of {LONGEST_LINE:,} characters or more")
                yield file.language, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CompressError(f"{file.path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise CompressError(f"{file.path}: cannot be read ({error.strerror or error})") from error


def _texts_of_rows(file: TextFile) -> Iterator[tuple[str, str]]:
    for place, row in read_file(file.path):
        texts = {field: text for field in _FIELDS if (text := _text(row.get(field))) is not None}
        if not texts:
            raise CompressError(f"{place}: the row has no text; name its field one of {', '.join(_FIELDS)}")
        for field, text in texts.items():
            normalised(place, field, text)  # to refuse what is no character; the text itself is what models read
            told = _FIELDS[field]
            yield file.language if row.get(told) is None else name_in(place, row, {"lang": told}, "lang"), text


def _text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value if isinstance(value, str) else None

"""From the user's rows to ours: checked, normalised, without blanks and duplicates, and everything counted."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from itertools import combinations
from typing import Any

from compress.data.read import SPLITS, UNLABELLED, RawRow
from compress.errors import CompressError
from compress.recipe import Data, Fields

NO_LANGUAGE = "und"  # BCP 47: undetermined


@dataclass(frozen=True)
class Row:
    """One example of text classification; rows without a label have an empty one."""

    text: str
    label: str
    lang: str
    text_pair: str | None = None
    parallel: str | None = None


@dataclass(frozen=True)
class Cleaned:
    """The label names in order, and what was dropped and found."""

    labels: list[str]
    report: dict[str, Any]


def clean(raw: Mapping[str, Iterable[RawRow]], data: Data, keep: Callable[[str, Row], object]) -> Cleaned:
    """Check and clean all splits, row by row.

    :param keep: Called with the split and each row that is kept.
    :raises CompressError: Naming the row and what is wrong with it, or the split that is left empty.
    """
    seen = {split: _Seen() for split in (*SPLITS, UNLABELLED) if split in raw}
    for split, found in seen.items():
        for place, content in raw[split]:
            row = _row(place, content, data.fields, labelled=split != UNLABELLED)
            if found.admits(row, place, data.languages):
                keep(split, row)
    known_languages = {language for found in seen.values() for language in found.known_languages}
    _check_languages("languages", data.languages, known_languages)
    _check_languages("labelled_languages", data.labelled_languages, known_languages)
    for split, found in seen.items():
        if not found.rows:
            raise CompressError(f"data: no rows are left in the {split} split ({found.read} before cleaning)")
    labels = _checked_labels(seen)
    report = {
        "splits": {split: {"rows": found.rows, "dropped": dict(found.dropped)} for split, found in seen.items()},
        "labels": dict(sorted(seen["train"].labels.items())),
        "languages": dict(sorted(seen["train"].languages.items())),
        "same text in two splits": _shared_texts(seen),
    }
    return Cleaned(labels, report)


class _Seen:
    """What has been seen of a split: enough to drop duplicates and to report, without the rows themselves."""

    def __init__(self) -> None:
        self.read = 0
        self.rows = 0
        self.dropped: Counter[str] = Counter({"blank": 0, "duplicate": 0})
        self.labels: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.known_languages: set[str] = set()
        self.first_place: dict[str, str] = {}
        self.texts: set[bytes] = set()
        self._whole: set[bytes] = set()

    def admits(self, row: Row, place: str, wanted: list[str] | None) -> bool:
        """Count a row, and tell whether it is kept."""
        self.read += 1
        reason = self._reason_to_drop(row, wanted)
        if reason:
            self.dropped[reason] += 1
            return False
        self.rows += 1
        self.labels[row.label] += 1
        self.languages[row.lang] += 1
        self.first_place.setdefault(row.label, place)
        self.texts.add(_digest(row.text, row.text_pair))
        return True

    def _reason_to_drop(self, row: Row, wanted: list[str] | None) -> str | None:
        if not row.text or row.text_pair == "":
            return "blank"
        whole = _digest(*astuple(row))
        if whole in self._whole:
            return "duplicate"
        self._whole.add(whole)
        self.known_languages.add(row.lang)
        return "other language" if wanted is not None and row.lang not in wanted else None


def row_as_dict(row: Row) -> dict[str, str]:
    """The row as written to the run's data files."""
    return {name: value for name, value in asdict(row).items() if value is not None}


def _row(place: str, content: Mapping[str, Any], fields: Fields, *, labelled: bool) -> Row:
    return Row(
        text=_text(place, content, fields.text, "text"),
        label=_name(place, content, fields.label, "label") if labelled else "",
        lang=_name(place, content, fields.lang, "lang") if fields.lang else NO_LANGUAGE,
        text_pair=_text(place, content, fields.text_pair, "text_pair") if fields.text_pair else None,
        parallel=_name(place, content, fields.parallel, "parallel") if fields.parallel else None,
    )


def _text(place: str, content: Mapping[str, Any], name: str, role: str) -> str:
    value = _value(place, content, name, role)
    if not isinstance(value, str):
        raise CompressError(f"{place}: field '{name}' must be text, got {type(value).__name__}")
    return unicodedata.normalize("NFC", value).strip()


def _name(place: str, content: Mapping[str, Any], name: str, role: str) -> str:
    value = _value(place, content, name, role)
    if not isinstance(value, str | int | bool) or not str(value).strip():
        raise CompressError(f"{place}: field '{name}' must be a name or a whole number, got {value!r}")
    return unicodedata.normalize("NFC", str(value)).strip()


def _value(place: str, content: Mapping[str, Any], name: str, role: str) -> Any:
    if name not in content or content[name] is None:
        hint = f"; it has {', '.join(map(str, content))}" if content else ""
        raise CompressError(f"{place}: field '{name}' is missing (data.fields.{role}){hint}")
    return content[name]


def _check_languages(field: str, wanted: list[str] | None, known: set[str]) -> None:
    unknown = sorted(set(wanted or []) - known)
    if unknown:
        raise CompressError(f"data.{field}: no rows in {', '.join(unknown)}; the data has {', '.join(sorted(known))}")


def _checked_labels(seen: Mapping[str, _Seen]) -> list[str]:
    labels = sorted(seen["train"].labels)
    if len(labels) < 2:
        raise CompressError(f"data: the train split has one class only ('{labels[0]}'); classification needs two")
    for split in ("validation", "test"):
        unknown = set(seen[split].labels) - set(labels)
        if unknown:
            first = min(unknown)
            place = seen[split].first_place[first]
            raise CompressError(f"{place}: label '{first}' does not occur in the train split")
    return labels


def _shared_texts(seen: Mapping[str, _Seen]) -> dict[str, int]:
    pairs = {f"{one} and {other}": len(seen[one].texts & seen[other].texts) for one, other in combinations(seen, 2)}
    return {pair: number for pair, number in pairs.items() if number}


def _digest(*parts: str | None) -> bytes:
    return hashlib.blake2b("\0".join(part or "" for part in parts).encode(), digest_size=16).digest()

"""From the user's rows to ours: checked, normalised, without blanks and duplicates, and everything counted."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
    """Rows of each split, the label names in order, and what was dropped and found."""

    splits: dict[str, list[Row]]
    labels: list[str]
    report: dict[str, Any]


def clean(raw: Mapping[str, list[RawRow]], data: Data) -> Cleaned:
    """Check and clean all splits.

    :raises CompressError: Naming the row and what is wrong with it, or the split that is left empty.
    """
    splits: dict[str, list[Row]] = {}
    report: dict[str, Any] = {"splits": {}}
    known_languages: set[str] = set()
    present = [split for split in (*SPLITS, UNLABELLED) if split in raw]
    for split in present:
        rows, counts = _clean_split(raw[split], data.fields, labelled=split != UNLABELLED)
        known_languages.update(row.lang for row in rows)
        if data.languages is not None:
            kept = [row for row in rows if row.lang in data.languages]
            counts["other language"] = len(rows) - len(kept)
            rows = kept
        splits[split] = rows
        report["splits"][split] = {"rows": len(rows), "dropped": dict(counts)}
    _check_languages("languages", data.languages, known_languages)
    _check_languages("labelled_languages", data.labelled_languages, known_languages)
    for split in present:
        if not splits[split]:
            raise CompressError(f"data: no rows are left in the {split} split ({len(raw[split])} before cleaning)")
    labels = _checked_labels(raw, splits, data.fields)
    report["labels"] = dict(sorted(Counter(row.label for row in splits["train"]).items()))
    report["languages"] = dict(sorted(Counter(row.lang for row in splits["train"]).items()))
    report["same text in two splits"] = _shared_texts(splits)
    return Cleaned(splits, labels, report)


def row_as_dict(row: Row) -> dict[str, str]:
    """The row as written to the run's data files."""
    return {name: value for name, value in asdict(row).items() if value is not None}


def _clean_split(raw: list[RawRow], fields: Fields, *, labelled: bool) -> tuple[list[Row], Counter[str]]:
    seen: set[Row] = set()
    rows: list[Row] = []
    counts: Counter[str] = Counter({"blank": 0, "duplicate": 0})
    for place, content in raw:
        row = _row(place, content, fields, labelled)
        if not row.text or row.text_pair == "":
            counts["blank"] += 1
        elif row in seen:
            counts["duplicate"] += 1
        else:
            seen.add(row)
            rows.append(row)
    return rows, counts


def _row(place: str, content: Mapping[str, Any], fields: Fields, labelled: bool) -> Row:
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


def _checked_labels(raw: Mapping[str, list[RawRow]], splits: dict[str, list[Row]], fields: Fields) -> list[str]:
    labels = sorted({row.label for row in splits["train"]})
    if len(labels) < 2:
        raise CompressError(f"data: the train split has one class only ('{labels[0]}'); classification needs two")
    for split in ("validation", "test"):
        unknown = {row.label for row in splits[split]} - set(labels)
        if unknown:
            place = next(place for place, content in raw[split] if str(content[fields.label]).strip() in unknown)
            raise CompressError(f"{place}: label '{min(unknown)}' does not occur in the train split")
    return labels


def _shared_texts(splits: dict[str, list[Row]]) -> dict[str, int]:
    homes: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for split, rows in splits.items():
        for row in rows:
            homes[row.text, row.text_pair].add(split)
    pairs = Counter(" and ".join(sorted(home, key=SPLITS.index)) for home in homes.values() if len(home) > 1)
    return dict(sorted(pairs.items()))

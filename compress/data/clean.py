"""From the user's rows to ours: checked, normalised, without blanks and duplicates, and everything counted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from compress.data.columns import columns_of, row_of
from compress.data.divide import RawRow
from compress.data.labels import ordered_labels
from compress.data.read import SPLITS, UNLABELLED
from compress.data.summary import DataSummary, SharedTexts, SplitSummary
from compress.errors import CompressError
from compress.recipe.data import Data
from compress.tasks.contract import Task
from compress.tasks.rows import Row, row_as_dict


@dataclass(frozen=True)
class Cleaned:
    """The label names in order, and what was dropped and found."""

    labels: list[str]
    summary: DataSummary


def clean(
    raw: Mapping[str, Iterable[RawRow]],
    task: Task,
    data: Data,
    keep: Callable[[str, Row], object],
    *,
    labelled: bool = True,
    learnt: bool = True,
) -> Cleaned:
    """Check and clean all splits, row by row.

    :param keep: Called with the split and each row that is kept.
    :param labelled: Whether rows of the splits have labels.
    :param learnt: Whether labels are learnt from the rows of the train split, which must have all of them.
    :raises CompressError: Naming the row and what is wrong with it, or the split that is left empty.
    """
    has_labels = labelled and (not task.VECTORS or data.fields.label is not None)
    seen = {split: _Seen(has_labels and split != UNLABELLED) for split in (*SPLITS, UNLABELLED) if split in raw}
    for split, found in seen.items():
        columns = columns_of(task, data.fields, labelled=found.labelled)
        if split == UNLABELLED and task.VECTORS:  # any text will do: it need not be one of a pair
            columns = {role: name for role, name in columns.items() if role != "text_pair"}
        for place, content in raw[split]:
            row = row_of(task, place, content, _there(columns, content) if split == UNLABELLED else columns)
            if row is None:
                found.drop("without a label")
            elif found.admits(row, task, place, data.languages):
                keep(split, row)
    known_languages = {language for found in seen.values() for language in found.known_languages}
    _check_languages("languages", data.languages, known_languages)
    _check_languages("labelled_languages", data.labelled_languages, known_languages)
    for split, found in seen.items():
        if not found.rows:
            raise CompressError(
                f"data: no rows are left in the {split} split ({found.read} before cleaning"
                + "".join(f", {number} {reason}" for reason, number in found.dropped.items() if number)
                + ")"
            )
    labels = (
        _checked_labels(seen, task)
        if learnt
        else ordered_labels({name for found in seen.values() for name in found.labels})
    )
    summary = DataSummary(
        splits={split: SplitSummary(rows=found.rows, dropped=dict(found.dropped)) for split, found in seen.items()},
        labels=dict(sorted(seen["train"].labels.items())),
        languages=dict(sorted(seen["train"].languages.items())),
        shared_texts=_shared_texts(seen),
        labelled=labelled,
    )
    return Cleaned(labels, summary)


def _there(columns: Mapping[str, str], content: Mapping[str, Any]) -> Mapping[str, str]:
    """The columns of a row that need not be translated: without `parallel` where it has none."""
    return {role: name for role, name in columns.items() if role != "parallel" or name in content}


class _Seen:
    """What has been seen of a split: enough to drop duplicates and to report, without the rows themselves."""

    def __init__(self, labelled: bool) -> None:
        self.labelled = labelled
        self.rows = 0
        self.dropped: Counter[str] = Counter({"blank": 0, "duplicate": 0})
        self.labels: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.known_languages: set[str] = set()
        self.first_place: dict[str, str] = {}
        self.texts: set[bytes] = set()
        self.parallel: set[bytes] = set()
        self._whole: set[bytes] = set()

    @property
    def read(self) -> int:
        """Rows before cleaning."""
        return self.rows + self.dropped.total()

    def drop(self, reason: str) -> None:
        """Count a row that is not kept."""
        self.dropped[reason] += 1

    def admits(self, row: Row, task: Task, place: str, wanted: list[str] | None) -> bool:
        """Count a row, and tell whether it is kept."""
        reason = self._reason_to_drop(row, task.texts(row), wanted)
        if reason:
            self.drop(reason)
            return False
        self.rows += 1
        self.languages[row.lang] += 1
        for label in task.label_names(row):
            self.labels[label] += 1
            self.first_place.setdefault(label, place)
        self.texts.add(_digest([row.text, row.text_pair]))
        if row.parallel is not None:
            self.parallel.add(_digest(row.parallel))
        return True

    def _reason_to_drop(self, row: Row, texts: Sequence[str], wanted: list[str] | None) -> str | None:
        if not all(texts) or (self.labelled and row.label == ""):
            return "blank"
        whole = _digest(row_as_dict(row))
        if whole in self._whole:
            return "duplicate"
        self._whole.add(whole)
        self.known_languages.add(row.lang)
        return "other language" if wanted is not None and row.lang not in wanted else None


def _check_languages(field: str, wanted: list[str] | None, known: set[str]) -> None:
    unknown = sorted(set(wanted or []) - known)
    if unknown:
        raise CompressError(f"data.{field}: no rows in {', '.join(unknown)}; the data has {', '.join(sorted(known))}")


def _checked_labels(seen: Mapping[str, _Seen], task: Task) -> list[str]:
    labels = ordered_labels(seen["train"].labels)
    if not labels and task.SEVERAL_LABELS:
        raise CompressError("data: no row of the train split has a label; classification needs rows that have some")
    if len(labels) == 1:
        raise CompressError(f"data: the train split has one class only ('{labels[0]}'); classification needs two")
    for split in ("validation", "test"):
        unknown = set(seen[split].labels) - set(labels)
        if unknown:
            first = min(unknown)
            place = seen[split].first_place[first]
            raise CompressError(f"{place}: label '{first}' does not occur in the train split")
    return labels


def _shared_texts(seen: Mapping[str, _Seen]) -> list[SharedTexts]:
    shared = [
        SharedTexts(
            first=one,
            second=other,
            texts=len(seen[one].texts & seen[other].texts),
            parallel=len(seen[one].parallel & seen[other].parallel),
        )
        for one, other in combinations(seen, 2)
    ]
    return [found for found in shared if found.texts or found.parallel]


def _digest(content: Any) -> bytes:
    return hashlib.blake2b(json.dumps(content, ensure_ascii=False).encode(), digest_size=16).digest()

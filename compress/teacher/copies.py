"""Copies of rows that say something else: a piece of the text, words left out, halves of two texts. What they mean no
label tells, but a teacher that reads them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.student import Augmentation, CopyKind
from compress.tasks.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Spans = list[tuple[int, int]]
"""Where parts of a text start and end, in characters, in order."""

SplitTexts = Callable[[Sequence[str]], list[Spans]]
"""Tells where the tokens of texts are."""

_BLOCK = 1000  # rows that are split together
_LONGEST_WORD = 6  # tokens: what is longer is written without blanks, and may be cut between its tokens
_PIECE = (0.3, 0.8)  # share of a text that a piece has
_HALF = (0.3, 0.7)  # the same of each part of a joined copy
_DROPPED = (0.1, 0.4)  # share of the words that are left out


@dataclass(frozen=True)
class _Drawn:
    """One copy that is to be made: of this row, with that one."""

    row: int
    other: int
    kind: CopyKind


@dataclass(frozen=True)
class _Source:
    """A row and where the parts of its text are that a copy takes or leaves."""

    row: Row
    units: Spans


def copies_of(rows: RowTable, split: SplitTexts, settings: Augmentation, seed: int) -> Iterator[Row]:
    """So many copies of each row as the recipe says, without labels; such as are blank or there already are left out.

    Of pairs the second text is changed.

    :param split: Of the teacher's tokenizer.
    """
    seen = {(row.lang, row.text, row.text_pair) for row in rows}
    generator, groups = np.random.default_rng(seed), _groups(rows)
    for _ in range(settings.copies):
        for start in range(0, len(rows), _BLOCK):
            numbers = range(start, min(start + _BLOCK, len(rows)))
            drawn = [_draw(number, len(rows), groups, settings.kinds, generator) for number in numbers]
            sources = _sources(rows, split, {number for one in drawn for number in (one.row, one.other)})
            for one in drawn:
                source = sources[one.row]
                text = _text(one.kind, source, sources[one.other], generator).strip()
                changed = {"text" if source.row.text_pair is None else "text_pair": text}
                copy = replace(source.row, label="", **changed)
                identity = (copy.lang, copy.text, copy.text_pair)
                if text and identity not in seen:
                    seen.add(identity)
                    yield copy


def check_copies(tokenizer: PreTrainedTokenizerBase) -> None:
    """Accept a teacher's tokenizer to make copies with, or refuse it.

    :raises CompressError: If it does not tell where in a text its tokens are.
    """
    if not tokenizer.is_fast:
        raise CompressError(
            "student.augmentation: the teacher's tokenizer does not tell where its tokens are (no tokenizer.json); "
            "set copies: 0"
        )


def units_of(text: str, tokens: Spans) -> Spans:
    """The words of a text; where it is written without blanks, its tokens.

    >>> units_of("so was", [(0, 2), (2, 4), (4, 6)])
    [(0, 2), (3, 6)]
    """
    words: list[Spans] = []
    end = 0
    for first, stop in tokens:
        begin = stop - len(text[first:stop].lstrip())  # some tokenizers count the blank before a word to it
        start = max(begin, end)
        if start >= stop:  # a blank, or one more token of the same character
            continue
        if not words or (not text[end:start].strip() and end < start):
            words.append([])
        words[-1].append((start, stop))
        end = stop
    return [unit for word in words for unit in (word if len(word) > _LONGEST_WORD else [(word[0][0], word[-1][1])])]


def _groups(rows: RowTable) -> list[np.ndarray]:
    """Of each row, the numbers of its translations: of its kind too (a query, a passage), in other languages."""
    shared, kinds, languages = (rows.column(name).astype(str) for name in ("parallel", "kind", "lang"))
    members: dict[tuple[str, str], list[int]] = {}
    for row, name in enumerate(zip(shared, kinds, strict=True)):
        if name[0]:
            members.setdefault(name, []).append(row)
    groups = {name: np.array(found) for name, found in members.items()}
    none = np.array([], dtype=int)
    found = [groups.get(name, none) for name in zip(shared, kinds, strict=True)]
    return [group[languages[group] != language] for group, language in zip(found, languages, strict=True)]


def _draw(
    row: int, rows: int, groups: Sequence[np.ndarray], kinds: Sequence[CopyKind], generator: np.random.Generator
) -> _Drawn:
    kind = kinds[int(generator.integers(len(kinds)))]
    if kind == "translations" and not len(groups[row]):
        kind = "pieces"
    if kind == "translations":
        return _Drawn(row, int(generator.choice(groups[row])), kind)
    return _Drawn(row, int(generator.integers(rows)) if kind == "joined" else row, kind)


def _sources(rows: RowTable, split: SplitTexts, numbers: set[int]) -> dict[int, _Source]:
    order = sorted(numbers)
    found = list(rows.select(order))
    texts = [_text_of(row) for row in found]
    return {
        number: _Source(row, units_of(text, spans))
        for number, row, text, spans in zip(order, found, texts, split(texts), strict=True)
    }


def _text(kind: CopyKind, source: _Source, other: _Source, generator: np.random.Generator) -> str:
    if kind == "pieces":
        return _piece(source, _PIECE, generator)
    if kind == "joined":
        return f"{_piece(source, _HALF, generator)} {_piece(other, _HALF, generator)}"
    if kind == "translations":
        share = generator.uniform(*_HALF)
        return f"{_part(source, 0, share)} {_part(other, share, 1)}"
    text, share, end, parts = _text_of(source.row), generator.uniform(*_DROPPED), 0, []
    for _, stop in source.units:
        if generator.random() >= share:
            parts.append(text[end:stop])  # with the blank before it
        end = stop
    return "".join(parts)


def _piece(source: _Source, shares: tuple[float, float], generator: np.random.Generator) -> str:
    share = generator.uniform(*shares)
    first = generator.uniform(0, 1 - share)
    return _part(source, first, first + share)


def _part(source: _Source, first: float, last: float) -> str:
    """What lies between two shares of a text: one unit of it at least, if it has any."""
    units = source.units
    if not units:
        return ""
    start = min(round(first * len(units)), len(units) - 1)
    stop = max(round(last * len(units)), start + 1)
    return _text_of(source.row)[units[start][0] : units[stop - 1][1]]


def _text_of(row: Row) -> str:
    text: str = row.text if row.text_pair is None else row.text_pair
    return text

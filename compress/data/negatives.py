"""Passages that answer other queries: what a reranker learns to tell from those that answer its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from compress.errors import CompressError
from compress.metrics.ranking import rows_by_query
from compress.recipe.data import Negatives
from compress.tasks.rows import Row, query_of

_BLOCK = 2**23  # likenesses of queries to passages in memory at once, of 8 bytes
_FEATURES = 200_000


@dataclass(frozen=True)
class _Language:
    """The rows of a language: of each query its numbers, and the passages that there are, each once."""

    rows: Sequence[Row]
    queries: list[np.ndarray]
    passages: list[str]

    @property
    def own(self) -> list[set[int]]:
        """The places of the passages that each query has already."""
        place = {text: number for number, text in enumerate(self.passages)}
        return [{place[str(self.rows[row].text_pair)] for row in rows} for rows in self.queries]


def with_negatives(rows: Sequence[Row], settings: Negatives, seed: int) -> list[Row]:
    """Rows, and behind those of each query so many more of passages of the same language that other rows have.

    Rows without a label are taken for relevant.

    :raises CompressError: If a language has too few passages.
    """
    made: list[Row] = []
    generator = np.random.default_rng(seed)
    for language in sorted({row.lang for row in rows}):
        own = [replace(row, label=1.0) if row.label == "" else row for row in rows if row.lang == language]
        queries = rows_by_query([query_of(row) for row in own])
        found = _Language(own, queries, list(dict.fromkeys(str(row.text_pair) for row in own)))
        others = _others(found, settings, generator)
        for numbers, places in zip(queries, others, strict=True):
            kept = [own[number] for number in numbers]
            made += kept + [replace(kept[0], text_pair=found.passages[place], label=0.0) for place in places]
    return made


def _others(found: _Language, settings: Negatives, generator: np.random.Generator) -> list[list[int]]:
    """Of each query the places of passages that it does not have."""
    owned, count = found.own, settings.per_query
    fewest = len(found.passages) - max(map(len, owned))
    if fewest < count:
        raise CompressError(
            f"data.negatives.per_query: {count} are asked for, {found.rows[0].lang} has {len(found.passages)} passages "
            f"in a split, {fewest} of which answer another query; lower it"
        )
    nearest = {"words": count, "mixed": -(-count // 2), "random": 0}[settings.by]
    near = _nearest(found, owned, nearest) if nearest else [[] for _ in owned]
    chosen = []
    for own, first in zip(owned, near, strict=True):
        rest = np.setdiff1d(np.arange(len(found.passages)), [*own, *first], assume_unique=True)
        chosen.append([*first, *generator.choice(rest, count - len(first), replace=False).tolist()])
    return chosen


def _nearest(found: _Language, owned: Sequence[set[int]], count: int) -> list[list[int]]:
    """Of each query the passages that share most of its words' parts with it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=_FEATURES, sublinear_tf=True)
    passages: csr_matrix = vectorizer.fit_transform(found.passages)
    queries: csr_matrix = vectorizer.transform([str(found.rows[rows[0]].text) for rows in found.queries])
    chosen: list[list[int]] = []
    size = max(1, _BLOCK // len(found.passages))
    for start in range(0, queries.shape[0], size):
        alike = (queries[start : start + size] @ passages.T).toarray()
        for row, own in zip(alike, owned[start : start + size], strict=True):
            row[list(own)] = -1.0
            chosen.append(np.argsort(-row, kind="stable")[:count].tolist())
    return chosen


def check_queries(split: str, rows: Sequence[Row]) -> None:
    """Accept rows by which rerankers can be told apart, or refuse them.

    :raises CompressError: Naming a language in which no query has both what is relevant and what is not.
    """
    told = {row.lang: False for row in rows}
    for numbers in rows_by_query([query_of(row) for row in rows]):
        relevant = [rows[number].label > 0 for number in numbers]
        told[rows[numbers[0]].lang] |= any(relevant) and not all(relevant)
    if unknown := sorted(language for language, known in told.items() if not known):
        raise CompressError(
            f"data: in the {split} split no query in {', '.join(unknown)} has a relevant passage and another; give "
            "each query several rows, or set data.negatives.per_query"
        )

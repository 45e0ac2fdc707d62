"""What is found with vectors of texts: passages for queries, translations of sentences, and how alike two are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.metrics.metric import Metric, mean, share
from compress.metrics.numbers import spearman

COSINE = "cosine"
"""The metric of texts with nothing to find: how near their vectors are to those that are given."""
_CUT = 10
_DIGITS = 5
_BLOCK = 2**24  # similarities in memory at once
_TINY = 1e-12


@dataclass(frozen=True)
class VectorFinding:
    """What is found with a row's vector: the place of what is ``nearest``; how alike its texts are (``similarity``);
    the share of the other languages where its translation is the nearest (``translated``); the ``ranks`` of what it was
    to find among the texts of its language, and of the others (``ranks_across``); and the ``cosine`` with the vector
    that is given. What was not looked for is none."""

    nearest: int
    similarity: float | None = None
    translated: float | None = None
    ranks: Sequence[int] | None = None
    ranks_across: Sequence[int] | None = None
    cosine: float | None = None


def similarities(one: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """How alike vectors are, float (rows, others); distances are negative.

    :param one: Float (rows, dimensions).
    :param other: Float (others, dimensions).
    """
    if kind == "dot":
        return np.asarray(one @ other.T)
    if kind == "cosine":
        return np.asarray(of_length_one(one) @ of_length_one(other).T)
    from scipy.spatial.distance import cdist

    return -np.asarray(cdist(one, other, {"euclidean": "euclidean", "manhattan": "cityblock"}[kind]))


def of_length_one(vectors: np.ndarray) -> np.ndarray:
    """Vectors, (rows, dimensions), divided by their lengths."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _TINY))


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of vectors at the same places, float (rows,)."""
    return np.asarray((of_length_one(one) * of_length_one(other)).sum(axis=-1))


def paired_similarities(one: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """Of vectors at the same places, float (rows,)."""
    pairs = zip(one, other, strict=True)
    return np.array([similarities(first[None], second[None], kind)[0, 0] for first, second in pairs])


def ranks_of(
    queries: np.ndarray, passages: np.ndarray, relevant: Sequence[Sequence[int]], kind: str
) -> list[list[int]]:
    """Of each query the ranks, from 1 on, of what is to be found; of equals the rank is the worst.

    :param relevant: Places of the passages that are to be found.
    """
    found: list[list[int]] = []
    for start, scores in _blocks(queries, passages, kind):
        for row, own in zip(scores, relevant[start : start + len(scores)], strict=True):
            others = np.delete(row, own)
            best = sorted((row[place] for place in own), reverse=True)
            found.append([int((others >= score).sum()) + place for place, score in enumerate(best, 1)])
    return found


def nearest_of(queries: np.ndarray, passages: np.ndarray, kind: str, *, same: bool = False) -> np.ndarray:
    """The place of what is nearest to each query, int (rows,); of those that are as near the first.

    :param same: Both are the same, and none is its own neighbour; a text alone has none (-1).
    """
    found = []
    for start, scores in _blocks(queries, passages, kind):
        if same:
            scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        found.append(np.where(np.isfinite(scores.max(axis=1)), scores.round(_DIGITS).argmax(axis=1), -1))
    return np.concatenate(found)


def _blocks(queries: np.ndarray, passages: np.ndarray, kind: str) -> Iterator[tuple[int, np.ndarray]]:
    size = max(1, _BLOCK // max(len(passages), 1))
    for start in range(0, len(queries), size):
        yield start, similarities(queries[start : start + size], passages, kind)


def found_by_query(
    queries: np.ndarray, passages: np.ndarray, texts: Sequence[tuple[Any, Any]], languages: Sequence[str], kind: str
) -> list[VectorFinding]:
    """What each row's query finds among the passages of its language.

    :param passages: Of the same rows, float (rows, dimensions); those with the same text count once.
    :param texts: Query and passage of each row: a query that comes twice is to find what it has in either.
    """
    found = [VectorFinding(-1)] * len(texts)
    for rows in _by_language(languages):
        places: dict[Any, int] = {}
        wanted: dict[Any, list[int]] = {}
        for row in rows:
            query, passage = texts[row]
            place = places.setdefault(passage, len(places))
            if place not in (relevant := wanted.setdefault(query, [])):
                relevant.append(place)
        first = {texts[row][1]: row for row in reversed(rows)}
        pool = passages[[first[passage] for passage in places]]
        own = queries[rows]
        known = list(places)
        ranks = ranks_of(own, pool, [wanted[texts[row][0]] for row in rows], kind)
        for row, found_ranks, near in zip(rows, ranks, nearest_of(own, pool, kind), strict=True):
            found[row] = VectorFinding(first[known[near]], ranks=found_ranks)
    return found


def found_across(
    queries: np.ndarray, passages: np.ndarray, groups: Sequence[str], texts: Sequence[Any], languages: Sequence[str],
    kind: str,
) -> list[list[int]]:  # fmt: skip
    """Ranks of the parallel passages of other languages among all passages of these; none where there are none.

    :param groups: What parallel rows share.
    :param texts: Of the passages.
    """
    found: list[list[int]] = [[] for _ in groups]
    for rows in _by_language(languages):
        own = set(rows)
        distinct = {(languages[row], texts[row]): row for row in range(len(groups)) if row not in own}
        others = list(distinct.values())
        member = _members({(languages[row], texts[row]) for row in others}, groups, texts, languages)
        relevant = [[place for place, row in enumerate(others)
                     if groups[asked] in member[languages[row], texts[row]]] for asked in rows]  # fmt: skip
        asking = [place for place, wanted in enumerate(relevant) if wanted]
        if not asking:
            continue
        told = [rows[place] for place in asking]
        ranks = ranks_of(queries[told], passages[others], [relevant[place] for place in asking], kind)
        for row, found_ranks in zip(told, ranks, strict=True):
            found[row] = found_ranks
    return found


def _members(
    kept: set[tuple[str, Any]], groups: Sequence[str], texts: Sequence[Any], languages: Sequence[str]
) -> dict[tuple[str, Any], set[str]]:
    found: dict[tuple[str, Any], set[str]] = {key: set() for key in kept}
    for group, text, language in zip(groups, texts, languages, strict=True):
        if (language, text) in found:
            found[language, text].add(group)
    return found


def translations_found(
    vectors: np.ndarray, groups: Sequence[str], languages: Sequence[str], kind: str
) -> list[float | None]:
    """Of the other languages that a row has a translation in the share in which that is nearest of all texts; none
    where there are none (bitext retrieval: Artetxe and Schwenk, 2019)."""
    of_language = {languages[rows[0]]: rows for rows in _by_language(languages)}
    right: list[list[bool]] = [[] for _ in groups]
    for language, rows in of_language.items():
        for other, candidates in of_language.items():
            known = {groups[row] for row in candidates}
            asking = [row for row in rows if other != language and groups[row] in known]
            if not asking:
                continue
            nearest = nearest_of(vectors[asking], vectors[candidates], kind)
            for row, place in zip(asking, nearest, strict=True):
                right[row].append(groups[candidates[place]] == groups[row])
    return [round(float(np.mean(answers)), 6) if answers else None for answers in right]


def _by_language(languages: Sequence[str]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for number, language in enumerate(languages):
        rows.setdefault(language, []).append(number)
    return list(rows.values())


def metrics_of(findings: Sequence[VectorFinding], wanted: Sequence[Any]) -> dict[str, Metric]:
    """The metrics of what was found; what models are compared by comes first.

    :param wanted: How alike the rows' texts are to be, where there are such numbers.
    """
    found: dict[str, Metric] = {}
    if findings[0].similarity is not None:
        said = np.array([row.similarity for row in findings], dtype=np.float64)
        found["Spearman"] = spearman(said, np.array(wanted, dtype=np.float64))
    for name, ranks in (("", [row.ranks for row in findings]), (" across", [row.ranks_across for row in findings])):
        if any(ranks):
            found[f"nDCG@{_CUT}{name}"] = _mean_of(ranks, _ndcg)
            found[f"recall@{_CUT}{name}"] = _mean_of(ranks, _recall)
            found[f"MRR@{_CUT}{name}"] = _mean_of(ranks, _reciprocal)
    translated = [row.translated for row in findings]
    if any(share is not None for share in translated):
        found["translation accuracy"] = _mean_of(translated, float)
    if findings[0].cosine is not None:
        found[COSINE] = mean([row.cosine or 0.0 for row in findings])
    return found


def _mean_of(values: Sequence[Any], score: Callable[[Any], float]) -> Metric:
    """The mean over the rows that have something to find."""
    scores = [None if value in (None, []) else score(value) for value in values]
    known = [value for value in scores if value is not None]
    return mean(known) if len(known) == len(scores) else share([(value or 0.0, value is not None) for value in scores])


def _ndcg(ranks: Sequence[int]) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002) of the first ten."""
    gained = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= _CUT)
    return gained / sum(1 / math.log2(place + 1) for place in range(1, min(len(ranks), _CUT) + 1))


def _recall(ranks: Sequence[int]) -> float:
    return sum(rank <= _CUT for rank in ranks) / len(ranks)


def _reciprocal(ranks: Sequence[int]) -> float:
    return 1 / min(ranks) if min(ranks) <= _CUT else 0.0

"""How well passages are ranked for their queries: one figure a query, from the scores of its passages."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.metrics.metric import Metric, share
from compress.metrics.numbers import spearman

_CUT = 10
_RECALL = 1, 5
"""Of how many passages the first are looked at for what is to be found."""

Gains = np.ndarray
"""How relevant the passages of a query are, float (passages,), in the order of a ranking; 0: not at all."""


def rows_by_query(queries: Sequence[Hashable]) -> list[np.ndarray]:
    """The numbers of each query's rows, in the order in which queries come first.

    :param queries: What tells the query of each row.
    """
    rows: dict[Hashable, list[int]] = {}
    for number, query in enumerate(queries):
        rows.setdefault(query, []).append(number)
    return [np.array(numbers) for numbers in rows.values()]


def query_numbers(queries: Iterable[Hashable]) -> np.ndarray:
    """A number for each row, int (rows,), the same for rows of the same query, from 0 on as queries come first."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(query, len(numbers)) for query in queries], dtype=int)


@dataclass(frozen=True)
class RankFinding:
    """What is found of a passage: its score, before any activation, and its place among those of its query."""

    score: float
    rank: int


def ranked(scores: Sequence[float], queries: Sequence[Hashable]) -> list[RankFinding]:
    """The score and rank of each row.

    :param queries: What tells the query of each row.
    """
    ranks = ranks_within(np.array(scores, dtype=np.float64), queries)
    return [RankFinding(float(f"{score:.7g}"), rank) for score, rank in zip(scores, ranks, strict=True)]


def ranks_within(scores: np.ndarray, queries: Sequence[Hashable]) -> list[int]:
    """The place of each row among those of its query, from 1 on, the highest score first; of equals in their order."""
    ranks = np.zeros(len(scores), dtype=int)
    for rows in rows_by_query(queries):
        ranks[rows[np.argsort(-scores[rows], kind="stable")]] = np.arange(1, len(rows) + 1)
    return ranks.tolist()


def ranking_metrics(scores: np.ndarray, relevance: np.ndarray, queries: Sequence[Hashable]) -> dict[str, Metric]:
    """nDCG of the first ten, the reciprocal rank of the first that is relevant, recall; of queries that have one.

    :param scores: Of the rows, float (rows,).
    :param relevance: Of the rows' passages, float (rows,); 0 or less: not relevant.
    """
    gains = np.maximum(relevance, 0.0)
    figures: Mapping[str, Callable[[Gains], float]] = {
        f"nDCG@{_CUT}": _ndcg,
        f"MRR@{_CUT}": _reciprocal,
        **{f"recall@{count}": _recall_of(count) for count in _RECALL},
    }
    counted: dict[str, list[tuple[float, float]]] = {name: [(0.0, 0.0)] * len(scores) for name in figures}
    for rows in rows_by_query(queries):
        ranked = gains[rows[np.lexsort((gains[rows], -scores[rows]))]]  # of equals the least relevant comes first
        if ranked.any():
            for name, figure in figures.items():
                counted[name][rows[0]] = (figure(ranked), 1.0)
    return {name: _by_query(share(counts)) for name, counts in counted.items()}


def agreement_metrics(scores: np.ndarray, wanted: np.ndarray, queries: Sequence[Hashable]) -> dict[str, Metric]:
    """Of rows whose scores are to be those of another model: whether its first passage comes first, correlation.

    :param wanted: The other model's scores, float (rows,).
    """
    first = np.zeros(len(scores))
    several = [rows for rows in rows_by_query(queries) if len(rows) > 1]
    for rows in several:
        first[rows[wanted[rows].argmax()]] = 1.0
    correlation = {"Spearman": spearman(scores, wanted)}
    return {**ranking_metrics(scores, first, queries), **correlation} if several else correlation


def _by_query(metric: Metric) -> Metric:
    """The same metric of the rows that stand for a query: the others count nothing, and are no rows to draw from."""

    def counted(statistics: np.ndarray) -> np.ndarray:
        asked = statistics[statistics[:, 1] > 0]
        return asked if len(asked) else statistics[:1]

    return Metric(metric.statistics, metric.value, metric.bounds, among=counted)


def _ndcg(ranked: Gains) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002)."""
    return _discounted(ranked[:_CUT]) / _discounted(np.sort(ranked)[::-1][:_CUT])


def _discounted(gains: Gains) -> float:
    return sum(float(gain) / math.log2(place + 1) for place, gain in enumerate(gains, 1))


def _reciprocal(ranked: Gains) -> float:
    found = np.flatnonzero(ranked[:_CUT])
    return 1 / (int(found[0]) + 1) if len(found) else 0.0


def _recall_of(count: int) -> Callable[[Gains], float]:
    return lambda ranked: float((ranked[:count] > 0).sum() / (ranked > 0).sum())

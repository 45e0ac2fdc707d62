"""Figures by language and label: the mean of either hides a label that falls in one language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from compress.metrics.languages import ALL, rows_by_language
from compress.metrics.metric import Figure, f1_of_counts

if TYPE_CHECKING:
    from compress.metrics.comparison import Pair
    from compress.metrics.figures import CellFigures, CellLoss
    from compress.metrics.labels import LabelCounts

_KNOWN = 20_000
"""Cells whose random weights are remembered: of a few rows many are alike."""
_Kinds = tuple[tuple[int, ...], ...]
"""What is counted of rows, each kind of row once with the number of such rows last, in order."""


@dataclass(frozen=True)
class LabelCell:
    """A label in a language, of two models on the same rows: its recall, and its F1."""

    language: str
    label: str
    recall: Pair
    f1: Pair


def label_cells(reference: LabelCounts | None, other: LabelCounts | None, languages: Sequence[str]) -> list[LabelCell]:
    """The cells that have rows; none where labels are of no closed set.

    :param languages: Of the rows.
    """
    from compress.metrics.comparison import Pair

    if reference is None or other is None:
        return []
    recalls = [(reference.recall(label)[0], other.recall(label)[0]) for label in range(len(reference.names))]
    found = []
    for language, label, own in _places(reference, languages):
        rows = own[reference.wanted[own, label] > 0]
        counts = np.concatenate([_three(reference, label, own), _three(other, label, own)], axis=1)
        name = reference.names[label]
        found.append(LabelCell(language, name, Pair(*recalls[label], rows), _f1_pair(_kinds(counts))))
    return found


def cell_losses(reference: LabelCounts | None, other: LabelCounts | None, languages: Sequence[str]) -> list[CellLoss]:
    """What is lost in each cell from one model to another; those of which that is surest come first."""
    from compress.metrics.comparison import adjusted_losses
    from compress.metrics.figures import CellLoss

    cells = label_cells(reference, other, languages)
    recalls = adjusted_losses({str(number): cell.recall for number, cell in enumerate(cells)})
    losses = [
        CellLoss(
            language=cell.language,
            label=cell.label,
            rows=len(cell.recall.rows),
            recall=recall,
            f1=cell.f1.loss.figure.rounded,
        )
        for cell, recall in zip(cells, recalls.values(), strict=True)
    ]
    return sorted(losses, key=lambda loss: (-loss.recall.low, -loss.recall.value, loss.language, loss.label))


def cell_figures(counts: LabelCounts | None, languages: Sequence[str]) -> list[CellFigures]:
    """Recall and F1 of each cell that has rows, by language and label; none where labels are of no closed set."""
    from compress.metrics.figures import CellFigures

    if counts is None:
        return []
    recalls = [counts.recall(label)[0] for label in range(len(counts.names))]
    found = []
    for language, label, own in _places(counts, languages):
        rows = own[counts.wanted[own, label] > 0]
        found.append(
            CellFigures(
                language=language,
                label=counts.names[label],
                rows=len(rows),
                count=int(counts.wanted[rows, label].sum()),
                recall=recalls[label].figure(rows).rounded,
                f1=_f1_figure(_kinds(_three(counts, label, own))).rounded,
            )
        )
    return found


def _places(counts: LabelCounts, languages: Sequence[str]) -> Iterator[tuple[str, int, np.ndarray]]:
    """Languages, numbers of the labels that their rows have, and the language's rows."""
    for language, rows in rows_by_language(languages).items():
        if language != ALL:
            for label in np.flatnonzero(counts.wanted[rows].any(axis=0)):
                yield language, int(label), rows


def _three(counts: LabelCounts, label: int, rows: np.ndarray) -> np.ndarray:
    return np.stack([part[rows, label] for part in (counts.right, counts.found, counts.wanted)], axis=1)


def _kinds(counts: np.ndarray) -> _Kinds:
    kinds, rows = np.unique(counts[counts.any(axis=1)], axis=0, return_counts=True)
    return tuple((*kind, int(number)) for kind, number in zip(kinds.tolist(), rows, strict=True))


@lru_cache(_KNOWN)
def _f1_figure(kinds: _Kinds) -> Figure:
    metric = f1_of_counts(_rows_of(kinds).tolist())
    return metric.figure(np.arange(len(metric.statistics)))


@lru_cache(_KNOWN)
def _f1_pair(kinds: _Kinds) -> Pair:
    from compress.metrics.comparison import Pair

    one, two = (f1_of_counts(counts.tolist()) for counts in np.split(_rows_of(kinds), 2, axis=1))
    return Pair(one, two, np.arange(len(one.statistics)))


def _rows_of(kinds: _Kinds) -> np.ndarray:
    table = np.array(kinds)
    return np.repeat(table[:, :-1], table[:, -1], axis=0)

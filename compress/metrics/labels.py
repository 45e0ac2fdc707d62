"""Figures label by label: a rare label that is lost altogether hides in every mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.metrics.languages import rows_by_language
from compress.metrics.metric import Metric, f1_of_counts, mean, share

# A measuring process counts with this module: what brings Pydantic is imported where it is made.
if TYPE_CHECKING:
    from compress.metrics.comparison import Pair
    from compress.metrics.figures import LabelAgreement, LabelFigures, Loss


@dataclass(frozen=True)
class LabelCounts:
    """For each row how often each label is right, predicted and wanted, int (rows, labels)."""

    names: Sequence[str]
    right: np.ndarray
    found: np.ndarray
    wanted: np.ndarray

    def recall(self, label: int) -> tuple[Metric, np.ndarray]:
        """The share of a label's that is found, and the numbers of the rows that have it."""
        right, wanted = self.right[:, label], self.wanted[:, label]
        metric = mean(right) if wanted.max(initial=0) <= 1 else share(np.stack([right, wanted], axis=1).tolist())
        return metric, np.flatnonzero(wanted)


def label_figures(counts: LabelCounts | None, languages: Sequence[str]) -> dict[str, LabelFigures]:
    """Recall and F1 of each label that rows have; none where labels are of no closed set.

    :param languages: Of the rows.
    """
    from compress.metrics.figures import LabelFigures

    if counts is None:
        return {}
    found = {}
    for label, name in enumerate(counts.names):
        recall, rows = counts.recall(label)
        if len(rows):
            three = np.stack([counts.right[:, label], counts.found[:, label], counts.wanted[:, label]], axis=1)
            f1, occurring = f1_of_counts(three.tolist()), np.flatnonzero(three.any(axis=1))
            found[name] = LabelFigures(
                count=int(counts.wanted[:, label].sum()),
                recall=recall.figure(rows).rounded,
                f1=f1.figure(occurring).rounded,
                f1_by_language={
                    language: round(float(f1.value(f1.statistics[occurring[own]].sum(axis=0))), 4)
                    for language, own in rows_by_language(np.asarray(languages)[occurring]).items()
                },
            )
    return found


def label_pairs(reference: LabelCounts | None, other: LabelCounts | None) -> dict[str, Pair]:
    """The recall of each label that rows have, of two models."""
    from compress.metrics.comparison import Pair

    pairs = {}
    if reference is not None and other is not None:
        for label, name in enumerate(reference.names):
            (one, rows), (two, _) = reference.recall(label), other.recall(label)
            if len(rows):
                pairs[name] = Pair(one, two, rows)
    return pairs


def label_losses(reference: LabelCounts | None, other: LabelCounts | None) -> dict[str, Loss]:
    """What is lost of the recall of each label from one model to another."""
    from compress.metrics.comparison import adjusted_losses

    return adjusted_losses(label_pairs(reference, other))


def label_agreement(rows: Sequence[Sequence[tuple[str, bool]]]) -> Mapping[str, LabelAgreement]:
    """How often another model agrees where one predicts a label, label by label; of a row with several words the mean
    over those that have the label.

    :param rows: As `compress.tasks.contract.Task.agreed` has them.
    """
    from compress.metrics.figures import LabelAgreement

    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        same: dict[str, list[bool]] = defaultdict(list)
        for label, agrees in row:
            same[label].append(agrees)
        for label, agreed in same.items():
            shares[label].append(float(np.mean(agreed)))
    return {
        label: LabelAgreement(rows=len(found), agreement=round(float(np.mean(found)), 4))
        for label, found in sorted(shares.items())
    }

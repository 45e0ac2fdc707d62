"""Two models on the same rows: what is lost from one to the other, language by language, and how often they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from compress.metrics.figures import LanguageLosses, Loss, WorstLoss
from compress.metrics.languages import ALL, rows_by_language
from compress.metrics.metric import Figure, Metric, resampled


@dataclass(frozen=True)
class Drop(Figure):
    """What is lost from one model to another; ``p`` is the chance of a loss or gain as large if there were none."""

    p: float = 1.0


def paired_drop(reference: Metric, other: Metric, rows: np.ndarray) -> Drop:
    """What is lost from ``reference`` to ``other`` on the same rows, with a paired bootstrap interval.

    The test is McNemar's, exact, where rows are right or wrong (McNemar, 1947), else that of the paired bootstrap
    (Koehn, 2004), both two-sided.
    """
    value, drops = _drops(reference, other, rows)
    low, high = np.percentile(drops, [2.5, 97.5])
    if reference.right_or_wrong and other.right_or_wrong:
        p = _mcnemar(reference.statistics[rows, 0], other.statistics[rows, 0])
    else:
        p = min(1.0, 2 * (1 + min((drops <= 0).sum(), (drops >= 0).sum())) / (1 + len(drops)))
    return Drop(value, float(low), float(high), float(p))


def drop_and_error(reference: Metric, other: Metric, rows: np.ndarray) -> tuple[float, float]:
    """What is lost from one model to another on the same rows, and its standard error.

    Where rows are right or wrong the error is that of the mean of their differences, else the bootstrap's.
    """
    if reference.right_or_wrong and other.right_or_wrong:
        differences = reference.statistics[rows, 0] - other.statistics[rows, 0]
        return float(differences.mean()), float(differences.std() / len(rows) ** 0.5)
    value, drops = _drops(reference, other, rows)
    return value, float(drops.std())


def _drops(reference: Metric, other: Metric, rows: np.ndarray, seed: int = 0) -> tuple[float, np.ndarray]:
    """What is lost on some rows, and on rows drawn from them, float (resamples,)."""
    one, two = reference.statistics[rows], other.statistics[rows]
    ones, twos = resampled([one, two], seed)
    value = float(reference.value(one.sum(axis=0)) - other.value(two.sum(axis=0)))
    return value, np.asarray(reference.value(ones) - other.value(twos))


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances of several tests, adjusted so that the smallest one can be believed (Holm, 1979)."""
    adjusted, largest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(chances.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, (len(chances) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in chances}


def compare(reference: Mapping[str, Metric], other: Mapping[str, Metric], languages: Sequence[str]) -> LanguageLosses:
    """What is lost of the first metric from one model to another, language by language."""
    name = next(iter(reference))
    groups = rows_by_language(languages)
    drops = {key: paired_drop(reference[name], other[name], rows) for key, rows in groups.items()}
    adjusted = holm({language: drop.p for language, drop in drops.items() if language != ALL}) | {ALL: drops[ALL].p}
    worst = max((language for language in drops if language != ALL), key=lambda language: drops[language].value)
    return LanguageLosses(
        metric=name,
        drop={
            language: Loss(**dict(drop.rounded), p=_short(drop.p), p_adjusted=_short(adjusted[language]))
            for language, drop in drops.items()
        },
        worst_language_drop=WorstLoss(**dict(drops[worst].rounded), language=worst),
    )


def agreement(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Share of rows with the same prediction, or of their words, where each has one."""
    if isinstance(one[0], list):
        one, other = list(chain.from_iterable(one)), list(chain.from_iterable(other))
    return round(sum(bool(a == b) for a, b in zip(one, other, strict=True)) / len(one), 4)


def _mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import binomtest

    lost, gained = int(((one == 1) & (other == 0)).sum()), int(((one == 0) & (other == 1)).sum())
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _short(p: float) -> float:
    return float(f"{p:.3g}")

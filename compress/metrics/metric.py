"""Figures language by language, with 95 % intervals, and paired comparisons of two models.

A metric is a function of sums over rows (numbers of right rows, of spans, of n-grams), so that one bootstrap over the
rows serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

_RESAMPLES = 1000
_BLOCK = 4_000_000  # numbers in memory at once
_BINS = 15
ALL = "all"


@dataclass(frozen=True)
class Figure:
    """A share or difference with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """For JSON, to four places."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


@dataclass(frozen=True)
class Drop(Figure):
    """What is lost from one model to another; ``p`` is the chance of a loss or gain as large if there were none."""

    p: float = 1.0


@dataclass(frozen=True)
class Metric:
    """What is counted of each row, and the figure that the counts of some rows add up to.

    ``statistics`` is float (rows, counts); ``value`` takes sums (…, counts) to figures (…). ``right_or_wrong`` says
    that rows are either, for an interval that holds where almost all are right; ``signature`` says how others can
    compute the same figure.
    """

    statistics: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    right_or_wrong: bool = False
    signature: str = ""

    def figure(self, rows: np.ndarray, seed: int = 0) -> Figure:
        """The metric of some rows, with Wilson's interval or that of a bootstrap over the rows."""
        chosen = self.statistics[rows]
        value = float(self.value(chosen.sum(axis=0)))
        if self.right_or_wrong:
            from scipy.stats import binomtest

            interval = binomtest(int(chosen[:, 0].sum()), len(rows)).proportion_ci(method="wilson")
            return Figure(value, interval.low, interval.high)
        low, high = np.percentile(self.value(_resampled([chosen], seed)[0]), [2.5, 97.5])
        return Figure(value, float(low), float(high))


def mean(scores: Sequence[float] | np.ndarray) -> Metric:
    """The mean of a score from 0 to 1 that each row has."""
    array = np.asarray(scores, dtype=np.float64)
    right_or_wrong = bool(np.isin(array, (0.0, 1.0)).all())
    return Metric(
        np.stack([array, np.ones(len(array))], axis=1), lambda sums: sums[..., 0] / sums[..., 1], right_or_wrong
    )


def share(counts: Sequence[tuple[int, int]]) -> Metric:
    """Of the parts of all rows the share that is right.

    :param counts: For each row the number of its parts that are right, and of all its parts.
    """
    return Metric(np.array(counts, dtype=np.float64), lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1))


def accuracy(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """Share of right predictions, both int (rows,)."""
    return mean(predicted == targets)


def macro_f1(predicted: np.ndarray, targets: np.ndarray, classes: int) -> Metric:
    """Mean F1 over the classes that occur in targets or predictions, both int (rows,)."""
    one, other = np.eye(classes)[predicted], np.eye(classes)[targets]

    def value(sums: np.ndarray) -> np.ndarray:
        right, occurring = np.split(sums, 2, axis=-1)
        return (2 * right / np.maximum(occurring, 1)).sum(axis=-1) / np.maximum((occurring > 0).sum(axis=-1), 1)

    return Metric(np.concatenate([one * other, one + other], axis=1), value)


def f1_of_counts(counts: Sequence[tuple[int, int, int]]) -> Metric:
    """F1 of what is found in all rows together: for each row the numbers that are right, found and wanted."""
    return Metric(
        np.array(counts, dtype=np.float64), lambda sums: 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    )


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
    ones, twos = _resampled([one, two], seed)
    value = float(reference.value(one.sum(axis=0)) - other.value(two.sum(axis=0)))
    return value, np.asarray(reference.value(ones) - other.value(twos))


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances of several tests, adjusted so that the smallest one can be believed (Holm, 1979)."""
    adjusted, largest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(chances.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, (len(chances) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in chances}


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """How far the confidence in predictions is from the share that is right: the mean over 15 bins of equal width,
    weighted by their rows (Guo et al., 2017). Both (rows,)."""
    bins = np.minimum((np.asarray(confidences) * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    sums = np.bincount(bins, weights=np.asarray(confidences) - right, minlength=_BINS)
    return float(np.abs(sums).sum() / rows.sum())


def confidences(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """The largest probability of each row's logits, float (rows,)."""
    from scipy.special import softmax

    return softmax(np.stack(outputs).astype(np.float64), axis=-1).max(axis=-1)


def per_language(metrics: Mapping[str, Metric], languages: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Every metric for each language and for all rows together (key ``all``)."""
    return {
        language: {name: metric.figure(rows).as_dict() for name, metric in metrics.items()}
        for language, rows in rows_by_language(languages).items()
    }


def signatures(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """How others can compute the figures, for those metrics that have a standard way to say so."""
    return {name: metric.signature for name, metric in metrics.items() if metric.signature}


def compare(reference: Mapping[str, Metric], other: Mapping[str, Metric], languages: Sequence[str]) -> dict[str, Any]:
    """What is lost of the first metric from one model to another, language by language.

    :return: ``drop`` (by language and for all, with the chance ``p`` of one as large if there were none, and that
        chance adjusted for the number of languages) and ``worst_language_drop``.
    """
    name = next(iter(reference))
    groups = rows_by_language(languages)
    drops = {key: paired_drop(reference[name], other[name], rows) for key, rows in groups.items()}
    adjusted = holm({language: drop.p for language, drop in drops.items() if language != ALL}) | {ALL: drops[ALL].p}
    worst = max((language for language in drops if language != ALL), key=lambda language: drops[language].value)
    return {
        "metric": name,
        "drop": {
            language: {**drop.as_dict(), "p": _short(drop.p), "p_adjusted": _short(adjusted[language])}
            for language, drop in drops.items()
        },
        "worst_language_drop": {"language": worst, **drops[worst].as_dict()},
    }


def agreement(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Share of rows with the same prediction, or of their words, where each has one."""
    if isinstance(one[0], list):
        one, other = list(chain.from_iterable(one)), list(chain.from_iterable(other))
    return round(sum(a == b for a, b in zip(one, other, strict=True)) / len(one), 4)


def rows_by_language(languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Row numbers of each language, in order of its name, and of all rows under ``all``."""
    array = np.asarray(languages)
    groups = {str(language): np.flatnonzero(array == language) for language in np.unique(array)}
    return {**groups, ALL: np.arange(len(array))}


def _mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import binomtest

    lost, gained = int(((one == 1) & (other == 0)).sum()), int(((one == 0) & (other == 1)).sum())
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _short(p: float) -> float:
    return float(f"{p:.3g}")


def _resampled(statistics: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Sums of statistics (rows, counts) over rows drawn with replacement, the same for all, (resamples, counts)."""
    generator, rows = np.random.default_rng(seed), len(statistics[0])
    sums: list[list[np.ndarray]] = [[] for _ in statistics]
    block = max(1, _BLOCK // rows)
    for start in range(0, _RESAMPLES, block):
        draws = generator.multinomial(rows, np.full(rows, 1 / rows), min(block, _RESAMPLES - start)).astype(np.float64)
        for found, counts in zip(sums, statistics, strict=True):
            found.append(draws @ counts)
    return [np.concatenate(found) for found in sums]

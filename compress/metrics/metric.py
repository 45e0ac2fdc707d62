"""A metric, the figure that rows add up to, and its 95 % interval.

A metric is a function of sums over rows (numbers of right rows, of spans, of n-grams), so that one bootstrap over the
rows serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compress.metrics.figures import Interval

_RESAMPLES = 1000


_BLOCK = 4_000_000  # numbers in memory at once


@dataclass(frozen=True)
class Figure:
    """A share or difference with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def rounded(self) -> Interval:
        """For reports, to four places."""
        # Here, as processes whose memory is measured load the tasks, but no models of reports.
        from compress.metrics.figures import Interval

        return Interval(value=round(self.value, 4), low=round(self.low, 4), high=round(self.high, 4))


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
        low, high = np.percentile(self.value(resampled([chosen], seed)[0]), [2.5, 97.5])
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
        scores: np.ndarray = (2 * right / np.maximum(occurring, 1)).sum(axis=-1)
        classes_seen: np.ndarray = np.maximum((occurring > 0).sum(axis=-1), 1)
        return np.asarray(scores / classes_seen)

    return Metric(np.concatenate([one * other, one + other], axis=1), value)


def f1_of_counts(counts: Sequence[tuple[int, int, int]]) -> Metric:
    """F1 of what is found in all rows together: for each row the numbers that are right, found and wanted."""
    return Metric(
        np.array(counts, dtype=np.float64), lambda sums: 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    )


def resampled(statistics: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Sums of statistics (rows, counts) over rows drawn with replacement, the same for all, (resamples, counts)."""
    generator, rows = np.random.default_rng(seed), len(statistics[0])
    sums: list[list[np.ndarray]] = [[] for _ in statistics]
    block = max(1, _BLOCK // rows)
    for start in range(0, _RESAMPLES, block):
        draws = generator.multinomial(rows, np.full(rows, 1 / rows), min(block, _RESAMPLES - start)).astype(np.float64)
        for found, counts in zip(sums, statistics, strict=True):
            found.append(draws @ counts)
    return [np.concatenate(found) for found in sums]

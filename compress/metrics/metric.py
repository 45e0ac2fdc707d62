"""A metric, the figure that rows add up to, and its 95 % interval.

A metric is a function of sums over rows (numbers of right rows, of spans, of n-grams), so that weights of the rows
serve them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.metrics.resampling import quantile, weighted_sums

if TYPE_CHECKING:
    from compress.metrics.figures import Interval

TAIL = 0.025
"""The chance that a figure is beyond either end of its 95 % interval."""
_NOTHING = 1e-12

Bounds = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


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

    ``statistics`` is float (rows, counts); ``value`` takes sums (…, counts) to figures (…). ``bounds`` takes what is
    counted of a row to what it would be if all of the row were wrong, and if all were right. ``right_or_wrong`` says
    that rows are either; ``signature`` says how others can compute the same figure. ``among`` makes the counts of some
    rows of their ``statistics``, where these depend on one another, as ranks do.
    """

    statistics: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    bounds: Bounds
    right_or_wrong: bool = False
    signature: str = ""
    among: Callable[[np.ndarray], np.ndarray] | None = None

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """What is counted of some rows, float (rows, counts)."""
        chosen = self.statistics[rows]
        return chosen if self.among is None else self.among(chosen)

    def figure(self, rows: np.ndarray) -> Figure:
        """The metric of some rows, with Wilson's interval or that of the rows' random weights."""
        chosen = self.counts(rows)
        value = float(self.value(chosen.sum(axis=0)))
        if self.right_or_wrong:
            from scipy.stats import binomtest

            interval = binomtest(int(chosen[:, 0].sum()), len(rows)).proportion_ci(method="wilson")
            return Figure(value, interval.low, interval.high)
        sums, other = weighted_sums(chosen)
        wrong, right = self.bounds(chosen.mean(axis=0))
        low = quantile(self.value(sums + other * wrong), TAIL, value)
        high = -quantile(-self.value(sums + other * right), TAIL, -value)
        return Figure(value, low, high)


def mean(scores: Sequence[float] | np.ndarray) -> Metric:
    """The mean of a score from 0 to 1 that each row has."""
    array = np.asarray(scores, dtype=np.float64)
    right_or_wrong = bool(np.isin(array, (0.0, 1.0)).all())
    statistics = np.stack([array, np.ones(len(array))], axis=1)
    return Metric(statistics, lambda sums: sums[..., 0] / sums[..., 1], _share_bounds, right_or_wrong)


def share(counts: Sequence[tuple[float, float]]) -> Metric:
    """Of the parts of all rows the share that is right.

    :param counts: For each row the number of its parts that are right, and of all its parts.
    """
    statistics = np.array(counts, dtype=np.float64)
    return Metric(statistics, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], _NOTHING), _share_bounds)


def accuracy(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """Share of right predictions, both int (rows,)."""
    return mean(predicted == targets)


def macro_f1(predicted: np.ndarray, targets: np.ndarray, classes: int) -> Metric:
    """Mean F1 over the classes that occur in targets or predictions, both int (rows,)."""
    one, other = np.eye(classes)[predicted], np.eye(classes)[targets]
    return macro_f1_of_counts(one * other, one + other)


def macro_f1_of_counts(right: np.ndarray, occurring: np.ndarray) -> Metric:
    """Mean F1 over the classes that occur.

    :param right: How often each class is right in each row, (rows, classes).
    :param occurring: How often it is predicted and wanted, taken together.
    """

    def value(sums: np.ndarray) -> np.ndarray:
        right, occurring = np.split(sums, 2, axis=-1)
        scores: np.ndarray = (2 * right / np.maximum(occurring, _NOTHING)).sum(axis=-1)
        classes_seen: np.ndarray = np.maximum((occurring > 0).sum(axis=-1), 1)
        return np.asarray(scores / classes_seen)

    def bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, occurring = np.split(counts, 2)
        return np.concatenate([0 * occurring, occurring]), np.concatenate([occurring / 2, occurring])

    return Metric(np.concatenate([right, occurring], axis=1).astype(np.float64), value, bounds)


def f1_of_counts(counts: Sequence[tuple[int, int, int]]) -> Metric:
    """F1 of what is found in all rows together: for each row the numbers that are right, found and wanted."""
    statistics = np.array(counts, dtype=np.float64)
    return Metric(
        statistics, lambda sums: 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], _NOTHING), _f1_bounds
    )


def _share_bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, parts = counts
    return np.array([0, parts]), np.array([parts, parts])


def _f1_bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, found, wanted = counts
    return np.array([0, found, wanted]), np.array([wanted, wanted, wanted])

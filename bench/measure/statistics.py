"""Intervals of medians and of ratios, from samples that belong together in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.metrics.metric import Figure
from compress.reports.bench import Times

Values = Sequence[float] | NDArray[np.float64]


def median_interval(values: Values, level: float = 0.95) -> Figure:
    """The median with an interval between two of the values in their order, whatever their distribution.

    The number of values below the true median is binomial (n, 1/2) (Conover, 1999, section 3.2); with too few values
    for the level the interval has no end.
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    # The largest number of values that may be cut off at either end.
    cut = int(binom.ppf((1 - level) / 2, count, 0.5))
    if binom.cdf(cut, count, 0.5) > (1 - level) / 2:
        cut -= 1
    if cut < 0:
        return Figure(float(np.median(ordered)), -np.inf, np.inf)
    return Figure(float(np.median(ordered)), float(ordered[cut]), float(ordered[count - 1 - cut]))


def fewest_values(chance: float) -> int:
    """How many values an interval of their median needs, each of whose ends is wrong with at most this chance."""
    return int(np.ceil(np.log2(1 / chance)))


def log_ratios(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the ratios of times that belong together, for each batch the median of its runs, float (batches,).

    :param numerators: Milliseconds, float (rounds, batches); ``denominators`` alike.
    """
    return np.asarray(np.median(np.log(numerators) - np.log(denominators), axis=0), dtype=np.float64)


def ratio_interval(numerators: NDArray[np.float64], denominators: NDArray[np.float64], level: float = 0.95) -> Figure:
    """The median ratio of times that belong together, with its interval over the batches.

    :param numerators: Milliseconds, float (rounds, batches); ``denominators`` alike.
    """
    found = median_interval(log_ratios(numerators, denominators), level)
    return Figure(*(float(np.exp(value)) for value in (found.value, found.low, found.high)))


def percentiles(milliseconds: Values) -> Times:
    """What is told of samples: percentiles, interpolated linearly, and mean."""
    array = np.asarray(milliseconds, dtype=np.float64)
    p50, p90, p95, p99 = (round(float(value), 4) for value in np.percentile(array, [50, 90, 95, 99]))
    return Times(p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99, mean_ms=round(float(array.mean()), 4))

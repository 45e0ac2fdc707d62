"""Metrics of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.metrics.metric import Metric

IN_UNITS_OF_LABELS = ("MAE",)
"""Metrics that are no shares, and the lower the better."""
_ALIKE = 0.1
_NOTHING = 1e-12


def figure_text(metric: str, value: float) -> str:
    """A figure for people: in percent, or in the unit of the labels."""
    return f"{value:.4g}" if metric in IN_UNITS_OF_LABELS else f"{100 * value:.1f}"


def metric_title(metric: str) -> str:
    """What stands over such figures."""
    return metric if metric in IN_UNITS_OF_LABELS else f"{metric} %"


def spread(numbers: Sequence[float] | np.ndarray) -> float:
    """Standard deviation, in which differences of numbers are told; 1 where they are all the same."""
    return float(np.std(np.asarray(numbers, dtype=np.float64))) or 1.0


def alike(before: Sequence[float], after: Sequence[float]) -> list[bool]:
    """Whether two models predict the same, up to a tenth of the standard deviation of what the first one predicts."""
    difference = np.abs(np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64))
    close: list[bool] = (difference <= _ALIKE * spread(before)).tolist()
    return close


def concordance(predicted: np.ndarray, wanted: np.ndarray) -> Metric:
    """Concordance correlation of numbers (Lin, 1989), both float (rows,): Pearson's, less what a shift or another scale
    makes of it; 0 where all are the same."""
    scaled = (np.stack([predicted, wanted], axis=1) - wanted.mean()) / (wanted.std() or 1)
    return Metric(_moments(scaled), _concordance, _correlation_bounds)


def pearson(predicted: np.ndarray, wanted: np.ndarray) -> Metric:
    """Correlation of numbers, both float (rows,); 0 where either are all the same."""
    return Metric(_moments(_standardised(np.stack([predicted, wanted], axis=1))), _correlation, _correlation_bounds)


def spearman(predicted: np.ndarray, wanted: np.ndarray) -> Metric:
    """Correlation of ranks among the rows that are looked at."""
    return Metric(np.stack([predicted, wanted], axis=1), _correlation, _correlation_bounds, among=_moments_of_ranks)


def mean_absolute_error(predicted: np.ndarray, wanted: np.ndarray) -> Metric:
    """Of numbers, in their unit. No row is taken to be wrong by more than the worst is."""
    errors = np.abs(predicted - wanted)
    ends = np.array([0.0, 1.0]), np.array([errors.max(initial=0.0), 1.0])
    return Metric(
        np.stack([errors, np.ones(len(errors))], axis=1), lambda sums: sums[..., 0] / sums[..., 1], lambda _: ends
    )


def _standardised(pairs: np.ndarray) -> np.ndarray:
    spreads = pairs.std(axis=0)
    return np.asarray((pairs - pairs.mean(axis=0)) / np.where(spreads > 0, spreads, 1))


def _moments(pairs: np.ndarray) -> np.ndarray:
    one, other = pairs.T
    return np.stack([np.ones(len(pairs)), one, other, one**2, other**2, one * other], axis=1)


def _moments_of_ranks(pairs: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return _moments(_standardised(rankdata(pairs, axis=0)))


def _correlation(sums: np.ndarray) -> np.ndarray:
    _, covariance, deviations = _deviations(sums)
    return np.where(deviations > _NOTHING, np.clip(covariance / np.maximum(deviations, _NOTHING), -1, 1), 0.0)


def _concordance(sums: np.ndarray) -> np.ndarray:
    one, other, squares, other_squares, products = (sums[..., place] / sums[..., 0] for place in range(1, 6))
    apart = squares + other_squares - 2 * one * other  # both variances, and the square of what is between the means
    return np.where(apart > _NOTHING, np.clip(2 * (products - one * other) / np.maximum(apart, _NOTHING), -1, 1), 0.0)


def _deviations(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Product of the means, covariance, and product of the standard deviations."""
    one, other, squares, other_squares, products = (sums[..., place] / sums[..., 0] for place in range(1, 6))
    variances = np.maximum(squares - one**2, 0) * np.maximum(other_squares - other**2, 0)
    return one * other, products - one * other, np.sqrt(variances)


def _correlation_bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A typical row that speaks for a correlation of -1, and one for 1."""
    means, _, deviations = _deviations(counts)
    return np.array([*counts[:5], means - deviations]), np.array([*counts[:5], means + deviations])

"""Metrics of rows with random weights, and of two models whose rows are swapped at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Value = Callable[[np.ndarray], np.ndarray]

DRAWS = 4000
_TOLD = 10 / DRAWS
"""The smallest chance whose quantile so many draws can tell."""
_BLOCK = 4_000_000  # numbers in memory at once
_SWAPS, _SWAPS_AT_ONCE, _ENOUGH = 20_000, 1000, 50


def weighted_sums(statistics: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sums of rows with random weights, and the weight of one more row, (draws, counts) and (draws, 1).

    Weights are exponential, as in the Bayesian bootstrap (Rubin, 1981), and add up to the rows and that one. With a
    row that speaks against what is found, quantiles bound even what no row shows: a mean of zeros and ones gets Clopper
    and Pearson's exact ends, and other bounded means none that is known to fail (Gaffke, 2005).

    :param statistics: Float (rows, counts).
    """
    kinds, rows = np.unique(statistics, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    sums, others = [], []
    block = max(1, min(DRAWS, _BLOCK // len(kinds)))
    for start in range(0, DRAWS, block):
        count = min(block, DRAWS - start)
        weights = generator.standard_gamma(rows, (count, len(kinds)))
        other = generator.standard_exponential((count, 1))
        scale = (len(statistics) + 1) / (weights.sum(axis=1, keepdims=True) + other)
        sums.append(scale * (weights @ kinds))
        others.append(scale * other)
    return np.concatenate(sums), np.concatenate(others)


def quantile(draws: np.ndarray, chance: float, value: float) -> float:
    """The end below which draws fall with this chance, at most a half; beyond what they can tell, as a normal's tail
    from ``value`` on."""
    from scipy.stats import norm

    if chance >= _TOLD:
        return float(np.quantile(draws, chance))
    return value + float((np.quantile(draws, _TOLD) - value) * norm.isf(chance) / norm.isf(_TOLD))


def swapping_chance(value: Value, one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """The chance of a difference as large, either way, if it were all the same which model says what of a row.

    Approximate randomisation (Noreen, 1989; Riezler and Maxwell, 2005): the two models' rows are swapped at random, up
    to 20,000 times, and no longer than it takes to see 50 differences as large (Besag and Clifford, 1991).

    :param one: What is counted of the rows, float (rows, counts); ``other`` the same of the other model.
    """
    changed = (one != other).any(axis=1)
    if not changed.any():
        return 1.0
    sums, moved = (one.sum(axis=0), other.sum(axis=0)), (other - one)[changed]
    least = abs(float(value(sums[0]) - value(sums[1]))) - 1e-12
    generator, larger = np.random.default_rng(seed), 0
    for drawn in range(_SWAPS_AT_ONCE, _SWAPS + 1, _SWAPS_AT_ONCE):
        shift = generator.integers(0, 2, (_SWAPS_AT_ONCE, len(moved))).astype(np.float64) @ moved
        larger += int((np.abs(value(sums[0] + shift) - value(sums[1] - shift)) >= least).sum())
        if larger >= _ENOUGH:
            return larger / drawn
    return (larger + 1) / (_SWAPS + 1)

"""Intervals of shares of rows, exact or nearly so however few rows there are, and however few of them change."""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = float | np.ndarray


def highest_share(count: Numbers, rows: Numbers, chance: float) -> Any:
    """The upper end of Clopper and Pearson's interval (1934): the share is larger with at most this chance.

    :param count: How many of the rows have the property; need not be whole.
    """
    from scipy.stats import beta

    count = np.asarray(count, dtype=np.float64)
    return np.where(count < rows, beta.isf(chance, count + 1, np.maximum(rows - count, 1e-12)), 1.0)


def lowest_share(count: Numbers, rows: Numbers, chance: float) -> Any:
    """The lower end of the same interval."""
    return 1 - highest_share(rows - np.asarray(count, dtype=np.float64), rows, chance)


def highest_loss(lost: Numbers, gained: Numbers, rows: Numbers, chance: float) -> Any:
    """What is lost at most between two models on the same rows, as a share: more with at most this chance.

    Ends of the exact intervals of both kinds of changes, joined by square-and-add (Newcombe, 1998, method 10; Zou and
    Donner, 2008). Where no row is gained this is Clopper and Pearson's end; tests count how often it is wrong.

    :param lost: Rows that only the first model has right; ``gained`` those that only the second has.
    """
    lost, gained = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    share_lost, share_gained = lost / rows, gained / rows
    above, below = highest_share(lost, rows, chance) - share_lost, share_gained - lowest_share(gained, rows, chance)
    unchanged = np.maximum((1 - share_lost) * (1 - share_gained), 1e-12)
    correlation = np.minimum(np.sqrt(share_lost * share_gained / unchanged), 1.0)  # a row is lost or gained, not both
    return share_lost - share_gained + np.sqrt(above**2 + below**2 + 2 * correlation * above * below)


def lowest_loss(lost: Numbers, gained: Numbers, rows: Numbers, chance: float) -> Any:
    """What is lost at least: less with at most this chance."""
    return -highest_loss(gained, lost, rows, chance)


def fewest_rows(loss: float, chance: float) -> float:
    """How many rows, none of which changes, show that less than this share is lost; infinite for 0."""
    return float(np.ceil(np.log(chance) / np.log1p(-loss))) if 0 < loss < 1 else (np.inf if loss <= 0 else 1.0)

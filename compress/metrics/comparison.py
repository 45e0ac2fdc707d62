"""Two models on the same rows: what is lost from one to the other, language by language, and how often they agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compress.metrics.figures import LanguageLosses, Loss, WorstLoss
from compress.metrics.languages import ALL, rows_by_language
from compress.metrics.metric import TAIL, Figure, Metric
from compress.metrics.proportions import highest_loss, lowest_loss
from compress.metrics.resampling import quantile, swapping_chance, weighted_sums

End = Callable[[float], float]
"""An end of an interval, given the chance that the truth is beyond it."""


@dataclass(frozen=True)
class PairedLoss:
    """What is lost from one model to another on the same rows, as a share; less than 0 is a gain.

    ``low`` and ``high`` take the chance that the truth is below, or above, what they return. They hold for few rows,
    and where few or none of them change.
    """

    value: float
    low: End
    high: End

    @property
    def figure(self) -> Figure:
        """With its 95 % interval."""
        return Figure(self.value, self.low(TAIL), self.high(TAIL))


@dataclass(frozen=True)
class Pair:
    """Two models on the same rows, by their numbers."""

    reference: Metric
    other: Metric
    rows: np.ndarray

    @property
    def right_or_wrong(self) -> bool:
        """Whether the rows are either, for both models."""
        return self.reference.right_or_wrong and self.other.right_or_wrong

    @property
    def lost_and_gained(self) -> tuple[int, int]:
        """How many of the rows, which are right or wrong, the one model alone has right, and the other alone."""
        one, two = self.reference.statistics[self.rows, 0], self.other.statistics[self.rows, 0]
        return int((one > two).sum()), int((one < two).sum())

    @cached_property
    def loss(self) -> PairedLoss:
        """What is lost from the reference to the other.

        Where rows are right or wrong its ends are those of `compress.metrics.proportions`, else those of the rows'
        random weights (`compress.metrics.resampling`), with one more row that one of the models has all wrong.
        """
        if self.right_or_wrong:
            lost, gained = self.lost_and_gained
            return loss_of_counts(lost, gained, len(self.rows))
        reference, other = self.reference, self.other
        one, two = reference.counts(self.rows), other.counts(self.rows)
        both, more = weighted_sums(np.concatenate([one, two], axis=1))
        ones, twos = np.split(both, 2, axis=1)
        typical, typical_other = one.mean(axis=0), two.mean(axis=0)
        wrong, wrong_other = reference.bounds(typical)[0], other.bounds(typical_other)[0]
        value = float(reference.value(one.sum(axis=0)) - other.value(two.sum(axis=0)))
        lows = reference.value(ones + more * wrong) - other.value(twos + more * typical_other)
        highs = reference.value(ones + more * typical) - other.value(twos + more * wrong_other)
        return PairedLoss(
            value,
            lambda chance: min(value, quantile(lows, chance, value)),
            lambda chance: max(value, -quantile(-highs, chance, -value)),
        )

    def with_more_rows(self, factor: float) -> PairedLoss:
        """What would be known of the loss if there were so many times as many rows like these."""
        if self.right_or_wrong:
            lost, gained = self.lost_and_gained
            return loss_of_counts(factor * lost, factor * gained, factor * len(self.rows))
        loss, same = self.loss, bool((self.reference.counts(self.rows) == self.other.counts(self.rows)).all())
        closer = 1 / factor if same else factor**-0.5
        return PairedLoss(
            loss.value,
            lambda chance: loss.value + (loss.low(chance) - loss.value) * closer,
            lambda chance: loss.value + (loss.high(chance) - loss.value) * closer,
        )

    @property
    def chance(self) -> float:
        """Of a loss or gain as large if there were none, two-sided.

        McNemar's test, exact, where rows are right or wrong (McNemar, 1947), else approximate randomisation.
        """
        if self.right_or_wrong:
            from scipy.stats import binomtest

            lost, gained = self.lost_and_gained
            return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
        return swapping_chance(self.reference.value, self.reference.counts(self.rows), self.other.counts(self.rows))


def loss_of_counts(lost: float, gained: float, rows: float) -> PairedLoss:
    """What is lost where so many rows are lost and gained; they need not be whole."""
    return PairedLoss(
        (lost - gained) / rows,
        lambda chance: float(lowest_loss(lost, gained, rows, chance)),
        lambda chance: float(highest_loss(lost, gained, rows, chance)),
    )


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances of several tests, adjusted so that the smallest one can be believed (Holm, 1979)."""
    adjusted, largest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(chances.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, (len(chances) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in chances}


def compare(reference: Mapping[str, Metric], other: Mapping[str, Metric], languages: Sequence[str]) -> LanguageLosses:
    """What is lost of the first metric from one model to another, language by language.

    The interval of the worst language is that of the largest true loss of any: which language looks worst is chance
    too. Its lower end is the largest of all lower ends at a level that holds for all languages together (Bonferroni),
    its upper end the largest of all upper ends.
    """
    name = next(iter(reference))
    pairs = {key: Pair(reference[name], other[name], rows) for key, rows in rows_by_language(languages).items()}
    everything = pairs.pop(ALL)
    drops = {language: pair.loss for language, pair in pairs.items()}
    worst = max(drops, key=lambda language: drops[language].value)
    low = max(drop.low(TAIL / len(drops)) for drop in drops.values())
    figure = Figure(drops[worst].value, low, max(drop.high(TAIL) for drop in drops.values()))
    return LanguageLosses(
        metric=name,
        drop={**adjusted_losses(pairs), **adjusted_losses({ALL: everything})},
        worst_language_drop=WorstLoss(**dict(figure.rounded), language=worst),
    )


def adjusted_losses(pairs: Mapping[str, Pair]) -> dict[str, Loss]:
    """What is lost in each of several groups of rows, with chances that are adjusted for their number."""
    chances = {name: pair.chance for name, pair in pairs.items()}
    adjusted = holm(chances)
    return {
        name: Loss(**dict(pair.loss.figure.rounded), p=_short(chances[name]), p_adjusted=_short(adjusted[name]))
        for name, pair in pairs.items()
    }


def agreement(rows: Sequence[Sequence[tuple[str, bool]]]) -> float:
    """Share of the rows, or of their words or labels, that two models predict alike.

    :param rows: As `compress.tasks.contract.Task.agreed` has them.
    """
    agreed = [agrees for row in rows for _, agrees in row]
    return round(sum(agreed) / len(agreed), 4) if agreed else 1.0


def _short(p: float) -> float:
    return float(f"{p:.3g}")

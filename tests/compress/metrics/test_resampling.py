"""Intervals of figures that are no shares of rows, simulated: F1 of spans, whose rows lose several at once."""

import numpy as np
import pytest

from compress.metrics.comparison import Pair
from compress.metrics.metric import f1_of_counts, mean
from compress.metrics.proportions import highest_share
from compress.metrics.resampling import quantile, weighted_sums


def spans(rows: int, share_lost: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What two models find in rows, (rows, 3) each: the second loses two thirds of the spans of some rows."""
    generator = np.random.default_rng(seed)
    wanted = generator.geometric(0.45, rows) - 1
    right, more = generator.binomial(wanted, 0.85), generator.poisson(0.15, rows)
    left = np.where(generator.random(rows) < share_lost, generator.binomial(right, 0.33), right)
    return np.stack([right, right + more, wanted], axis=1), np.stack([left, left + more, wanted], axis=1)


@pytest.mark.parametrize(("rows", "share_lost"), [(30, 0.01), (100, 0.03), (300, 0.03)])
def test_a_loss_of_f1_is_beyond_its_ends_no_more_often_than_is_stated(rows: int, share_lost: float):
    one, other = (f1_of_counts(counts) for counts in spans(200_000, share_lost, 0))
    everything = np.arange(200_000)
    true = float(one.value(one.statistics.sum(axis=0)) - other.value(other.statistics.sum(axis=0)))
    generator, above, below, rounds = np.random.default_rng(1), 0, 0, 150
    for _ in range(rounds):
        loss = Pair(one, other, generator.choice(everything, rows)).loss
        above, below = above + (loss.high(0.05) < true), below + (loss.low(0.05) > true)
    assert above / rounds <= 0.07
    assert below / rounds <= 0.07


def test_f1_that_does_not_change_may_be_lost_all_the_same():
    same = f1_of_counts([(2, 2, 2)] * 30)
    loss = Pair(same, same, np.arange(30)).loss
    assert (loss.value, loss.low(0.05), loss.high(0.05)) == pytest.approx((0, -0.095, 0.095), abs=0.01)
    figure = same.figure(np.arange(30))
    assert (figure.value, figure.high) == (1, 1)
    assert figure.low == pytest.approx(1 - highest_share(0, 30, 0.025), abs=0.01)


def test_where_rows_are_right_or_wrong_the_weights_give_the_exact_interval():
    right = mean([0.0] * 5 + [1.0] * 15).statistics
    sums, more = weighted_sums(right)
    draws = (sums + more * [1, 1])[:, 0] / (sums + more)[:, 1]
    assert np.quantile(draws, 0.95) == pytest.approx(highest_share(15, 20, 0.05), abs=0.01)


def test_rare_quantiles_go_on_as_a_normals_tail():
    draws = np.random.default_rng(0).standard_normal(4000)
    assert quantile(draws, 0.05, 0.0) == pytest.approx(-1.645, abs=0.1)
    assert quantile(draws, 0.0001, 0.0) == pytest.approx(-3.719, abs=0.4)

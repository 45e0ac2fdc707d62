import numpy as np
from scipy.stats import binom

from bench.measure.statistics import fewest_values, median_interval, percentiles, ratio_interval
from compress.reports.bench import Times


def test_the_interval_of_a_median_lies_between_two_of_the_values():
    # Of ten values the second and the ninth enclose the median with 1 - 2 * P(X <= 1) = 97.9 % (X binomial, n = 10).
    found = median_interval(range(1, 11))
    assert (found.value, found.low, found.high) == (5.5, 2, 9)
    assert 2 * binom.cdf(1, 10, 0.5) < 0.05 < 2 * binom.cdf(2, 10, 0.5)


def test_too_few_values_have_no_interval():
    found = median_interval([1, 2, 3, 4, 5])  # 1 - 2 / 2^5 = 93.75 %
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert np.isfinite(median_interval([1, 2, 3, 4, 5], level=0.9).low)


def test_the_interval_holds_what_it_promises():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        values = generator.exponential(size=30)  # lopsided, as latencies are
        found = median_interval(values, level=0.9)
        held += found.low <= np.log(2) <= found.high
    assert held >= 900


def test_a_ratio_is_that_of_pairs():
    generator = np.random.default_rng(0)
    slow_spells = 1 + 10 * (generator.random(400) < 0.3)  # of the machine: they fall on both of a pair
    old = slow_spells * generator.normal(1, 0.01, 400)
    new = 1.15 * slow_spells * generator.normal(1, 0.01, 400)
    found = ratio_interval(new.reshape(2, 200), old.reshape(2, 200))
    assert found.low < 1.15 < found.high
    assert found.high - found.low < 0.01


def test_more_runs_of_the_same_batches_are_no_more_batches():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        own = 0.05 * generator.standard_normal(25)  # each batch has a ratio of its own
        new = np.exp(own + 0.005 * generator.standard_normal((16, 25)))
        found = ratio_interval(new, np.ones((16, 25)))
        held += found.low <= 1 <= found.high
    assert held / 300 >= 0.94


def test_so_many_values_have_an_interval():
    for chance in (0.05, 0.0125, 0.001):
        count = fewest_values(chance)
        assert np.isfinite(median_interval(range(count), 1 - 2 * chance).low)
        assert not np.isfinite(median_interval(range(count - 1), 1 - 2 * chance).low)


def test_percentiles_and_mean():
    found = percentiles(range(1, 101))
    assert found == Times(p50_ms=50.5, p90_ms=90.1, p95_ms=95.05, p99_ms=99.01, mean_ms=50.5)

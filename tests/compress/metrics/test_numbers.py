import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from compress.metrics.comparison import compare
from compress.metrics.languages import per_language
from compress.metrics.numbers import (
    alike,
    concordance,
    figure_text,
    mean_absolute_error,
    metric_title,
    pearson,
    spearman,
)

GENERATOR = np.random.default_rng(0)
WANTED = GENERATOR.normal(3, 2, 400)
FOUND = 10 * WANTED + GENERATOR.normal(0, 10, 400)
LANGUAGES = ["de", "ja"] * 200


def test_correlations_are_scipys_in_each_language():
    figures = per_language({"Pearson": pearson(FOUND, WANTED), "Spearman": spearman(FOUND, WANTED)}, LANGUAGES)
    for language, rows in (("all", slice(None)), ("de", slice(0, None, 2)), ("ja", slice(1, None, 2))):
        for name, known in (("Pearson", pearsonr), ("Spearman", spearmanr)):
            figure = figures[language][name]
            assert figure.value == pytest.approx(known(FOUND[rows], WANTED[rows]).statistic, abs=1e-4)
            assert figure.low < figure.value < figure.high
    interval = pearsonr(FOUND, WANTED).confidence_interval()
    assert (figures["all"]["Pearson"].low, figures["all"]["Pearson"].high) == pytest.approx(interval, abs=0.02)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1, 2), (0.5, 0), (3, -4)])
def test_concordance_is_pearsons_correlation_less_a_shift_and_another_scale(scale: float, shift: float):
    found = scale * (WANTED + GENERATOR.normal(0, 1, 400)) + shift
    covariance = np.cov(found, WANTED, bias=True)[0, 1]
    known = 2 * covariance / (found.var() + WANTED.var() + (found.mean() - WANTED.mean()) ** 2)
    figure = concordance(found, WANTED).figure(np.arange(400))
    assert figure.value == pytest.approx(known)
    assert figure.low < figure.value < figure.high
    correlation = pearson(found, WANTED).figure(np.arange(400)).value
    assert (figure.value < correlation - 0.1) is ((scale, shift) != (1, 0))


def test_a_shift_is_a_drop():
    losses = compare(*({"CCC": concordance(WANTED + shift, WANTED)} for shift in (0, 1)), LANGUAGES)
    assert losses.drop["all"].low > 0.05
    losses = compare(*({"Pearson": pearson(WANTED + shift, WANTED)} for shift in (0, 1)), LANGUAGES)
    assert losses.drop["all"].value == pytest.approx(0)


def test_numbers_that_are_all_the_same_do_not_correlate():
    for metric in (pearson, concordance):
        figure = metric(np.ones(20), WANTED[:20]).figure(np.arange(20))
        assert figure.value == pytest.approx(0)
        assert -1 <= figure.low <= figure.high <= 1
    assert concordance(np.ones(20), np.ones(20)).figure(np.arange(20)).value == 0


def test_the_mean_absolute_error_is_in_the_unit_of_the_labels():
    figure = mean_absolute_error(FOUND, WANTED).figure(np.arange(400))
    assert figure.value == pytest.approx(np.abs(FOUND - WANTED).mean())
    assert figure.low < figure.value < figure.high
    assert (metric_title("MAE"), figure_text("MAE", 12.3456), figure_text("Pearson", 0.9)) == ("MAE", "12.35", "90.0")


def test_what_is_lost_of_a_correlation_is_a_drop():
    worse = np.where(np.array(LANGUAGES) == "ja", FOUND + GENERATOR.normal(0, 40, 400), FOUND)
    losses = compare(*({"Pearson": pearson(found, WANTED)} for found in (FOUND, worse)), LANGUAGES)
    assert losses.worst_language_drop.language == "ja"
    assert losses.worst_language_drop.low > 0.2
    assert (losses.drop["de"].value, losses.drop["de"].p) == (0, 1)
    assert losses.drop["ja"].p_adjusted < 0.001


def test_numbers_are_alike_within_a_tenth_of_their_standard_deviation():
    assert alike([0, 10], [0.4, 10.6]) == [True, False]
    assert alike([1, 1], [1, 1.2]) == [True, False]

"""Figures against scikit-learn and values computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from compress.metrics.comparison import Pair, agreement, compare, holm
from compress.metrics.languages import calibration_error, per_language, rows_by_language
from compress.metrics.metric import accuracy, f1_of_counts, macro_f1, mean, share
from compress.tasks import multi_label_classification, text_classification, token_classification

GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.integers(0, 4, 300)
PREDICTED = np.where(GENERATOR.random(300) < 0.8, TARGETS, GENERATOR.integers(0, 4, 300))


def test_accuracy_has_wilsons_interval():
    figure = accuracy(np.array([0] * 90 + [1] * 10), np.zeros(100, dtype=int)).figure(np.arange(100))
    assert figure.value == 0.9
    assert (figure.low, figure.high) == pytest.approx((0.8256, 0.9448), abs=1e-4)  # by the formula of Wilson (1927)


def test_macro_f1_is_scikit_learns():
    figure = macro_f1(PREDICTED, TARGETS, 4).figure(np.arange(300))
    assert figure.value == pytest.approx(f1_score(TARGETS, PREDICTED, average="macro"))
    assert figure.low < figure.value < figure.high


def test_macro_f1_leaves_out_classes_that_do_not_occur():
    assert macro_f1(np.array([0, 3]), np.array([0, 3]), 5).figure(np.arange(2)).value == 1.0


def test_the_drop_is_paired():
    rows = np.arange(100)
    reference, other = accuracy(rows * 0, rows * 0), accuracy(rows < 5, rows * 0)
    drop = Pair(reference, other, rows).loss.figure
    assert drop.value == pytest.approx(0.05)
    assert drop.low < 0.05 < drop.high
    # None of 100 rows changes: 1 - 0.025^(1/100) may be lost or gained all the same (Clopper and Pearson, 1934).
    same = Pair(other, other, rows).loss.figure
    assert (same.value, same.low, same.high) == pytest.approx((0, -0.0362, 0.0362), abs=1e-4)


def test_comparison_names_the_worst_language():
    reference, other = {"accuracy": mean([1, 1, 1, 1])}, {"accuracy": mean([1, 1, 1, 0])}
    result = compare(reference, other, ["de", "de", "ja", "ja"])
    assert result.worst_language_drop.language == "ja"
    assert result.worst_language_drop.value == 0.5
    assert result.drop["all"].value == 0.25
    assert agreement(text_classification.agreed(["a", "a", "b", "b"], ["a", "a", "b", "a"])) == 0.75
    assert agreement(token_classification.agreed([["a", "b", "b"], ["c"]], [["a", "b", "a"], ["c"]])) == 0.75
    assert agreement(multi_label_classification.agreed([["a", "b"], []], [["b", "c"], []])) == 0.3333
    assert agreement(multi_label_classification.agreed([[]], [[]])) == 1


def test_figures_of_counts_add_up_over_rows_before_they_are_divided():
    rows = np.arange(2)
    assert share([(1, 1), (0, 3)]).figure(rows).value == 0.25
    assert f1_of_counts([(1, 1, 2), (0, 1, 0)]).figure(rows).value == 0.5
    assert f1_of_counts([(0, 0, 0), (0, 0, 0)]).figure(rows).value == 0.0


def test_languages_are_counted_apart():
    groups = rows_by_language(["ja", "de", "ja"])
    assert {language: rows.tolist() for language, rows in groups.items()} == {"de": [1], "ja": [0, 2], "all": [0, 1, 2]}
    figures = per_language({"accuracy": mean([1, 0, 1])}, ["ja", "de", "ja"])
    assert figures["de"]["accuracy"].value == 0
    assert figures["ja"]["accuracy"].value == 1


def test_two_models_are_told_apart_by_mcnemars_test():
    # Twelve rows lost and two gained: binomial (14, 1/2), two-sided 2 * P(X <= 2) = 2 * (1 + 14 + 91) / 2^14.
    right = np.ones(100)
    right[:2] = 0
    other = np.ones(100)
    other[2:14] = 0
    pair = Pair(mean(right), mean(other), np.arange(100))
    assert pair.loss.value == pytest.approx(0.1)
    assert pair.chance == pytest.approx(2 * 106 / 2**14)
    assert Pair(mean(right), mean(right), np.arange(100)).chance == 1


def test_other_metrics_are_told_apart_by_swapping_rows():
    better, worse = np.full(200, 0.9), np.where(np.arange(200) % 2, 0.9, 0.7)
    assert Pair(mean(better), mean(worse), np.arange(200)).chance < 0.001
    assert Pair(mean(worse), mean(worse[::-1]), np.arange(200)).chance > 0.2
    assert Pair(mean(worse), mean(worse), np.arange(200)).chance == 1
    # Three rows that lose the same: of eight ways to swap them two are as far apart.
    three = np.where(np.arange(200) < 3, 0.7, 0.9)
    assert Pair(mean(better), mean(three), np.arange(200)).chance == pytest.approx(2 / 8, abs=0.05)


def test_a_total_loss_is_sure_in_a_hundred_languages():
    rows = np.arange(200)
    chance = Pair(f1_of_counts([(1, 1, 1)] * 200), f1_of_counts([(0, 1, 1)] * 200), rows).chance
    assert holm({str(language): chance for language in range(100)})["0"] < 0.01


def test_chances_are_adjusted_as_holm_says():
    # Sorted 0.01, 0.02, 0.04, times 3, 2, 1, never falling.
    assert holm({"de": 0.02, "en": 0.04, "fr": 0.01}) == pytest.approx({"de": 0.04, "en": 0.04, "fr": 0.03})
    assert holm({"de": 0.9, "en": 0.8}) == {"de": 1.0, "en": 1.0}


def test_a_comparison_adjusts_for_its_languages():
    wrong = PREDICTED.copy()
    wrong[0:90:3] = 9
    before, after = ({"accuracy": accuracy(predicted, TARGETS)} for predicted in (PREDICTED, wrong))
    found = compare(before, after, ["de", "en", "fr"] * 100)
    assert found.drop["de"].p < 0.001
    assert found.drop["de"].p_adjusted == pytest.approx(3 * found.drop["de"].p, rel=0.01)
    assert found.drop["en"].p_adjusted == 1
    assert found.drop["all"].p_adjusted == found.drop["all"].p


def test_calibration_error_by_hand():
    # Two bins: three rows with 0.9 of which two are right, and one with 0.6 that is wrong.
    error = calibration_error(np.array([0.9, 0.9, 0.9, 0.6]), np.array([1, 1, 0, 0]))
    assert error == pytest.approx((abs(2.7 - 2) + abs(0.6 - 0)) / 4)
    assert calibration_error(np.ones(5), np.ones(5)) == 0


def test_the_worst_languages_interval_knows_that_it_was_chosen():
    """No language loses anything: the largest loss of any is 0, though the one that looks worst seems to lose some."""
    generator, beyond, rounds = np.random.default_rng(0), 0, 200
    languages = [f"l{number:02}" for number in range(14) for _ in range(200)]
    for _ in range(rounds):
        one = generator.random(2800) < 0.9
        other = np.where(generator.random(2800) < 0.5, generator.random(2800) < 0.9, one)
        worst = compare({"accuracy": mean(one)}, {"accuracy": mean(other)}, languages).worst_language_drop
        assert worst.value >= 0
        beyond += worst.low > 0 or worst.high < 0
    assert beyond / rounds <= 0.05

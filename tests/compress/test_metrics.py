"""Figures against scikit-learn and values computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from compress.metrics import (
    accuracy,
    agreement,
    compare,
    f1_of_counts,
    macro_f1,
    mean,
    paired_drop,
    per_language,
    rows_by_language,
    share,
)

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
    drop = paired_drop(reference, other, rows)
    assert drop.value == pytest.approx(0.05)
    assert drop.low < 0.05 < drop.high
    same = paired_drop(other, other, rows)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_comparison_names_the_worst_language():
    reference, other = {"accuracy": mean([1, 1, 1, 1])}, {"accuracy": mean([1, 1, 1, 0])}
    result = compare(reference, other, ["de", "de", "ja", "ja"])
    assert result["worst_language_drop"]["language"] == "ja"
    assert result["worst_language_drop"]["value"] == 0.5
    assert result["drop"]["all"]["value"] == 0.25
    assert agreement(["a", "a", "b", "b"], ["a", "a", "b", "a"]) == 0.75
    assert agreement([["a", "b", "b"], ["c"]], [["a", "b", "a"], ["c"]]) == 0.75


def test_figures_of_counts_add_up_over_rows_before_they_are_divided():
    rows = np.arange(2)
    assert share([(1, 1), (0, 3)]).figure(rows).value == 0.25
    assert f1_of_counts([(1, 1, 2), (0, 1, 0)]).figure(rows).value == 0.5
    assert f1_of_counts([(0, 0, 0), (0, 0, 0)]).figure(rows).value == 0.0


def test_languages_are_counted_apart():
    groups = rows_by_language(["ja", "de", "ja"])
    assert {language: rows.tolist() for language, rows in groups.items()} == {"de": [1], "ja": [0, 2], "all": [0, 1, 2]}
    figures = per_language({"accuracy": mean([1, 0, 1])}, ["ja", "de", "ja"])
    assert figures["de"]["accuracy"]["value"] == 0
    assert figures["ja"]["accuracy"]["value"] == 1

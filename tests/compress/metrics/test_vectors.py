"""Ranks, neighbours and translations found with vectors, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from compress.metrics.vectors import (
    COSINE,
    VectorFinding,
    found_across,
    found_by_query,
    metrics_of,
    nearest_of,
    ranks_of,
    similarities,
    translations_found,
)

EAST, NORTH, NORTHEAST = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])


def test_vectors_are_compared_as_they_are_meant_to_be():
    one, other = EAST[None], np.stack([EAST, NORTH, NORTHEAST])
    assert similarities(one, other, "cosine")[0] == pytest.approx([1, 0, 0.5**0.5])
    assert similarities(one, other, "dot")[0] == pytest.approx([1, 0, 3])
    assert similarities(one, other, "euclidean")[0] == pytest.approx([0, -(2**0.5), -(13**0.5)])
    assert similarities(one, other, "manhattan")[0] == pytest.approx([0, -2, -5])


def test_what_is_equally_near_counts_before_what_is_wanted():
    same = np.ones((4, 2))
    assert ranks_of(same[:1], same, [[2]], "cosine") == [[4]]
    assert ranks_of(EAST[None], np.stack([NORTH, NORTHEAST, EAST]), [[2], [0]], "cosine") == [[1]]
    assert ranks_of(EAST[None], np.stack([NORTH, NORTHEAST, EAST]), [[0, 1]], "cosine") == [[2, 3]]


def test_the_nearest_of_a_text_is_another_one():
    found = np.stack([EAST, NORTHEAST, NORTH + 0.1 * NORTHEAST])
    assert nearest_of(found, found, "cosine", same=True).tolist() == [1, 2, 1]
    assert nearest_of(found[:1], found[:1], "cosine", same=True).tolist() == [-1]


def test_a_query_finds_all_that_its_rows_name_and_each_passage_counts_once():
    queries, passages = np.stack([EAST, EAST, NORTH]), np.stack([EAST, NORTHEAST, NORTHEAST])
    texts = [("east", "e"), ("east", "ne"), ("north", "ne")]
    found = found_by_query(queries, passages, texts, ["en"] * 3, "cosine")
    assert [row.ranks for row in found] == [[1, 2], [1, 2], [1]]
    metrics = metrics_of(found, ["", "", ""])
    assert {name: metric.figure(np.arange(3)).value for name, metric in metrics.items()} == dict.fromkeys(metrics, 1)


def test_parallel_passages_are_found_among_those_of_all_other_languages():
    queries, passages = np.stack([EAST, NORTH, EAST]), np.stack([EAST, NORTH, NORTHEAST])
    ranks = found_across(queries, passages, ["1", "2", "1"], ["e", "n", "ost"], ["en", "en", "de"], "cosine")
    assert ranks == [[1], [], [1]]  # there is no German parallel of the second
    scored = metrics_of([VectorFinding(0, ranks_across=row) for row in ranks], ["", "", ""])["nDCG@10 across"]
    assert scored.figure(np.arange(3)).value == 1
    with_miss = metrics_of([VectorFinding(0, ranks_across=[rank]) for rank in (11, 2)], ["", ""])
    assert with_miss["MRR@10 across"].figure(np.arange(2)).value == 0.25


def test_a_translation_is_right_where_it_is_the_nearest_text_of_its_language():
    vectors = np.stack([EAST, NORTH, EAST + 0.1, NORTHEAST, NORTH])
    right = translations_found(vectors, ["1", "2", "1", "2", "3"], ["en", "en", "de", "de", "fr"], "cosine")
    assert right == [1, 1, 1, 0, None]
    figures = metrics_of([VectorFinding(0, translated=share) for share in right], [""] * 5)["translation accuracy"]
    assert figures.figure(np.arange(5)).value == 0.75


def test_scores_of_pairs_are_told_by_their_ranks():
    metrics = metrics_of([VectorFinding(0, similarity=value) for value in (0.1, 0.5, 0.9)], [1.0, 2.0, 5.0])
    assert metrics["Spearman"].figure(np.arange(3)).value == pytest.approx(1)
    assert list(metrics_of([VectorFinding(0, cosine=0.5)], [[0.1]])) == [COSINE]

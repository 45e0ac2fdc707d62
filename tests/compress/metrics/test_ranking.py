"""How well passages are ranked: the figures are those of scikit-learn, and queries are what is counted and drawn."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from compress.metrics.comparison import compare
from compress.metrics.languages import per_language
from compress.metrics.ranking import agreement_metrics, query_numbers, ranking_metrics, ranks_within

QUERIES, PASSAGES = 40, 12


def drawn(seed: int, grades: int = 2) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores and grades of passages; each query has a relevant one."""
    generator = np.random.default_rng(seed)
    grade = generator.integers(0, grades, (QUERIES, PASSAGES)) * (generator.random((QUERIES, PASSAGES)) < 0.3)
    grade[:, 0] = 1
    return generator.normal(size=(QUERIES, PASSAGES)) + grade, grade.astype(float), [f"q{n}" for n in range(QUERIES)]


@pytest.mark.parametrize("grades", [2, 4])
def test_the_gain_is_that_of_scikit_learn(grades: int):
    scores, grade, names = drawn(0, grades)
    found = ranking_metrics(scores.ravel(), grade.ravel(), np.repeat(names, PASSAGES).tolist())
    figure = found["nDCG@10"].figure(np.arange(scores.size))
    assert figure.value == pytest.approx(ndcg_score(grade, scores, k=10), abs=1e-9)
    assert figure.low < figure.value < figure.high


def test_the_reciprocal_rank_of_one_relevant_passage_is_that_of_scikit_learn():
    scores, grade, names = drawn(1)
    grade[:, 1:] = 0
    found = ranking_metrics(scores.ravel(), grade.ravel(), np.repeat(names, PASSAGES).tolist())
    every = np.arange(scores.size)
    place = 1 + (scores[:, 1:] > scores[:, :1]).sum(axis=1)
    assert label_ranking_average_precision_score(grade, scores) == pytest.approx((1 / place).mean())
    assert found["MRR@10"].figure(every).value == pytest.approx(np.where(place <= 10, 1 / place, 0).mean())
    for count in (1, 5):
        assert found[f"recall@{count}"].figure(every).value == pytest.approx((place <= count).mean())


def test_rows_may_stand_in_any_order_and_queries_without_what_is_relevant_are_left_out():
    scores, grade, names = drawn(2)
    queries = np.repeat(names, PASSAGES)
    order = np.random.default_rng(0).permutation(scores.size)
    found = ranking_metrics(scores.ravel()[order], grade.ravel()[order], queries[order].tolist())
    value = found["nDCG@10"].figure(np.arange(scores.size)).value
    assert value == pytest.approx(ndcg_score(grade, scores, k=10), abs=1e-9)
    grade[:20] = 0
    found = ranking_metrics(scores.ravel(), grade.ravel(), queries.tolist())
    value = found["nDCG@10"].figure(np.arange(scores.size)).value
    assert value == pytest.approx(ndcg_score(grade[20:], scores[20:], k=10), abs=1e-9)


def test_scores_that_are_all_the_same_rank_nothing():
    found = ranking_metrics(np.zeros(12), np.array([1.0, *[0.0] * 11]), ["q"] * 12)
    assert found["MRR@10"].figure(np.arange(12)).value == 0


def test_a_drop_is_paired_by_query_and_no_surer_for_more_passages():
    scores, grade, names = drawn(3)
    worse = scores.copy()
    worse[:6] = -scores[:6]
    queries, languages = np.repeat(names, PASSAGES).tolist(), ["en"] * scores.size
    before, after = (ranking_metrics(found.ravel(), grade.ravel(), queries) for found in (scores, worse))
    drop = compare(before, after, languages).drop["en"]
    figures = [per_language(found, languages)["en"]["nDCG@10"].value for found in (before, after)]
    assert drop.value == pytest.approx(figures[0] - figures[1], abs=1e-4)
    assert drop.low < drop.value < drop.high
    padded = [np.pad(found, ((0, 0), (0, 48)), constant_values=-99.0) for found in (scores, worse)]
    more, names = np.pad(grade, ((0, 0), (0, 48))), np.repeat(names, PASSAGES + 48).tolist()
    wider = compare(
        *(ranking_metrics(found.ravel(), more.ravel(), names) for found in padded), ["en"] * more.size
    ).drop["en"]
    assert (wider.low, wider.high) == pytest.approx((drop.low, drop.high), abs=0.01)


def test_ranks_are_told_query_by_query():
    assert ranks_within(np.array([0.1, 0.9, 0.5, 0.5]), ["a", "a", "b", "b"]) == [2, 1, 1, 2]


def test_without_labels_the_first_passage_of_another_model_is_what_is_relevant():
    scores, _, names = drawn(4)
    queries = np.repeat(names, PASSAGES).tolist()
    same = agreement_metrics(scores.ravel(), scores.ravel(), queries)
    assert {name: metric.figure(np.arange(scores.size)).value for name, metric in same.items()} == dict.fromkeys(
        same, 1
    )
    alone = agreement_metrics(np.array([1.0, 2.0]), np.array([2.0, 5.0]), ["a", "b"])
    assert list(alone) == ["Spearman"]


def test_rows_of_a_query_have_a_number_of_their_own_whatever_its_text_ends_with():
    queries = [("de", "b"), ("de", "a"), ("en", "b"), ("de", "b"), ("de", "b\0")]
    assert query_numbers(queries).tolist() == [0, 1, 2, 0, 3]
    assert query_numbers([]).tolist() == []

import numpy as np
import pytest

from bench.gate.judgement import ALPHA, Judged, drop, growth, judge, overall, slowdown
from compress.metrics.metric import mean


def judged(limit: float, figure: str = "latency, batches of 1", language: str | None = None) -> Judged:
    return Judged("onnx-int8", figure, language, limit)


def pairs(ratio: float, count: int, noise: float, seed: int = 0) -> np.ndarray:
    """Logarithms of ratios with noise that has long tails, as that of a shared machine."""
    return np.log(ratio) + noise * np.random.default_rng(seed).standard_t(2, count)


def test_only_an_interval_beyond_the_limit_fails():
    assert judge(1.11, 1.2, limit=1.1) == "fail"
    assert judge(1.09, 1.2, limit=1.1) == "inconclusive"
    assert judge(0.9, 1.1, limit=1.1) == "pass"


@pytest.mark.parametrize(
    ("ratio", "count", "verdict"), [(1.0, 200, "pass"), (1.15, 200, "fail"), (1.15, 8, "inconclusive")]
)
def test_slowdowns(ratio: float, count: int, verdict: str):
    found = slowdown(judged(1.10, language="de"), pairs(ratio, count, 0.05), ALPHA / 20)
    assert found.verdict == verdict
    assert found.value == pytest.approx(ratio, abs=0.05)
    if found.low is not None:
        assert found.low < ratio < found.high


def test_times_at_the_limit_fail_no_more_often_than_is_stated():
    figures, alarms = 20, 0
    for seed in range(500):
        alarms += slowdown(judged(1.10), pairs(1.10, 50, 0.05, seed), ALPHA / figures).verdict == "fail"
    assert alarms / 500 <= ALPHA / figures + 0.005


def test_doubt_widens_the_interval_to_both_sides():
    sure = slowdown(judged(1.10), pairs(1.15, 200, 0.02), ALPHA)
    doubted = slowdown(judged(1.10), pairs(1.15, 200, 0.02), ALPHA, doubt=0.1)
    assert (sure.verdict, doubted.verdict) == ("fail", "inconclusive")
    assert doubted.low == pytest.approx(sure.low * np.exp(-0.1), rel=1e-3)
    assert doubted.high == pytest.approx(sure.high * np.exp(0.1), rel=1e-3)


def test_too_few_pairs_decide_nothing():
    found = slowdown(judged(1.10), pairs(3.0, 4, 0.01), ALPHA)
    assert (found.verdict, found.low, found.high) == ("inconclusive", None, None)
    assert "4 pairs" in found.note
    assert found.told == f"{found.value:.3f}"


def test_growth_is_judged_by_all_starts():
    assert growth(judged(1.05, "peak memory"), [102, 103, 101], [100, 101, 99]).verdict == "pass"
    assert growth(judged(1.05, "peak memory"), [108, 109, 110], [100, 101, 99]).verdict == "fail"
    assert growth(judged(1.05, "peak memory"), [104, 120, 103], [100, 101, 99]).verdict == "inconclusive"
    exact = growth(judged(1.05, "size on disk"), [106], [100])
    assert (exact.verdict, exact.low, exact.high) == ("fail", 1.06, 1.06)


def scores(rows: int, wrong: int) -> np.ndarray:
    return (np.arange(rows) >= wrong).astype(float)


@pytest.mark.parametrize(
    ("rows", "lost", "verdict"), [(5000, 0, "pass"), (5000, 10, "pass"), (5000, 100, "fail"), (300, 6, "inconclusive")]
)
def test_drops(rows: int, lost: int, verdict: str):
    # Half of what is right stays right; two per cent lost of 5,000 rows is a drop of two points.
    old, new = mean(scores(rows, rows // 4)), mean(scores(rows, rows // 4 + lost))
    found = drop(judged(1.0, "accuracy", "de"), old, new, np.arange(rows), ALPHA / 15)
    assert found.verdict == verdict
    assert found.value == pytest.approx(100 * lost / rows)
    assert found.told.startswith(f"{100 * lost / rows:+.2f} (")


def test_the_same_predictions_have_no_drop_however_few():
    same = mean(scores(10, 3))
    found = drop(judged(0.0, "accuracy", "de"), same, same, np.arange(10), ALPHA)
    assert (found.verdict, found.low, found.high) == ("pass", 0, 0)


def test_it_says_how_many_rows_would_tell():
    def two_points_lost(rows: int):
        old, new = mean(scores(rows, 0)), mean(scores(rows, round(0.02 * rows)))
        return drop(judged(1.0, "accuracy", "de"), old, new, np.arange(rows), ALPHA / 15)

    found = two_points_lost(500)
    assert found.verdict == "inconclusive"
    needed = int(found.note.partition("about ")[2].split()[0].replace(",", ""))
    assert two_points_lost(int(0.9 * needed)).verdict == "inconclusive"
    assert two_points_lost(int(1.1 * needed)).verdict == "fail"


def test_the_worst_figure_decides():
    good = growth(judged(1.05, "size on disk"), [1], [1])
    unknown = growth(judged(1.05, "peak memory"), [1, 2], [1])
    bad = growth(judged(1.05, "size on disk"), [2], [1])
    assert overall([good]) == "pass"
    assert overall([good, unknown]) == "inconclusive"
    assert overall([unknown, bad, good]) == "fail"

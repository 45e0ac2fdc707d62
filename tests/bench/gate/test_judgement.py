import numpy as np
import pytest

from bench.gate.judgement import ALPHA, Chances, Doubt, Judged, drop, growth, judge, overall, slowdown
from bench.measure.statistics import log_ratios
from compress.metrics.comparison import Pair
from compress.metrics.metric import f1_of_counts, mean

CHANCES = Chances(below=ALPHA / 15, above=ALPHA)


def judged(limit: float, figure: str = "latency, batches of 1", language: str | None = None) -> Judged:
    return Judged("onnx-int8", figure, language, limit)


def batches(ratio: float, count: int, noise: float, seed: int = 0) -> np.ndarray:
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
    found = slowdown(judged(1.10, language="de"), batches(ratio, count, 0.05), Chances(ALPHA / 20, ALPHA))
    assert found.verdict == verdict
    assert found.value == pytest.approx(ratio, abs=0.05)
    if found.low is not None:
        assert found.low < ratio < found.high


def looks(ratio: float, seed: int, batch_noise: float, run_noise: float) -> list[str]:
    """Verdicts after 2, 4, 8 and 16 rounds of 25 batches, each of which has a ratio of its own."""
    generator = np.random.default_rng(seed)
    own = batch_noise * generator.standard_normal(25)
    logs = np.log(ratio) + own + run_noise * generator.standard_t(2, (16, 25))
    chances = Chances(below=ALPHA / 4, above=ALPHA / 4)
    seen = (log_ratios(np.exp(logs[:rounds]), np.ones((rounds, 25))) for rounds in (2, 4, 8, 16))
    return [slowdown(judged(1.10), batches, chances).verdict for batches in seen]


@pytest.mark.parametrize(("batch_noise", "run_noise"), [(0.05, 0.005), (0.0, 0.05), (0.02, 0.02)])
def test_four_looks_at_times_at_the_limit_are_wrong_no_more_often_than_is_stated(batch_noise: float, run_noise: float):
    verdicts = [looks(1.10, seed, batch_noise, run_noise) for seed in range(200)]
    assert sum("fail" in found for found in verdicts) / 200 <= ALPHA + 0.01
    assert sum("pass" in found for found in verdicts) / 200 <= ALPHA + 0.01


def test_what_other_work_disturbed_is_not_decided():
    busy = Doubt(0.3, 0.0, busy="other work had the processor for 26 % of the time of onnx-int8")
    found = slowdown(judged(1.10), batches(1.3, 200, 0.02), CHANCES, busy)
    assert found.verdict == "inconclusive"
    assert found.note.startswith("too noisy: other work had the processor for 26 % of the time of onnx-int8; stop what")


def test_doubt_widens_the_interval_to_both_sides():
    sure = slowdown(judged(1.10), batches(1.15, 200, 0.02), CHANCES)
    doubted = slowdown(judged(1.10), batches(1.15, 200, 0.02), CHANCES, Doubt(0.1, 0.2))
    assert (sure.verdict, doubted.verdict) == ("fail", "inconclusive")
    assert doubted.low == pytest.approx(sure.low * np.exp(-0.1), rel=1e-3)
    assert doubted.high == pytest.approx(sure.high * np.exp(0.2), rel=1e-3)


def test_too_few_batches_decide_nothing():
    found = slowdown(judged(1.10), batches(3.0, 4, 0.01), CHANCES)
    assert (found.verdict, found.low, found.high) == ("not enough rows", None, None)
    assert found.note == "4 batches; 5 would do, see bench.rows"  # 1/2^5 is below 5 %
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
    found = drop(judged(1.0, "accuracy", "de"), Pair(old, new, np.arange(rows)), CHANCES)
    assert found.verdict == verdict
    assert found.value == pytest.approx(100 * lost / rows)
    assert found.told.startswith(f"{100 * lost / rows:+.2f} (")


@pytest.mark.parametrize(("rows", "verdict"), [(30, "not enough rows"), (298, "not enough rows"), (299, "pass")])
def test_no_changed_row_is_no_evidence_where_there_are_few(rows: int, verdict: str):
    # 0.99^299 is below 5 %: a model that loses a point would hardly ever be seen without a change.
    same = mean(scores(rows, 3))
    found = drop(judged(1.0, "accuracy", "de"), Pair(same, same, np.arange(rows)), CHANCES)
    assert found.verdict == verdict
    assert found.high == pytest.approx(100 * (1 - 0.05 ** (1 / rows)), abs=1e-3)
    assert found.note == ("" if verdict == "pass" else f"{rows} rows; about 300 would do")


def test_f1_without_a_change_needs_as_many_rows():
    counts = [(2, 2, 2)] * 400
    for rows, verdict in ((30, "not enough rows"), (400, "pass")):
        pair = Pair(f1_of_counts(counts), f1_of_counts(counts), np.arange(rows))
        assert drop(judged(1.0, "F1", "de"), pair, CHANCES).verdict == verdict


def test_nothing_shows_that_nothing_at_all_is_lost():
    same = mean(scores(5000, 3))
    found = drop(judged(0.0, "accuracy", "de"), Pair(same, same, np.arange(5000)), CHANCES)
    assert found.verdict == "not enough rows"
    assert found.note.endswith("no number of rows shows that nothing at all is lost: allow more than 0")


@pytest.mark.parametrize("rows", [30, 100, 300, 1000])
def test_a_loss_at_the_limit_passes_and_fails_no_more_often_than_is_stated(rows: int):
    generator, found = np.random.default_rng(rows), []
    for _ in range(200):
        old, lost, gained = np.ones(rows), generator.random(rows) < 0.0203, generator.random(rows) < 0.01
        old[gained] = 0
        pair = Pair(mean(old), mean(np.where(gained, 1.0, ~lost)), np.arange(rows))
        found.append(drop(judged(1.0, "accuracy", "de"), pair, CHANCES).verdict)
    # Of rows that are gained none is lost: two points are lost, one is gained.
    assert found.count("pass") / 200 <= ALPHA + 0.02
    assert found.count("fail") / 200 <= 0.01


def test_it_says_how_many_rows_would_tell():
    def two_points_lost(rows: int):
        old, new = mean(scores(rows, 0)), mean(scores(rows, round(0.02 * rows)))
        return drop(judged(1.0, "accuracy", "de"), Pair(old, new, np.arange(rows)), CHANCES)

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
    same = mean(scores(30, 3))
    few = drop(judged(1.0, "accuracy", "de"), Pair(same, same, np.arange(30)), CHANCES)
    assert overall([good, few]) == "not enough rows"
    assert overall([few, unknown]) == "inconclusive"

"""The search for a student, on made-up candidates of which the best one is known: by trying all of them."""

import itertools
import math

import pytest

from bench.fit.bounds import FitBounds
from bench.fit.halving import run_course, rungs_of
from bench.fit.report import FitCandidate, FitCost, FitRung, FitWeights
from bench.fit.search import FitSearch, look_for_student, trials_of, why_chosen
from compress.errors import CompressError, RejectedVariantError
from compress.metrics.figures import LanguageLosses, Loss, WorstLoss
from compress.metrics.languages import ALL

EPOCHS = 9


def losses(points: float) -> LanguageLosses:
    share = points / 100
    drop = Loss(value=share, low=share, high=share, p=1.0, p_adjusted=1.0)
    worst = WorstLoss(value=share, low=share, high=share, language="sw")
    return LanguageLosses(metric="accuracy", drop={"sw": drop, ALL: drop}, worst_language_drop=worst)


class MadeUp:
    """Students whose costs and drops follow from their shapes: the larger, the slower, and the less is lost; what is
    lost shrinks with each epoch. ``special`` are points that a shape loses less than it should."""

    def __init__(self, noisy: bool = False, refused: tuple[str, ...] = (), static: bool = False, **special: float):
        self.noisy, self.refused, self.special = noisy, refused, special
        self.measured: list[str] = []
        self.trained: list[tuple[str, float]] = []
        self.weights = {
            FitCandidate(
                layers=layers,
                hidden_size=32 * heads,
                heads=heads,
                feed_forward_size=64 * heads // part,
                initialization="svd",
            ): FitWeights(embeddings=32_000 * heads, others=layers * 4000 * heads**2 + layers * 4000 * heads**2 // part)
            for layers, heads, part in itertools.product((1, 2, 3, 4, 6), (3, 4, 6, 8), (1, 2))
        }
        if static:
            self.weights |= {
                FitCandidate(
                    layers=0, hidden_size=width, heads=1, feed_forward_size=0, initialization="embeddings"
                ): FitWeights(embeddings=1000 * width, others=7 * width)
                for width in (96, 128, 192, 256)
            }

    def cost(self, candidate: FitCandidate) -> FitCost:
        weights = self.weights[candidate]
        if candidate.is_static:
            return FitCost(p50_ms=0.02 + candidate.hidden_size / 1e5, bytes=sum(dict(weights).values()) + 1000)
        milliseconds = 0.1 + candidate.layers * (0.05 + weights.others / candidate.layers / 2e6)
        return FitCost(p50_ms=milliseconds, bytes=weights.embeddings + weights.others + 9000, noisy=self.noisy)

    def drop(self, candidate: FitCandidate, epochs: float) -> float:
        if candidate.is_static:
            return 12 - candidate.hidden_size / 128 + 1 / epochs
        capacity = math.log2(self.weights[candidate].others) + math.log2(candidate.layers)
        return 40 - 1.7 * capacity + 12 / epochs - self.special.get(f"_{candidate.name}", 0.0)

    def measure(self, candidate: FitCandidate) -> FitCost:
        self.measured.append(candidate.name)
        if candidate.name in self.refused:
            raise RejectedVariantError("model.onnx: classifier stayed in 32 bits")
        return self.cost(candidate)

    def train(self, candidate: FitCandidate, until: float) -> FitRung:
        self.trained.append((candidate.name, until))
        return FitRung(epochs=until, seconds=1.0, losses=losses(self.drop(candidate, until)))

    def best(self, bounds: FitBounds) -> FitCandidate:
        """By trying all of them to the end."""
        good = [
            one
            for one in self.weights
            if bounds.allow(self.cost(one).p50_ms, self.cost(one).bytes)
            and (bounds.points is None or self.drop(one, EPOCHS) <= bounds.points)
        ]
        prices = {
            "drop": lambda one: self.drop(one, EPOCHS),
            "size": lambda one: self.cost(one).bytes,
            "latency": lambda one: self.cost(one).p50_ms,
        }
        return min(good, key=prices[bounds.objective])


def looked(made_up: MadeUp, bounds: FitBounds, most: int = 9) -> FitSearch:
    return look_for_student(made_up.weights, bounds, most, EPOCHS, made_up)


@pytest.mark.parametrize("latency", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("size", [300_000, 700_000, 2_000_000])
def test_the_student_that_loses_least_within_latency_and_size_is_found(latency: float, size: int):
    made_up, bounds = MadeUp(), FitBounds(latency_ms=latency, size_bytes=size)
    found = looked(made_up, bounds)
    assert found.chosen is not None
    assert made_up.drop(found.chosen, EPOCHS) == made_up.drop(made_up.best(bounds), EPOCHS)
    assert len(made_up.measured) < len(made_up.weights)
    assert all(bounds.allow(made_up.cost(one).p50_ms, made_up.cost(one).bytes) for one in found.course.rungs)


def test_a_shape_that_learns_better_than_others_is_found():
    bounds = FitBounds(latency_ms=0.5, size_bytes=2_000_000)
    usual = looked(MadeUp(), bounds)
    other = next(one for one in usual.course.rungs if one != usual.chosen)
    found = looked(MadeUp(**{f"_{other.name}": 9.0}), bounds)
    assert found.chosen == other


@pytest.mark.parametrize("bounds", [FitBounds(latency_ms=1.0, points=5), FitBounds(size_bytes=2_000_000, points=5)])
def test_the_cheapest_that_keeps_to_the_drop_is_found_among_those_that_are_trained(bounds: FitBounds):
    made_up = MadeUp()
    found = looked(made_up, bounds, most=len(made_up.weights))
    assert found.chosen == made_up.best(bounds)
    few = looked(MadeUp(), bounds, most=6)
    assert few.chosen is not None
    assert made_up.drop(few.chosen, EPOCHS) <= 5


def test_few_are_trained_to_the_end_to_find_the_cheapest():
    made_up = MadeUp()
    looked(made_up, FitBounds(latency_ms=1.0, points=5), most=12)
    assert sum(until == 1 for _, until in made_up.trained) == 12
    assert sum(until == EPOCHS for _, until in made_up.trained) <= 4


def test_one_that_keeps_to_the_drop_for_a_while_only_is_not_chosen():
    class Overfitting(MadeUp):
        def drop(self, candidate: FitCandidate, epochs: float) -> float:
            small = candidate.layers < 3
            return 3.0 + epochs if small and epochs > 1 else super().drop(candidate, epochs)

    found = looked(Overfitting(), FitBounds(latency_ms=1.0, points=7))
    assert found.chosen is not None
    assert found.chosen.layers >= 3
    assert found.course.keeps(found.chosen)


def test_those_that_began_badly_have_their_turn_where_the_others_disappoint(capsys: pytest.CaptureFixture[str]):
    class Slow(MadeUp):
        def drop(self, candidate: FitCandidate, epochs: float) -> float:
            large = candidate.layers == 6
            if epochs < EPOCHS:
                return 50.0 if large else super().drop(candidate, epochs)
            return 4.0 if large else 20.0

    found = looked(Slow(), FitBounds(latency_ms=1.0, points=8))
    assert found.chosen in found.course.spared
    assert found.chosen is not None
    assert found.chosen.layers == 6
    assert "none of those that seemed best keeps to the drop; going on with another" in capsys.readouterr().err


def test_few_are_trained_to_the_end_and_each_goes_on_from_where_it_was():
    made_up = MadeUp()
    bounds, costs = FitBounds(latency_ms=9, size_bytes=10**9), {one: made_up.cost(one) for one in made_up.weights}
    course = run_course([*costs][:9], costs, bounds, [1, 3, 9], made_up.train)
    assert len(course.finalists) == 2
    by_rung = [sum(until == rung for _, until in made_up.trained) for rung in (1, 3, 9)]
    assert by_rung == [9, 3, 2]


@pytest.mark.parametrize(
    ("epochs", "candidates", "wanted"),
    [(9, 9, [1, 3, 9]), (9, 6, [3, 9]), (9, 2, [9]), (3, 9, [1, 3]), (8, 9, [1, 3, 8]), (1, 9, [1]), (0.5, 9, [0.5])],
)
def test_candidates_are_compared_after_whole_epochs(epochs: float, candidates: int, wanted: list[float]):
    assert rungs_of(epochs, candidates) == wanted


def test_where_nothing_is_fast_enough_nothing_is_trained_and_the_smallest_is_named():
    made_up = MadeUp()
    found = looked(made_up, FitBounds(latency_ms=0.01, size_bytes=10**9))
    assert found.chosen is None
    assert made_up.trained == []
    assert len(made_up.measured) == 1
    assert why_chosen(found).startswith(
        "no student of this teacher is within 0.01 ms and 1000 MB; nearest is the small"
    )
    smallest = next(trial for trial in trials_of(found) if not trial.cost.estimated)
    assert smallest.outcome == "too slow"


def test_where_all_lose_too_much_the_nearest_is_named():
    made_up = MadeUp()
    found = looked(made_up, FitBounds(latency_ms=0.4, points=0.0))
    assert found.chosen is not None
    assert "trained students is within 0.4 ms and a worst-language drop of 0 points; nearest is" in why_chosen(found)
    assert f"nearest is {found.chosen.name}" in why_chosen(found)
    assert {trial.outcome for trial in trials_of(found)} >= {"nearest", "loses too much", "too slow"}


def test_a_shape_whose_form_does_not_come_out_is_left_out():
    bounds = FitBounds(latency_ms=0.5, size_bytes=2_000_000)
    usual = looked(MadeUp(), bounds).chosen
    assert usual is not None
    found = looked(MadeUp(refused=(usual.name,)), bounds)
    assert found.chosen not in (None, usual)
    outcomes = {trial.name: trial.outcome for trial in trials_of(found)}
    assert outcomes[usual.name] == "model.onnx: classifier stayed in 32 bits"
    with pytest.raises(CompressError, match=r"fit: no student can be made: model.onnx: classifier"):
        looked(MadeUp(refused=tuple(one.name for one in MadeUp().weights)), bounds)


def test_a_time_that_was_disturbed_decides_nothing():
    with pytest.raises(CompressError, match=r"fit: too noisy: other work had the processor while .* was timed"):
        looked(MadeUp(noisy=True), FitBounds(latency_ms=0.5, size_bytes=2_000_000))
    assert looked(MadeUp(noisy=True), FitBounds(latency_ms=100, size_bytes=2_000_000)).chosen is not None


def test_the_frontier_is_of_those_that_were_trained_to_the_end():
    found = looked(MadeUp(), FitBounds(latency_ms=1.0, points=0.0))
    on_it = [trial for trial in trials_of(found) if trial.frontier]
    assert on_it
    assert all(trial.rungs[-1].epochs == EPOCHS for trial in on_it)


BY_THIRDS, BY_PRICE = FitBounds(latency_ms=0.5, size_bytes=2_000_000), FitBounds(latency_ms=1.0, points=5)


@pytest.mark.parametrize("bounds", [BY_THIRDS, BY_PRICE])
def test_a_static_one_stands_at_the_far_end_of_the_frontier_and_is_not_chosen_where_it_loses_more(bounds: FitBounds):
    found = looked(MadeUp(static=True), bounds)
    assert found.chosen is not None
    assert not found.chosen.is_static
    on_it = [trial for trial in trials_of(found) if trial.frontier]
    assert on_it[0].candidate.is_static  # the fastest first
    assert on_it[0].rungs[-1].epochs == EPOCHS
    assert sum(one.is_static for one in found.course.rungs) <= 3


@pytest.mark.parametrize(
    "bounds",
    [
        FitBounds(latency_ms=0.05, size_bytes=2_000_000),  # no other is so fast
        FitBounds(latency_ms=1.0, points=11.0),
        FitBounds(size_bytes=2_000_000, points=11.0),
    ],
)
def test_a_static_one_is_chosen_where_the_bounds_ask_for_it(bounds: FitBounds):
    made_up = MadeUp(static=True)
    found = looked(made_up, bounds)
    assert found.chosen is not None
    assert found.chosen.is_static
    assert found.course.keeps(found.chosen)
    if bounds.points is None:
        assert found.chosen == made_up.best(bounds)
        assert all(one.is_static for one in found.course.rungs)
    else:
        assert made_up.drop(found.chosen, EPOCHS) <= bounds.points


def test_static_ones_do_not_change_what_others_are_estimated_to_cost():
    made_up = MadeUp(static=True)
    found = looked(made_up, BY_PRICE)
    for one, cost in found.survey.estimates().items():
        assert cost.p50_ms == pytest.approx(made_up.cost(one).p50_ms, rel=0.25)


def test_one_training_is_of_one_with_layers_if_any_is_within_the_bounds():
    assert not any(one.is_static for one in looked(MadeUp(static=True), BY_THIRDS, most=1).course.rungs)
    far = FitBounds(latency_ms=0.05, size_bytes=2_000_000)
    assert [one.is_static for one in looked(MadeUp(static=True), far, most=1).course.rungs] == [True]


def test_where_nothing_is_small_enough_one_of_each_kind_is_measured():
    made_up = MadeUp(static=True)
    found = looked(made_up, FitBounds(latency_ms=0.001, size_bytes=10**9))
    assert found.chosen is None
    assert made_up.measured == ["static-96", "1x96x96"]
    assert "nearest is the smallest one, static-96: " in why_chosen(found)
    assert {trial.outcome for trial in trials_of(found)} == {"too slow"}


def test_where_those_with_layers_are_all_too_slow_no_more_of_them_are_measured():
    made_up = MadeUp(static=True)
    looked(made_up, FitBounds(latency_ms=0.05, size_bytes=10**9))
    assert [name for name in made_up.measured if not name.startswith("static")] == ["1x96x96"]

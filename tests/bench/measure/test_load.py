"""Load on a model whose time is known, 2 ms a batch however large, by a clock that stands still meanwhile."""

from dataclasses import replace

import numpy as np
import pytest

from bench.measure.load import LoadSettings, measure_load
from bench.measure.protocol import ServeAnswer, ServeRequest
from bench.measure.serving import serve

SERVICE = 0.002


class Clock:
    """Stands in for the time module: only looking at it and sleeping take time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waited = 0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float) -> None:
        """Other work has the processor for so long."""
        self.now += seconds
        self.waited += round(1e9 * seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("bench.measure.serving.time", found)
    monkeypatch.setattr("bench.measure.serving.waited_nanoseconds", lambda: found.waited)
    return found


class Server:
    """A worker and its setup; answers take the same time for one row as for many."""

    def __init__(self, clock: Clock):
        self._clock = clock

    @property
    def setup(self) -> "Server":
        return self

    def ask(self, request: ServeRequest) -> ServeAnswer:
        return serve(lambda rows: self._clock.sleep(SERVICE), request)

    def tokens_of(self, row: int) -> int:
        return row

    def examples_of(self, rows: list[int]) -> list[int]:
        return list(rows)


def request(arrivals: list[float], **fields: float) -> ServeRequest:
    examples = [[number] for number in range(len(arrivals))]
    whole = ServeRequest(arrivals, examples, largest_batch=1, bound_ms=1000.0, allowed=len(arrivals))
    return replace(whole, **fields)


def settings(rows: list[int], bound_ms: float, largest_batch: int, seconds: float) -> LoadSettings:
    return LoadSettings(rows, bound_ms, largest_batch, seconds, seed=0, cpus=())


def test_latency_counts_from_the_arrival_not_from_the_turn(clock: Clock):
    # All arrive at once: the last one waits for the nine before it, which a closed loop would not tell.
    found = serve(lambda rows: clock.sleep(SERVICE), request([0.0] * 10))
    assert found.batches == [1] * 10
    assert np.all(np.diff(found.latencies_ms) > 0)
    assert found.latencies_ms[-1] == pytest.approx(10 * 1000 * SERVICE, rel=0.01)


def test_requests_that_wait_are_answered_together(clock: Clock):
    seen = []

    def answer(rows):
        seen.append(list(rows))
        clock.sleep(SERVICE)

    found = serve(answer, request([0.0] * 10 + [0.5], largest_batch=4))
    assert found.batches == [4, 4, 2, 1]
    assert seen[0] == [0, 1, 2, 3]
    assert found.latencies_ms[-1] == pytest.approx(1000 * SERVICE, rel=0.01)  # nobody waits for a batch to fill up


def test_it_ends_when_too_many_are_late(clock: Clock):
    found = serve(lambda rows: clock.sleep(SERVICE), request([0.0] * 1000, bound_ms=10.0, allowed=5))
    assert len(found.latencies_ms) == 10  # four in time, the five late ones that are allowed, and one more


def test_waiting_counts_while_a_request_is_there(clock: Clock):
    def answer(rows):
        clock.sleep(SERVICE)
        clock.wait(SERVICE)

    found = serve(answer, request([0.0, 0.0, 0.5]))
    assert (found.waited_ms, found.worked_ms) == (
        pytest.approx(3000 * SERVICE),
        pytest.approx(6000 * SERVICE, rel=0.01),
    )
    assert serve(lambda rows: clock.sleep(SERVICE), request([0.0, 0.5])).waited_ms == 0


def test_a_server_that_is_woken_late_has_waited_from_the_arrival_on(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    def oversleep(seconds: float) -> None:
        clock.now += seconds
        clock.wait(0.01)

    monkeypatch.setattr(clock, "sleep", oversleep)
    found = serve(lambda rows: None, request([0.5]))
    assert found.waited_ms == pytest.approx(10, abs=1)  # less what it had left to spin
    monkeypatch.setattr(clock, "wait", lambda seconds: setattr(clock, "waited", clock.waited + 100))
    assert serve(lambda rows: None, request([0.5])).waited_ms == 0


def test_a_rate_that_fails_beside_other_work_is_tried_more_often_and_the_report_tells(clock: Clock):
    class Disturbed(Server):
        """Misses the bound beside other work; of the first rate's four tries that is in three."""

        tries = 0

        def ask(self, request: ServeRequest) -> ServeAnswer:
            self.tries += 1
            count = len(request.arrivals)
            busy = self.tries != 4
            return ServeAnswer([100.0 if busy else 1.0] * count, [1] * count, 100.0, 50.0 if busy else 0.0)

    server = Disturbed(clock)
    found = measure_load(server, 100.0, settings([0], 50.0, 1, 0.1))
    assert [(point.holds, point.disturbed) for point in found.rates] == [(True, 0.0), *[(False, 0.5)] * 4]
    assert server.tries == 4 + 4 * 4


def test_the_highest_rate_is_below_capacity_and_batches_raise_it(clock: Clock):
    server, capacity = Server(clock), 1 / SERVICE
    alone = measure_load(server, capacity, settings([0, 1, 2], 50.0, 1, 0.5))
    together = measure_load(server, capacity, settings([0, 1, 2], 50.0, 8, 0.5))
    assert 0.3 * capacity < alone.highest_rate < 1.05 * capacity
    assert together.highest_rate > 1.5 * alone.highest_rate
    rates = [point.rate for point in alone.rates]
    assert rates == sorted(rates)
    assert {point.holds for point in alone.rates} == {True, False}
    beyond = [point for point in alone.rates if not point.holds]
    assert all(point.late > 0.01 * point.requests for point in beyond)


def test_joined_by_length_texts_of_all_lengths_are_answered_at_a_higher_rate(clock: Clock):
    """A run takes as long as its tokens are many, padding included, as in ONNX Runtime on one thread."""

    class ByToken(Server):
        def ask(self, request: ServeRequest) -> ServeAnswer:
            return serve(lambda tokens: self._clock.sleep(5e-5 * len(tokens) * max(tokens)), request)

    lengths = [8, 512, 9, 16, 15, 300, 8, 17, 14, 40]
    asked = {"bound_ms": 200.0, "largest_batch": 8, "seconds": 20.0}
    capacity = len(lengths) / (5e-5 * sum(lengths))
    padded = measure_load(ByToken(clock), capacity, settings(lengths, **asked))
    by_length = measure_load(ByToken(clock), capacity, replace(settings(lengths, **asked), by_length=True))
    assert by_length.by_length
    assert by_length.highest_rate > 1.5 * padded.highest_rate


def test_the_first_that_waits_is_answered_first_with_those_of_its_length(clock: Clock):
    seen: list[list[int]] = []
    asked = request([0.0] * 6, largest_batch=3, lengths=[512, 8, 9, 500, 8, 8])
    found = serve(lambda rows: seen.append(list(rows)), asked)
    assert seen == [[0, 3], [1, 4, 5], [2]]
    assert found.batches == [2, 3, 1]


def test_a_bound_that_nothing_holds_has_no_rate(clock: Clock):
    server = Server(clock)
    found = measure_load(server, 1 / SERVICE, settings([0], 1000 * SERVICE / 4, 1, 0.1))
    assert found.highest_rate is None
    assert not any(point.holds for point in found.rates)


def test_a_bound_that_always_holds_ends_the_search_too(clock: Clock):
    server, capacity = Server(clock), 1 / SERVICE
    found = measure_load(server, capacity, settings([0], 60_000.0, 1, 0.1))
    assert capacity < found.highest_rate <= 2 * capacity


def test_arrivals_are_a_poisson_process(clock: Clock):
    asked = []

    class Recorder(Server):
        def ask(self, request):
            asked.append(request.arrivals)
            return ServeAnswer([1.0] * len(request.arrivals), [1] * len(request.arrivals), 1.0, 0.0)

    # Every answer is late: the first rate is the last.
    measure_load(Recorder(clock), 400.0, settings([0], 0.5, 1, 20.0))
    gaps = np.diff(asked[0])
    assert gaps.mean() == pytest.approx(1 / 100, rel=0.1)  # a quarter of the capacity
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # exponential

import gc
from itertools import chain, repeat

from bench.measure.protocol import TimingWarmUpAnswer
from bench.measure.timing import collect_and_keep_off, timing_warm_up
from compress.timing import Timing


def test_a_model_is_warm_when_its_times_are_stable(monkeypatch):
    milliseconds = chain([20.0] * 5, [10.0] * 5, repeat(2.0))
    monkeypatch.setattr("bench.measure.timing.timed", lambda run: Timing(next(milliseconds), 0.0))
    found = timing_warm_up(lambda: None)
    assert found.stable
    assert found.runs == 20  # two windows of fast runs after two of slow ones


def test_a_model_that_gets_slower_and_slower_is_not_stable(monkeypatch):
    monkeypatch.setattr("bench.measure.timing._MOST_RUNS", 30)
    growing = iter(1.3**step / 1000 for step in range(30))
    monkeypatch.setattr("bench.measure.timing.timed", lambda run: Timing(next(growing), 0.0))
    assert timing_warm_up(lambda: None) == TimingWarmUpAnswer(30, stable=False)


def test_garbage_is_collected_once_and_no_more():
    try:
        collect_and_keep_off()
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()

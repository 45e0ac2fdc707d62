import pytest

from bench.measure.latency import Group, LatencyMeasurement
from bench.measure.noise import too_noisy, widened
from bench.measure.protocol import RunAnswer, RunRequest
from compress.metrics.metric import Figure


class Disturbed:
    """A worker whose runs of 10 ms wait for so long, one number a round; each round has one batch."""

    def __init__(self, *waited: float):
        self.setup, self._waited = self, iter(waited)

    def examples_of(self, rows: list[int]) -> list[int]:
        return list(rows)

    def ask(self, request: RunRequest) -> RunAnswer:
        waited = next(self._waited)
        return RunAnswer(10.0 + waited, waited)


def measured(*waited: float) -> LatencyMeasurement:
    times = LatencyMeasurement(Group({"ours": Disturbed(*waited)}, cpus=()), [0], [1], seed=0)
    times.add_round()
    return times


def test_a_disturbed_round_is_measured_again(capsys: pytest.CaptureFixture[str]):
    times = measured(10.0, 0.0)
    assert times.samples["ours"][1].milliseconds == [10.0]
    assert times.disturbed("ours", 1) == 0.0
    told = " ".join(capsys.readouterr().err.split())
    assert "other work had the processor for 50 % of the time of ours, batches of 1: the round is measured" in told


def test_on_a_machine_that_stays_busy_it_goes_on_and_tells_the_share():
    times = measured(10.0, 10.0, 10.0, 30.0)
    assert times.samples["ours"][1].milliseconds == [40.0]
    assert times.disturbed("ours", 1) == 0.75
    assert times.figures("ours")["1"].disturbed == 0.75


def test_the_ratio_on_a_quiet_machine_lies_within_the_interval_of_a_busy_one():
    """By the clock the long runs of one model took 30.9 times as long as the short ones of the other, which waited for
    nothing; without their waiting 20.6 times."""
    found = widened(Figure(30.9, 30.0, 31.5), over=1 - 20.6 / 30.9, under=0.0)
    assert found.low < 20.6 < found.high == 31.5


def test_what_is_least_to_be_trusted_is_named():
    assert too_noisy({"student": 0.01, "teacher": 0.049}) is None
    assert too_noisy({}) is None
    reason = too_noisy({"student": 0.06, "teacher": 0.33})
    assert reason == "other work had the processor for 33 % of the time of teacher"

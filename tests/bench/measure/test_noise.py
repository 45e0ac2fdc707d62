import pytest
from small_reports import small_model, small_report

from bench.measure.latency import Group, LatencyMeasurement, measure_grid, measure_texts
from bench.measure.noise import too_noisy, widened
from bench.measure.protocol import RunAnswer, RunRequest, SizeBatch, TextAnswer, TextRequest, TimingWarmUpRequest
from bench.report.tables import noise_line
from compress.metrics.metric import Figure
from compress.reports.bench import LoadCurve, LoadPoint


class Disturbed:
    """A worker whose runs of 10 ms wait for so long, one number a round; each round has one batch."""

    def __init__(self, *waited: float):
        self.setup, self._waited = self, iter(waited)

    def examples_of(self, rows: list[int]) -> list[int]:
        return list(rows)

    def ask(self, request: RunRequest | TextRequest | TimingWarmUpRequest) -> RunAnswer | TextAnswer | None:
        if isinstance(request, TimingWarmUpRequest):
            return None
        waited = next(self._waited)
        if isinstance(request, TextRequest):
            return TextAnswer(2.0, 8.0 + waited, waited)
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


def test_the_grid_is_watched_as_rounds_are(capsys: pytest.CaptureFixture[str]):
    busy, quiet = [10.0] * 30, [0.0] * 30  # a cell is 30 runs
    group = Group({"ours": Disturbed(*busy, *quiet, *busy, *busy, *busy)}, cpus=())
    found = measure_grid(group, [SizeBatch(1, 8), SizeBatch(1, 32)], lambda cells: None)["ours"]
    assert [(cell.length, cell.disturbed, cell.p50_ms) for cell in found] == [(8, 0.0, 10.0), (32, 0.5, 20.0)]
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("other work had the processor for 50 % of the time of ours: batches of 1 × 32 tokens are") == 2


def test_rows_from_their_text_on_tell_what_they_waited():
    found = measure_texts(Group({"ours": Disturbed(0.0, 10.0)}, cpus=()), [0, 1], lambda rows: None)
    assert found["ours"].disturbed == round(10 / 30, 4)


@pytest.mark.parametrize("where", ["grid", "texts", "load"])
def test_the_report_says_where_it_is_too_noisy(where: str):
    point = LoadPoint(
        rate=50.0, requests=9, answered=9, p50_ms=1, p90_ms=1, p99_ms=1, late=0, mean_batch=1, holds=True, disturbed=0.5
    )
    group = Group({"ours": Disturbed(*[10.0] * 200)}, cpus=())
    fields = {
        "grid": lambda: measure_grid(group, [SizeBatch(1, 8)], lambda cells: None)["ours"],
        "texts": lambda: measure_texts(group, [0], lambda rows: None)["ours"],
        "load": lambda: [LoadCurve(largest_batch=1, bound_ms=9, highest_rate=50.0, rates=[point])],
    }
    assert noise_line(small_report(("ours", small_model("ours")))) is None
    line = noise_line(small_report(("ours", small_model("ours", **{where: fields[where]()}))))
    named = {"grid": "in batches of 1 × 8 tokens", "texts": "from text to outputs", "load": "under a load of 50 rows/s"}
    assert f"for 50 % of the time of ours {named[where]}; stop what else runs" in line


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

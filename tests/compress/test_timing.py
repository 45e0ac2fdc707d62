import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from compress.timing import Timing, knows_waiting, rate, timed, timed_in_peace


@pytest.fixture
def rival() -> Iterator[None]:
    """Another process on the processor that this one is kept on."""
    import os

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    process = subprocess.Popen([sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass"], stdout=-1)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()
        os.sched_setaffinity(0, before)


def work(milliseconds: float) -> None:
    """Use the processor for so long, by the processor's own count."""
    ends = time.process_time() + milliseconds / 1000
    while time.process_time() < ends:
        pass


@pytest.mark.skipif(not knows_waiting(), reason="the system does not tell how long threads wait")
def test_time_beside_other_work_is_known_as_waiting(rival: None):
    found = timed(lambda: work(100))
    assert found.is_disturbed
    assert found.milliseconds - found.waited == pytest.approx(100, rel=0.2)  # what it takes on a quiet machine


def test_sleeping_is_no_waiting():
    found = timed(lambda: time.sleep(0.02))
    assert found.milliseconds >= 20
    assert found.waited < 10


def test_a_disturbed_run_is_made_again_and_the_best_is_told(monkeypatch: pytest.MonkeyPatch):
    seen = iter([Timing(30.0, 10.0), Timing(25.0, 5.0), Timing(28.0, 8.0), Timing(20.0, 0.0)])
    monkeypatch.setattr("compress.timing.timed", lambda run: next(seen))
    assert timed_in_peace(lambda: None) == Timing(25.0, 5.0)
    assert timed_in_peace(lambda: None) == Timing(20.0, 0.0)


@pytest.mark.parametrize(("count", "told"), [(12345.6, "12,346"), (99.94, "99.9"), (0.0123, "0.0123"), (1.5, "1.5")])
def test_no_rate_is_told_as_none(count: float, told: str):
    assert rate(count) == told

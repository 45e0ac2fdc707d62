"""What a process with limits may do, and what it is said to have done."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.subprocesses import ProcessLimits, Told, ask_limited

MODULE = "one_of_ours"
BEGIN = "import os, sys\nfrom compress.subprocesses import answers_alone\nanswers = answers_alone()\n"
ENOUGH = ProcessLimits(seconds=300, memory=1_000_000_000)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ask a module that has this code after its beginning."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def asked(code: str, limits: ProcessLimits = ENOUGH) -> Told:
        (tmp_path / f"{MODULE}.py").write_text(BEGIN + code)
        return ask_limited(MODULE, "a question", limits)

    return asked


def test_answers_come_line_by_line_without_what_libraries_print(ask):
    code = "print('chatter')\nos.write(1, b'more')\nfor word in sys.stdin.read().split(): print(word, file=answers)"
    assert ask(code) == Told(["a", "question"], None)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("os.abort()", "was ended by SIGABRT"),
        ("bytearray(2_000_000_000)", "ended with MemoryError"),
        ("raise ValueError('no such thing')", "ended with ValueError: no such thing"),
        ("sys.exit(3)", "ended with no reason was given"),
        ("while True: print('x' * 1_000_000, file=answers)", "ended with OSError: [Errno 27] File too large"),
    ],
)
def test_what_a_process_ended_by_is_said_and_what_it_answered_before_is_kept(ask, code: str, failure: str):
    told = ask(f"print('first', file=answers, flush=True)\n{code}")
    assert (told.lines[0], told.failure) == ("first", failure)


def test_a_process_that_does_not_end_is_ended(ask):
    told = ask("print('first', file=answers, flush=True)\nwhile True: pass", ProcessLimits(5, 1_000_000_000))
    assert told == Told(["first"], "took longer than 5 s")


def test_memory_beside_a_gpu_is_watched(ask):
    reserve = "import mmap, time\nreserved = mmap.mmap(-1, 10_000_000_000)\nprint('first', file=answers, flush=True)\n"
    take = "held = b'x' * 1_100_000_000\ntime.sleep(60)"
    told = ask(reserve + take, ProcessLimits(300, 1_000_000_000, on_gpu=True))
    assert told == Told(["first"], "took more than 1 GB of memory")


def test_a_question_that_is_not_read_is_no_error_of_its_own(ask):
    assert ask("os.close(0)").failure is None

"""A part of `make fuzz`, and the judge that it relies on."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attempts import Attempt, Surface, Wants, WrongAnswer, judged
from mutations import altered_json

from compress.errors import CompressError

HERE = Path(__file__).parent
SURFACES = ("rows", "recipes", "archives", "signatures", "vectors", "scores")


def test_no_malformed_input_gets_through(tmp_path: Path):
    paths = os.pathsep.join([str(HERE.parent / "helpers"), os.environ.get("PYTHONPATH", "")])
    surfaces = [word for surface in SURFACES for word in ("--surface", surface)]
    options = [*surfaces, "--part", "300", "--keep", str(tmp_path / "faults")]
    done = subprocess.run(
        [sys.executable, str(HERE), *options], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def refused(message: str) -> Callable[[Path], None]:
    def ask(folder: Path) -> None:
        raise CompressError(message.format(folder=folder))

    return ask


def wrong(folder: Path) -> None:
    raise WrongAnswer("it is another one")


def broken(folder: Path) -> None:
    raise KeyError("a fault of ours")


@pytest.mark.parametrize(
    ("ask", "wants", "ended"),
    [
        (lambda folder: None, "either", "accepted"),
        (lambda folder: None, "refused", "wrong answer"),
        (refused("{folder}: cut off; copy it again"), "either", "refused"),
        (refused("{folder}: cut off; copy it again"), "accepted", "wrong answer"),
        (refused("something is wrong"), "either", "unclear message"),
        (refused("{folder}: " + "x" * 2000), "either", "unclear message"),
        (lambda folder: print("\x1b[31m"), "either", "unclear message"),
        (wrong, "either", "wrong answer"),
        (broken, "either", "traceback"),
    ],
)
def test_an_attempt_is_judged_by_how_it_ends(
    ask: Callable[[Path], None], wants: Wants, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    surface = Surface("test", ask, {}, lambda random_, folder: "", 0)
    with (tmp_path / "said.txt").open("w", encoding="utf-8") as said:
        monkeypatch.setattr(sys, "stdout", said)
        monkeypatch.setattr(sys, "stderr", said)
        monkeypatch.setattr("resource.setrlimit", lambda *limits: None)  # it would hold for the other tests too
        found, told = judged(Attempt(surface, "case", lambda folder: None, wants), tmp_path, tmp_path / "said.txt")
    assert found == ended, told


PLANTED = """
import os, time
from pathlib import Path
from attempts import Attempt, Surface, run_attempts

ways = {
    "hang": lambda folder: time.sleep(100),
    "death": lambda folder: os.abort(),
    "memory": lambda folder: bytearray(2**40),
}
attempts = [
    Attempt(Surface("test", ask, {}, lambda random_, folder: "", 0), name, lambda folder: (folder / "in").touch())
    for name, ask in ways.items()
]
for some, seconds in ((attempts[:1], 1), (attempts[1:], 60)):
    for outcome in run_attempts(some, seconds, 2, Path("faults")):
        print(outcome.attempt.name, outcome.ended)
"""


def test_hangs_deaths_and_lost_memory_are_found_and_their_input_is_kept(tmp_path: Path):
    path = os.pathsep.join([str(HERE), str(HERE.parent / "helpers"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PLANTED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found == {"hang": "hang", "death": "death", "memory": "traceback"}, done.stderr
    assert {path.parts[-3] for path in tmp_path.rglob("in")} == set(found)


def test_the_same_seed_draws_the_same(tmp_path: Path):
    content = {"a": [1, {"b": "c"}], "d": None}
    one, other = ([altered_json(random.Random(seed), content) for seed in range(50)] for _ in range(2))
    assert one == other
    assert len({text for _, text in one}) > 20

"""How far the gate can be trusted: `python -m bench.studies.gate_proof RUN`.

Beside a busy neighbour it checks a run against a copy of itself and against the report of that copy, as it is and
slowed down by 15 %, many times; and it plants drops in single languages. What is counted is how often the gate raises
an alarm, and how often it finds what was planted.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from pydantic import TypeAdapter
from rich.console import Console

from bench.gate.baseline import Comparing, RunBaseline, open_baseline
from bench.gate.findings import accuracy_findings
from bench.gate.judgement import Finding, Limits, overall
from bench.gate.stage import run_check_stage
from bench.report.summary import BENCH
from bench.report.tables import ReportTable
from bench.report.text import terminal_table
from bench.stage import run_bench_stage
from bench.studies.slower import SLOWER, plant, unplant
from compress.console import quiet_libraries, quiet_transformers, say
from compress.contract import Contract
from compress.data.builtin import cldr
from compress.data.stage import load_data
from compress.metrics.figures import WORST_FIRST, Verdict
from compress.models.load import load_tokenizer
from compress.runs.directory import Run, find_run
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.subprocesses import module_command, module_environment
from compress.tasks.rows import Row

_VARIANT = "onnx-int8"
_BASELINE_ROUNDS = 8
_DROPS = ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 0.0))
"""Points that are lost in one language, and the limit."""


class Alarms(Contract):
    """How often checks of one kind came to which verdict, and how long one took."""

    what: str
    checks: int
    verdicts: dict[Verdict, int]
    seconds: float


def prove(run: Run, checks: int, slower: float) -> list[Alarms]:
    """Count alarms; one entry for each kind of check.

    :param checks: How many of identical code and of planted drops; of all else half of that.
    :param slower: Ratio of the planted slowdown.
    """
    with TemporaryDirectory() as folder:
        old, new = Path(folder) / "old", Path(folder) / "new"
        for copy in (old, new):
            shutil.copytree(run.folder, copy, symlinks=True)
        half = checks // 2
        with _busy_neighbour():
            run_bench_stage(find_run(old, old, {"bench.rounds": _BASELINE_ROUNDS}), command=SLOWER)
            report = Path(folder) / "report.json"
            shutil.copy(old / BENCH.name / "report.json", report)
            found = [_counted("identical code, files at hand", checks, lambda: _check(new, old))]
            found += [_counted("identical code, scaled", half, lambda: _check(new, report))]
            plant(new / _VARIANT, slower)
            title = f"{100 * (slower - 1):.0f} % slower"
            found += [_counted(f"{title}, files at hand", half, lambda: _check(new, old))]
            found += [_counted(f"{title}, scaled", half, lambda: _check(new, report))]
            unplant(new / _VARIANT)
        return [*found, *_drops(find_run(new, new), old, checks)]


def proof_table(entries: Sequence[Alarms]) -> ReportTable:
    """One row for each kind of check."""
    rows = [
        [
            entry.what,
            str(entry.checks),
            *(str(entry.verdicts.get(verdict, 0)) for verdict in WORST_FIRST),
            f"{entry.seconds:.1f}",
        ]
        for entry in entries
    ]
    headings = ["what is checked", "checks", *WORST_FIRST, "seconds a check"]
    return ReportTable(f"{_VARIANT} beside a busy neighbour; a time may be 1.10 times the baseline's", headings, rows)


def _check(new: Path, baseline: Path) -> list[Finding]:
    return run_check_stage(find_run(new, new), baseline, Limits(), [_VARIANT], SLOWER).findings


def _counted(what: str, checks: int, check: Callable[[], list[Finding]]) -> Alarms:
    verdicts: Counter[Verdict] = Counter()
    seconds: list[float] = []
    for _ in range(checks):
        started = time.monotonic()
        found = check()
        seconds.append(time.monotonic() - started)
        verdicts[overall(found)] += 1
        say(f"{what}: {dict(verdicts)}, {seconds[-1]:.1f} s")
    return Alarms(what=what, checks=checks, verdicts=dict(verdicts), seconds=round(float(np.mean(seconds)), 1))


def _drops(run: Run, old: Path, checks: int) -> Iterator[Alarms]:
    """Drops that are planted in one language drawn at random, with more and more rows a language."""
    data, baseline = load_data(run), open_baseline(old)
    assert isinstance(baseline, RunBaseline)
    for rows in (list(data.splits["test"]), _more_rows(12)):
        predictions = _predictions(run, rows, data.labels)
        for points, limit in _DROPS:
            limits = Limits(max_drop=limit)
            comparing = Comparing(baseline.side, baseline, [_VARIANT], rows, limits, data)
            generator = random.Random(0)  # noqa: S311
            changed = partial(planted_drop, rows, predictions, data.labels, points, generator)
            title = f"{points:g} points lost in one language, limit {limit:g}"
            yield _counted(
                f"{title}, {len(rows) // len(data.languages):,} rows a language",
                checks,
                partial(_judged, comparing, changed),
            )


def _judged(comparing: Comparing, changed: Callable[[], tuple[list[str], list[str]]]) -> list[Finding]:
    return accuracy_findings(comparing, _VARIANT, *changed())


def planted_drop(
    rows: list[Row], predictions: list[str], labels: list[str], points: float, generator: random.Random
) -> tuple[list[str], list[str]]:
    """Predictions of the baseline and, worse by so many points in one language, of the new model.

    Besides, a hundredth of all rows change from right to wrong and as many from wrong to right, so that the two are not
    the same model.
    """
    language = generator.choice(sorted({row.lang for row in rows}))
    after = list(predictions)
    for name in sorted({row.lang for row in rows}):
        own = [number for number, row in enumerate(rows) if row.lang == name]
        right = [number for number in own if predictions[number] == rows[number].label]
        wrong = [number for number in own if predictions[number] != rows[number].label]
        some = len(own) // 100
        lost = some + (round(points / 100 * len(own)) if name == language else 0)
        for number in generator.sample(right, lost):
            after[number] = generator.choice([label for label in labels if label != rows[number].label])
        for number in generator.sample(wrong, min(some, len(wrong))):
            after[number] = rows[number].label
    return predictions, after


def _more_rows(times: int) -> list[Row]:
    """Rows of the built-in data as the test rows are, from other seeds."""
    rows: dict[tuple[str, str], Row] = {}
    for seed in range(1, times + 1):
        for row in cldr.generate(seed)["test"]:
            rows.setdefault((row["lang"], row["text"]), Row(text=row["text"], label=row["label"], lang=row["lang"]))
    return list(rows.values())


def _predictions(run: Run, rows: list[Row], labels: list[str]) -> list[str]:
    folder = run.path_of(_VARIANT)
    tokenizer = load_tokenizer(str(folder))
    examples = run.task.encoder(tokenizer, run.recipe.data, labels)(rows)
    outputs = predict_examples(
        load_predict(folder, run.task, Search.of(run.recipe), 1), run.task, examples, tokenizer.pad_token_id
    )
    return run.task.decode(outputs, examples, rows, labels, tokenizer)


@contextmanager
def _busy_neighbour() -> Iterator[None]:
    """A process that works and rests in spells of up to half a second."""
    command = module_command("bench.studies.gate_proof", "--neighbour")
    process = subprocess.Popen(command, env=module_environment())  # noqa: S603
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _work_and_rest() -> None:
    generator = random.Random(0)  # noqa: S311
    matrix = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    while True:
        ends = time.monotonic() + generator.uniform(0, 0.5)
        while time.monotonic() < ends:
            matrix @ matrix
        time.sleep(generator.uniform(0, 0.5))


def main(
    run: Annotated[Path | None, typer.Argument(help="Run directory of the demo.")] = None,
    checks: int = 100,
    slower: float = 1.15,
    neighbour: Annotated[bool, typer.Option("--neighbour", hidden=True)] = False,
) -> None:
    """Count the gate's alarms; JSON on standard output, a table on standard error."""
    if neighbour:
        return _work_and_rest()
    quiet_libraries()
    quiet_transformers()
    entries = prove(find_run(run, Path("artifacts")), checks, slower)
    sys.stdout.write(TypeAdapter(list[Alarms]).dump_json(entries).decode() + "\n")
    Console(stderr=True, width=160).print(terminal_table(proof_table(entries)))


if __name__ == "__main__":
    typer.run(main)

"""How far the gate can be trusted: `python -m bench.studies.gate_proof RUN`.

Beside a busy neighbour it checks a run against a copy of itself and against the report of that copy, as it is and
slowed down by 15 %, many times; and it plants drops in single languages. What is counted is how often the gate raises
an alarm, and how often it finds what was planted.

The slower model is the same model in a process that waits, busily, for 15 % of the time of each run.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

import bench.measure.worker
import bench.measure.workers
from bench.gate.judgement import Finding, Limits
from bench.gate.stage import CheckReport, Comparing, judge_accuracy, open_baseline, run_check_stage
from bench.report.tables import ReportTable
from bench.report.text import terminal_table
from bench.stage import run_bench_stage
from compress.console import quiet_libraries, quiet_transformers, say
from compress.data.builtin import cldr
from compress.data.stage import load_data
from compress.models.load import load_tokenizer
from compress.runs.directory import Run, find_run
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.rows import Row

_VARIANT = "onnx-int8"
_PLANTED = "slower.json"
_BASELINE_ROUNDS = 8
_DROPS = ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 0.0))
"""Points that are lost in one language, and the limit."""


def prove(run: Run, checks: int, slower: float) -> list[dict[str, Any]]:
    """Count alarms; one entry for each kind of check.

    :param checks: How many of identical code and of planted drops; of all else half of that.
    :param slower: Ratio of the planted slowdown.
    """
    with TemporaryDirectory() as folder:
        old, new = Path(folder) / "old", Path(folder) / "new"
        for copy in (old, new):
            shutil.copytree(run.folder, copy, symlinks=True)
        bench.measure.workers.WORKER_COMMAND = (sys.executable, "-m", "bench.studies.gate_proof", "--serve")
        half = checks // 2
        with _busy_neighbour():
            run_bench_stage(find_run(old, old, {"bench.rounds": _BASELINE_ROUNDS}))
            report = Path(folder) / "report.json"
            shutil.copy(old / "bench" / "report.json", report)
            found = [_counted("identical code, files at hand", checks, lambda: _check(new, old))]
            found += [_counted("identical code, scaled", half, lambda: _check(new, report))]
            (new / _VARIANT / _PLANTED).write_text(json.dumps(slower), "utf-8")
            title = f"{100 * (slower - 1):.0f} % slower"
            found += [_counted(f"{title}, files at hand", half, lambda: _check(new, old))]
            found += [_counted(f"{title}, scaled", half, lambda: _check(new, report))]
            (new / _VARIANT / _PLANTED).unlink()
        return [*found, *_drops(find_run(new, new), old, checks)]


def proof_table(entries: list[dict[str, Any]]) -> ReportTable:
    """One row for each kind of check."""
    rows = [
        [
            e["what"],
            str(e["checks"]),
            *(str(e["verdicts"].get(v, 0)) for v in ("fail", "inconclusive", "pass")),
            e["time"],
        ]
        for e in entries
    ]
    headings = ["what is checked", "checks", "fail", "inconclusive", "pass", "seconds a check"]
    return ReportTable(f"{_VARIANT} beside a busy neighbour; a time may be 1.10 times the baseline's", headings, rows)


def _check(new: Path, baseline: Path) -> list[Finding]:
    report: CheckReport = run_check_stage(find_run(new, new), baseline, Limits(), [_VARIANT])
    return report.findings


def _counted(what: str, checks: int, check: Callable[[], list[Finding]]) -> dict[str, Any]:
    verdicts, seconds = Counter[str](), []
    for _ in range(checks):
        started = time.monotonic()
        found = {finding.verdict for finding in check()}
        seconds.append(time.monotonic() - started)
        verdicts[next(verdict for verdict in ("fail", "inconclusive", "pass") if verdict in found)] += 1
        say(f"{what}: {dict(verdicts)}, {seconds[-1]:.1f} s")
    return {"what": what, "checks": checks, "verdicts": dict(verdicts), "time": f"{np.mean(seconds):.1f}"}


def _drops(run: Run, old: Path, checks: int) -> Iterator[dict[str, Any]]:
    """Drops that are planted in one language drawn at random, with more and more rows a language."""
    data, baseline = load_data(run), open_baseline(old)
    assert baseline.side is not None
    for rows in (list(data.splits["test"]), _more_rows(12)):
        predictions = _predictions(run, rows, data.labels)
        for points, limit in _DROPS:
            limits = Limits(max_drop=limit)
            comparing = Comparing(baseline.side, baseline, [_VARIANT], rows, limits, data)
            generator = random.Random(0)  # noqa: S311
            changed = partial(_planted, rows, predictions, data.labels, points, generator)
            title = f"{points:g} points lost in one language, limit {limit:g}"
            yield _counted(
                f"{title}, {len(rows) // len(data.languages):,} rows a language",
                checks,
                partial(_judged, comparing, changed),
            )


def _judged(comparing: Comparing, changed: Callable[[], tuple[list[str], list[str]]]) -> list[Finding]:
    return judge_accuracy(comparing, _VARIANT, *changed())


def _planted(
    rows: list[Row], predictions: list[str], labels: list[str], points: float, generator: random.Random
) -> tuple[list[str], list[str]]:
    """Predictions of the baseline and, worse by so many points in one language, of the new model; besides, a hundredth
    of all rows change from right to wrong and as many from wrong to right, so that the two are not the same model."""
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
    process = subprocess.Popen([sys.executable, "-m", "bench.studies.gate_proof", "--neighbour"])
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


def _serve() -> None:
    """A measuring process whose model is slower where its folder says so."""

    def load(path: Path, *arguments: Any) -> Predict:
        predict, planted = load_predict(path, *arguments), path / _PLANTED
        if not planted.exists():
            return predict
        more = json.loads(planted.read_text("utf-8")) - 1

        def slower(inputs: dict[str, np.ndarray]) -> np.ndarray:
            started = time.perf_counter()
            outputs = predict(inputs)
            ends = time.perf_counter() + more * (time.perf_counter() - started)
            while time.perf_counter() < ends:
                pass
            return outputs

        return slower

    bench.measure.worker.load_predict = load  # type: ignore[assignment]
    bench.measure.worker.main()


def main(
    run: Annotated[Path | None, typer.Argument(help="Run directory of the demo.")] = None,
    checks: int = 100,
    slower: float = 1.15,
    serve: Annotated[bool, typer.Option("--serve", hidden=True)] = False,
    neighbour: Annotated[bool, typer.Option("--neighbour", hidden=True)] = False,
) -> None:
    """Count the gate's alarms; JSON on standard output, a table on standard error."""
    if serve:
        return _serve()
    if neighbour:
        return _work_and_rest()
    quiet_libraries()
    quiet_transformers()
    entries = prove(find_run(run, Path("artifacts")), checks, slower)
    print(json.dumps(entries))
    Console(stderr=True, width=160).print(terminal_table(proof_table(entries)))


if __name__ == "__main__":
    typer.run(main)

"""The bench stage: teacher, student and every variant on the same rows, one process and one session at a time."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import write_markdown
from compress.console import progress, say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.errors import CompressError
from compress.evaluation import load_predictions
from compress.generation import Search
from compress.inference import OPENVINO_MODEL
from compress.metrics import agreement, compare, per_language, signatures
from compress.models import load_tokenizer
from compress.recipe_export import VARIANTS
from compress.run import Run, recorded_versions, run_stage, write_json
from compress.target import is_elsewhere
from compress.tasks import Example, Prediction

SCHEMA = 1
_VARIANTS = ("onnx", *VARIANTS, "onnx-chosen")
_WEIGHT_FILES = ("*.safetensors", "*.onnx", "*.onnx.data", "openvino_model.*")


@dataclass(frozen=True)
class Contender:
    """One model to measure: its name in the report, its folder, the runtime that runs it, and what it is made for."""

    name: str
    folder: Path
    runtime: str
    target: str


@dataclass(frozen=True)
class Setup:
    """What a measuring process is told, and what its tokenizer made of the test rows."""

    request: dict[str, Any]
    examples: list[Example]

    def batches(self, rows: Sequence[int], size: int) -> list[list[int]]:
        """Numbers of the examples of so many rows at a time."""
        of_row: dict[int, list[int]] = defaultdict(list)
        for index, example in enumerate(self.examples):
            of_row[example["row"]].append(index)
        return [
            [index for row in rows[start : start + size] for index in of_row[row]]
            for start in range(0, len(rows), size)
        ]


@dataclass
class Samples:
    """What was measured of one model at one batch size: milliseconds of each batch and, where text is written, those up
    to the first token, and the number of tokens of all batches."""

    milliseconds: list[float] = field(default_factory=list)
    first_token_milliseconds: list[float] = field(default_factory=list)
    tokens: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        """Add what one round measured."""
        self.milliseconds += answer["milliseconds"]
        self.first_token_milliseconds += answer.get("first_token_milliseconds", [])
        self.tokens += answer.get("tokens", 0)


class Worker:
    """A measuring process that holds one model."""

    def __init__(self, process: subprocess.Popen[str], name: str):
        self._process = process
        self._name = name

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer.

        :raises CompressError: If the process ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # the answer that does not come tells
            print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            reason = self._process.stderr.read().strip().splitlines()[-1:] or ["no reason was given"]
            raise CompressError(f"bench: the process that measures {self._name} ended ({reason[0]})")
        return json.loads(line)


def run_bench_stage(run: Run) -> dict[str, Any]:
    """Fill ``bench/`` with ``report.json`` (raw samples too) and ``report.md``; measured anew each time."""
    contenders = find_contenders(run)
    parents = ("data", "evaluation", *(contender.folder.name for contender in contenders))
    inputs = run.recipe.bench.model_dump(mode="json")
    return run_stage(
        run, "bench", inputs, parents, lambda folder, scratch: _build(run, contenders, folder, scratch), always=True
    )


def find_contenders(run: Run) -> list[Contender]:
    """What this run has and this machine can run, the teacher first."""
    stages = run.manifest["stages"]
    run.path_of("teacher")
    runtimes = {"teacher": "PyTorch", "student": "PyTorch", **dict.fromkeys(_VARIANTS, "ONNX Runtime")}
    found = []
    for name, runtime in runtimes.items():
        if run.is_current(name):
            if (run.folder / name / OPENVINO_MODEL).exists():
                runtime = "OpenVINO"
            place = stages[name]["summary"].get("target", "any")
            found.append(Contender(name, run.path_of(name), runtime, place))
        elif name in stages:
            say(f"bench: {name} was made from another student and is left out; `compress export` makes it anew")
    return found


def _build(run: Run, contenders: list[Contender], folder: Path, scratch: Path) -> dict[str, Any]:
    data, settings = load_data(run), run.recipe.bench
    threads = settings.threads or len(os.sched_getaffinity(0))
    rows = data.splits["test"]
    chosen = spread_over_languages(rows.column("lang"), settings.rows, run.recipe.seed)
    setups = {contender.name: _setup(run, contender, data, threads, scratch) for contender in contenders}
    samples: dict[str, dict[int, Samples]] = {
        c.name: {size: Samples() for size in settings.batch_sizes} for c in contenders
    }
    figures: dict[str, dict[str, Any]] = {contender.name: {"start_up_seconds": []} for contender in contenders}
    # The evaluation has asked teacher and student about the same rows already.
    predicted = {name: load_predictions(run, name) for name in ("teacher", "student")}
    with progress() as bar:
        task = bar.add_task("measuring", total=settings.rounds * len(contenders))
        # In turn, so that a slow spell of the machine falls on every model alike.
        for round_number in range(settings.rounds):
            for contender in contenders:
                say(f"bench: {contender.name}, round {round_number + 1} of {settings.rounds}")
                with _worker(contender, setups[contender.name].request) as (worker, started):
                    figures[contender.name]["start_up_seconds"].append(round(started["start_up_seconds"], 3))
                    for size in settings.batch_sizes:
                        batches = setups[contender.name].batches(chosen, size)
                        answer = worker.ask({"measure": "latency", "batches": batches})
                        samples[contender.name][size].add(answer)
                    figures[contender.name]["memory"] = worker.ask({"measure": "memory"})
                    if contender.name not in predicted:
                        file = scratch / f"{contender.name}-outputs.npz"
                        worker.ask({"measure": "predict", "file": str(file)})
                        predicted[contender.name] = _decoded(run, data, contender, setups[contender.name], file)
                bar.advance(task)
    report = _report(run, contenders, data, samples, figures, predicted, threads, len(chosen))
    raw = {name: {size: found.milliseconds for size, found in sizes.items()} for name, sizes in samples.items()}
    write_json(folder / "report.json", {**report, "samples_ms": raw})
    write_markdown(report, folder / "report.md")
    return report


def _setup(run: Run, contender: Contender, data: DataSet, threads: int, scratch: Path) -> Setup:
    tokenizer = load_tokenizer(str(contender.folder))
    path = scratch / f"{contender.name}-examples.json"
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(list(data.splits["test"]))
    path.write_text(json.dumps(examples), "utf-8")
    request = {
        "model": str(contender.folder),
        "task": run.recipe.task,
        "examples": str(path),
        "pad_id": tokenizer.pad_token_id,
        "search": asdict(Search.of(run.recipe)),
        "threads": threads,
    }
    return Setup(request, examples)


def _decoded(run: Run, data: DataSet, contender: Contender, setup: Setup, file: Path) -> list[Prediction]:
    with np.load(file) as outputs:
        arrays = [outputs[name] for name in outputs.files]
    tokenizer = load_tokenizer(str(contender.folder))
    return run.task.decode(arrays, setup.examples, list(data.splits["test"]), data.labels, tokenizer)


@contextmanager
def _worker(contender: Contender, request: dict[str, Any]) -> Iterator[tuple[Worker, dict[str, Any]]]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(request["threads"])}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    worker = Worker(process, contender.name)
    try:
        yield worker, worker.ask(request)
    finally:
        process.terminate()
        process.communicate()


def _report(
    run: Run,
    contenders: list[Contender],
    data: DataSet,
    samples: dict[str, dict[int, Samples]],
    figures: dict[str, dict[str, Any]],
    predicted: dict[str, list[Prediction]],
    threads: int,
    rows: int,
) -> dict[str, Any]:
    test_rows = list(data.splits["test"])
    languages = [row.lang for row in test_rows]
    metrics = {name: run.task.metrics(found, test_rows, data.labels) for name, found in predicted.items()}
    first = contenders[0].name
    models: dict[str, Any] = {}
    for contender in contenders:
        name = contender.name
        models[name] = {
            "runtime": contender.runtime,
            "target": contender.target,
            "made_for_another_target": is_elsewhere(contender.target),
            "shape": run.manifest["stages"]["teacher" if name == "teacher" else "student"]["summary"]["shape"],
            "model_bytes": _size(contender.folder, _WEIGHT_FILES),
            "folder_bytes": _size(contender.folder, ("*",)),
            "latency": {str(size): _percentiles(found, size, rows) for size, found in samples[name].items()},
            "peak_memory_bytes": figures[name]["memory"]["peak_bytes"],
            "start_up_seconds": figures[name]["start_up_seconds"],
            "quality": per_language(metrics[name], languages),
        }
        models[name]["against_teacher"] = {
            "smaller": round(models[first]["model_bytes"] / models[name]["model_bytes"], 2),
            "faster": {
                str(size): round(float(np.median(samples[first][size].milliseconds) / np.median(found.milliseconds)), 2)
                for size, found in samples[name].items()
            },
            **compare(metrics[first], metrics[name], languages),
            "agreement": agreement(predicted[first], predicted[name]),
        }
    return {
        "schema": SCHEMA,
        "run": run.recipe.name,
        "machine": {"processor": _processor(), "threads": threads, "system": platform.platform()},
        "versions": recorded_versions(),
        "metrics": list(metrics[first]),
        "signatures": signatures(metrics[first]),
        "rows": {"latency": rows, "quality": len(test_rows)},
        "rounds": run.recipe.bench.rounds,
        "models": models,
    }


def _percentiles(samples: Samples, batch_size: int, rows: int) -> dict[str, float]:
    times = samples.milliseconds
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    rounds, seconds = len(times) / -(-rows // batch_size), sum(times) / 1000
    found = {
        "p50_ms": round(float(p50), 4),
        "p90_ms": round(float(p90), 4),
        "p99_ms": round(float(p99), 4),
        "samples_per_second": round(rows * rounds / seconds, 1),
    }
    if samples.tokens:
        found["tokens_per_second"] = round(samples.tokens / seconds, 1)
        found["first_token_p50_ms"] = round(float(np.median(samples.first_token_milliseconds)), 4)
    return found


def _size(folder: Path, patterns: tuple[str, ...]) -> int:
    return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

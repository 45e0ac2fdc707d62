"""Measuring processes: what they are told and answer, and that they find our package and load little else."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_encoders

import bench
from bench.measure.messages import line_of, message_of
from bench.measure.process import AskedProcess
from bench.measure.protocol import (
    KINDS,
    PredictRequest,
    RowsBatch,
    RunRequest,
    ServeRequest,
    SizeBatch,
    TextSetup,
    TimingWarmUpRequest,
    WorkerSetup,
)
from bench.measure.reference import REFERENCE
from bench.measure.workers import ModelSetup, Worker
from compress.errors import CompressError
from compress.runtimes.generation import Search
from compress.subprocesses import module_command, module_environment

TEXT = TextSetup("folder", ["a", "b"], "rows.json", 64, {"de": "deu_Latn"}, None)


@pytest.fixture(autouse=True)
def real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.process.subprocess", subprocess)


@pytest.fixture
def setup(tmp_path: Path) -> WorkerSetup:
    """A small encoder and three rows."""
    model = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    examples = [{"row": row, "input_ids": [1, 3 + row, 2]} for row in range(3)]
    (tmp_path / "examples.json").write_text(json.dumps(examples))
    return WorkerSetup(
        task="text-classification",
        model=str(model),
        examples=str(tmp_path / "examples.json"),
        pad_id=0,
        text=None,
        search=Search(1, 1.0, 64),
        threads=1,
        cpus=sorted(os.sched_getaffinity(0))[-1:],
        largest=SizeBatch(2, 8),
    )


@pytest.mark.parametrize(
    "message",
    [
        TimingWarmUpRequest(RowsBatch([1, 2])),
        RunRequest(SizeBatch(8, 32)),
        ServeRequest([0.1, 0.25], [[0], [1, 2]], largest_batch=8, bound_ms=12.5, allowed=1),
        WorkerSetup("translation", None, "examples.json", 0, TEXT, Search(2, 0.6, 64), 1, [0, 1], SizeBatch(8, 64)),
    ],
)
def test_a_message_is_one_line_and_the_same_afterwards(message: object):
    line = line_of(message)
    assert "\n" not in line
    assert message_of(line, KINDS) == message


def test_what_is_no_message_is_not_sent():
    with pytest.raises(TypeError, match="Path"):
        line_of(RunRequest(Path()))  # type: ignore[arg-type]


def test_a_model_is_asked_in_a_process_of_its_own(setup: WorkerSetup, tmp_path: Path):
    worker = Worker("ours", ModelSetup(setup, []))
    try:
        assert worker.start.classes == 3
        assert 0 < worker.start.before < worker.start.needed <= worker.start.peak
        assert worker.ask(RunRequest(SizeBatch(2, 8))).ms > 0
        worker.ask(PredictRequest(str(tmp_path / "outputs.npz")))
        with np.load(tmp_path / "outputs.npz") as found:
            assert [found[name].shape for name in found.files] == [(3,)] * 3
    finally:
        worker.end()


def test_a_process_that_is_not_asked_stands_still(setup: WorkerSetup):
    process = AskedProcess("ours", module_command("bench.measure.worker"), KINDS, threads=1)
    try:
        process.ask(setup)
        os.waitid(os.P_PID, process.number, os.WSTOPPED)  # returns as soon as it is stopped, and does not reap it
        assert "State:\tT" in Path(f"/proc/{process.number}/status").read_text()
    finally:
        process.end()


def test_a_process_that_ends_says_why():
    process = AskedProcess("ours", module_command("bench.measure.nowhere"), KINDS, threads=1)
    try:
        with pytest.raises(CompressError, match=r"the process that measures ours ended .*bench\.measure\.nowhere"):
            process.ask(RunRequest(SizeBatch(1, 1)))
    finally:
        process.end()


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user stands in a folder that has a package `bench` of its own."""
    for folder in (tmp_path / "theirs/bench", tmp_path / "theirs/bench/measure"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    monkeypatch.chdir(tmp_path / "theirs")
    return tmp_path / "theirs"


def test_a_folder_named_as_ours_does_not_come_first(shadowed: Path, setup: WorkerSetup):
    worker = Worker("ours", ModelSetup(setup, []))
    try:
        assert worker.ask(TimingWarmUpRequest(RowsBatch([0, 1]))).runs > 0
    finally:
        worker.end()


def test_it_is_found_where_only_the_parent_process_knows_it(shadowed: Path):
    """The parent has our folder in its path from where it was started, and from nowhere else."""
    root = Path(bench.__file__).parents[1]
    script = (
        "import sys; sys.path[0] = sys.argv[1]\n"
        "import subprocess\n"
        "from compress.subprocesses import module_command, module_environment\n"
        "command = module_command('bench.measure.worker')\n"
        "done = subprocess.run(command, env=module_environment(), input='{}', capture_output=True, text=True)\n"
        "print(done.stderr)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, root], capture_output=True, text=True, check=True, env=environment
    )
    assert "measure/worker.py" in done.stdout  # it came as far as to miss its setup
    assert "No module named" not in done.stdout
    assert "not ours" not in done.stdout


def test_nothing_is_loaded_before_the_model():
    """What a measuring process weighs is the model's memory: not that of libraries for people and files."""
    script = "import sys, bench.measure.worker; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, env=module_environment()
    )
    heavy = {"torch", "transformers", "tokenizers", "onnxruntime", "openvino", "scipy", "pydantic", "typer", "yaml"}
    assert heavy & set(done.stdout.split()) == set()


def test_the_reference_is_measured_as_a_model_is(tmp_path: Path, setup: WorkerSetup):
    worker = Worker(REFERENCE, ModelSetup(replace(setup, model=None), []))
    try:
        assert worker.ask(RunRequest(RowsBatch([0]))).first_token_ms is None
    finally:
        worker.end()

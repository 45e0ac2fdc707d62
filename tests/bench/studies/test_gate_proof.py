"""The proof plants what it says; how often the gate finds it is for `make bench`."""

import random
import shutil
from pathlib import Path

from bench.gate.judgement import Limits
from bench.gate.stage import run_check_stage
from bench.studies.gate_proof import planted_drop
from bench.studies.slower import SLOWER, plant
from compress.runs.directory import find_run
from compress.tasks.rows import Row


def test_what_is_slower_is_found(finished_run: Path, tmp_path: Path):
    shutil.copytree(finished_run, tmp_path / "new", symlinks=True)
    plant(tmp_path / "new/onnx-int8", 2.0)
    run = find_run(tmp_path / "new", tmp_path, {"bench.starts": 1})
    found = run_check_stage(run, finished_run, Limits(max_slowdown=1.3), ["onnx-fused", "onnx-int8"], SLOWER)
    slow = {(finding.variant, finding.figure) for finding in found.findings if finding.verdict == "fail"}
    assert ("onnx-int8", "latency, batches of 1") in slow
    assert {variant for variant, _ in slow} == {"onnx-int8"}


def test_the_proof_plants_what_it_says():
    rows = [Row(text="", label="ab"[number % 2], lang="de" if number < 1000 else "en") for number in range(2000)]
    predictions = [row.label if number % 10 else "c" for number, row in enumerate(rows)]
    before, after = planted_drop(rows, predictions, ["a", "b", "c"], 2.0, random.Random(0))
    lost = {"de": 0, "en": 0}
    for row, one, other in zip(rows, before, after, strict=True):
        lost[row.lang] += (one == row.label) - (other == row.label)
    assert sorted(lost.values()) == [0, 20]

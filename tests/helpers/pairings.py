"""What a finished run of any task goes through beside export: a form of the search, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gate.baseline import Comparing, RunBaseline, side_of
from bench.gate.findings import accuracy_findings
from bench.gate.judgement import Finding, Limits
from compress.data.stage import load_data
from compress.runs.directory import Run
from compress.targets import resolve_target
from export.search.report import Candidate, Trial
from export.search.trials import TrialRunner
from export.variants.making import ingredients_of
from export.variants.sample import draw_sample


def tried(run: Run, folder: Path, rows: int = 60) -> Trial:
    """The dynamic int8 form of a run's student, as a search within a budget tries it."""
    data = load_data(run)
    runner = TrialRunner(run, ingredients_of(run, data, resolve_target("auto")), draw_sample(run, data, rows), folder)
    return runner.trial(Candidate(variant="onnx-int8"))


def judged(run: Run, old: Sequence[Any], new: Sequence[Any]) -> list[Finding]:
    """What the gate finds of accuracy where the student said one thing of the test rows, and says another."""
    data = load_data(run)
    side = side_of(run, data.labels)
    rows = list(data.splits["test"])
    comparing = Comparing(side, RunBaseline("before", side), ["onnx"], rows, Limits(max_drop=5.0), data)
    return accuracy_findings(comparing, "onnx", old, new)

"""What a finished run of any task goes through beside export: a form of the search, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bench.gate.baseline import Comparing, RunBaseline, side_of
from bench.gate.findings import accuracy_findings
from bench.gate.judgement import Finding, Limits
from compress.data.stage import load_data
from compress.runs.directory import Run
from compress.targets import resolve_target
from compress.variants.registry import Variant
from export.search.report import Candidate, LayerSensitivity, SearchReport, Trial
from export.search.stage import search
from export.search.trials import TrialRunner
from export.variants.making import Ingredients, Made, ingredients_of, make
from export.variants.sample import draw_sample


def tried(run: Run, folder: Path, rows: int = 60) -> Trial:
    """The int8 form of a run's student, as a search within a budget tries it."""
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


def searched(run: Run, folder: Path, points: float, rows: int = 60) -> SearchReport:
    """A search within a budget between the student in 32 bits and an int8 form that is twice as fast, and harmed."""

    class Hurried(TrialRunner):
        def trial(self, candidate: Candidate) -> Trial:
            found = super().trial(candidate)
            faster = 2.0 if candidate.variant == "onnx-int8" else 1.0
            return found.model_copy(update={"faster": faster, "noisy": False})

        def sensitivity(self, candidate: Candidate) -> list[LayerSensitivity]:
            return []

    def made_and_harmed(variant: Variant, ingredients: Ingredients, place: Path) -> Made:
        made = make(variant, ingredients, place)
        if variant.name == "onnx-int8":
            harm(place)
        return made

    data = load_data(run)
    runner = Hurried(run, ingredients_of(run, data, resolve_target("auto")), draw_sample(run, data, rows), folder)
    runner.candidates = [Candidate(variant="onnx-fused"), Candidate(variant="onnx-int8")]
    runner.retrains = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.search.trials.make", made_and_harmed)
        return search(runner, points)


def obeys_budgets(run: Run, folder: Path) -> bool:
    """Whether a search takes the harmed int8 form where it loses less of nDCG@10 than allowed, and no less."""
    report = searched(run, folder, 100)
    lost = 100 * max(half.worst_language_drop.value for half in (report.chosen.search, report.chosen.confirmation))
    assert (report.metric, report.chosen.name) == ("nDCG@10", "onnx-int8")
    assert lost > 10
    below, above = (searched(run, folder, points).chosen.name for points in (lost - 0.1, lost + 0.1))
    return (below, above) == ("onnx-fused", "onnx-int8")


def harm(folder: Path) -> None:
    """Let a graph take all tokens for one."""
    path = folder / "model.onnx"
    graph = onnx.load(path)
    tables = [each for each in graph.graph.initializer if len(each.dims) == 2]
    table = max(tables, key=lambda each: (each.dims[0], each.dims[1]))
    vectors = onnx.numpy_helper.to_array(table)
    table.CopyFrom(onnx.numpy_helper.from_array(np.repeat(vectors[50:51], len(vectors), axis=0), table.name))
    onnx.save(graph, path)

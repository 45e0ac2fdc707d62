"""The form that candidates are measured and judged in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.fit.forms import form_for
from compress.data.stage import load_data
from compress.runs.directory import find_run
from compress.targets import TARGETS

CPU = TARGETS["cpu-vnni"]


def test_ranges_are_fixed_where_calibration_rows_of_all_languages_tell_them(finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.variants": None})
    data = load_data(run)
    assert form_for(run, data, CPU).name == "onnx-static"
    train = data.splits["train"]
    english = train.select([number for number, language in enumerate(train.column("lang")) if language == "en"])
    assert form_for(run, replace(data, splits={**data.splits, "train": english}), CPU).name == "onnx-int8"


def test_what_a_recipe_does_not_export_tells_nothing(finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.variants": ["onnx-int8"]})
    assert form_for(run, load_data(run), CPU).name == "onnx-int8"


@pytest.mark.parametrize("target", ["web", "cuda-sm89"])
def test_where_it_is_not_what_a_target_is_served_with_ranges_are_not_fixed(target: str, finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.variants": None})
    assert form_for(run, load_data(run), TARGETS[target]).name == "onnx-int8"

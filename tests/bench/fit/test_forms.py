"""The form that candidates are measured and judged in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.fit.forms import form_for
from compress.data.stage import load_data
from compress.runs.directory import find_run


def test_ranges_are_fixed_where_calibration_rows_of_all_languages_tell_them(finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.variants": None})
    data = load_data(run)
    assert form_for(run, data).name == "onnx-static"
    train = data.splits["train"]
    english = train.select([number for number, language in enumerate(train.column("lang")) if language == "en"])
    assert form_for(run, replace(data, splits={**data.splits, "train": english})).name == "onnx-int8"


def test_what_a_recipe_does_not_export_tells_nothing(finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.variants": ["onnx-int8"]})
    assert form_for(run, load_data(run)).name == "onnx-int8"

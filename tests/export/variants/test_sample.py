"""Rows that variants are compared on: each model is asked about them once."""

from pathlib import Path

import pytest

from compress.data.stage import load_data
from compress.runs.directory import find_run
from export.variants import sample as module
from export.variants.parity import Answers
from export.variants.sample import draw_sample


def test_a_model_that_several_are_made_from_is_asked_once(finished_run: Path, monkeypatch: pytest.MonkeyPatch):
    run = find_run(finished_run, finished_run)
    sample = draw_sample(run, load_data(run), 12)
    opened: list[str] = []

    def counted(folder: Path, *arguments: object, **settings: object):
        opened.append(folder.name)
        return module_load(folder, *arguments, **settings)

    module_load = module.load_predict
    monkeypatch.setattr(module, "load_predict", counted)
    said = sample.answers_of(run.path_of("onnx"))
    assert said is sample.answers_of(run.path_of("onnx"))
    assert len(said.predictions) == len(sample.rows) == 12
    sample.remember(run.folder / "onnx-fused", said)
    assert sample.answers_of(run.path_of("onnx-fused")) is said
    assert isinstance(sample.answers(run.path_of("onnx")), Answers)
    assert opened == ["onnx", "onnx"]

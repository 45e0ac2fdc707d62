"""The vectors of a static student in model2vec, where neither this package nor PyTorch is at hand."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from model2vec import StaticModel

RUNS = Path(os.environ["COMPRESS_INTEROP"])


def test_they_are_those_that_compress_gives():
    assert importlib.util.find_spec("compress") is None
    told = json.loads((RUNS / "static-vectors.json").read_text("utf-8"))
    model = StaticModel.from_pretrained(RUNS / "static/student/model2vec")
    assert model.normalize
    found = model.encode(told["texts"])
    assert found.shape == (len(told["texts"]), len(told["vectors"][0]))
    assert found.ravel().tolist() == pytest.approx([value for row in told["vectors"] for value in row], abs=1e-5)

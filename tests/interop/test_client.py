"""A bundle's `client.py`, where neither this package nor the libraries that made the bundle are at hand."""

import importlib.util
import json
import os
import runpy
from pathlib import Path

import pytest

RUNS = Path(os.environ["COMPRESS_INTEROP"])
ROWS = 60
TASKS = {  # what a row is asked with, and the share of predictions that are the same at least
    "text-classification": (lambda row: ([(row["text"], row["text_pair"])],), 1.0),
    "token-classification": (lambda row: (row["text"],), 1.0),
    "question-answering": (lambda row: (row["text"], row["text_pair"]), 1.0),
    "translation": (lambda row: (row["lang"], row["text"]), 0.9),  # without beams
}


@pytest.mark.parametrize("task", TASKS)
def test_it_predicts_as_compress_does_with_onnx_runtime_and_tokenizers_alone(task):
    assert importlib.util.find_spec("compress") is None
    folder = RUNS / task
    predict = runpy.run_path(str(folder / "bundle/client.py"))["predict"]
    rows = [json.loads(line) for line in (folder / "data/test.jsonl").read_text("utf-8").splitlines()[:ROWS]]
    wanted = json.loads((folder / "evaluation/student-predictions.json").read_text("utf-8"))[:ROWS]
    asked, least = TASKS[task]
    found = [predict(*asked(row)) for row in rows]
    if task == "text-classification":
        found = [label for (label,) in found]
    wrong = [(one, other) for one, other in zip(found, wanted, strict=True) if one != other]
    assert len(wrong) <= (1 - least) * len(rows), wrong[:3]

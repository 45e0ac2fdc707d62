"""Folders of bundles in MLflow's `onnx` flavour, in an environment of its own without this package."""

import json
import os
from pathlib import Path

import mlflow
import numpy as np
import onnx
import onnxruntime
import pytest

RUNS = Path(os.environ["COMPRESS_INTEROP"])
MODELS = [
    RUNS / run / "bundle/models/cpu" / variant / "1"
    for run in ("text-classification", "as-is", "embedding")
    for variant in ("onnx", "onnx-int8")
]
"""Those of the run `as-is` have their weights beside the graph."""


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: "-".join(folder.relative_to(RUNS).parts[::4]))
def test_a_graph_is_saved_and_asked_by_mlflow(folder: Path, tmp_path: Path):
    mlflow.onnx.save_model(onnx.load(folder / "model.onnx"), tmp_path / "model", extra_files=others_of(folder))
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    tokens = np.array([[2, 5, 6, 7, 3], [2, 9, 8, 3, 0]], np.int64)
    given = {"input_ids": tokens, "attention_mask": (tokens > 0).astype(np.int64)}
    feeds = {value.name: given.get(value.name, np.zeros_like(tokens)) for value in session.get_inputs()}
    found = model.predict(feeds)
    names = [value.name for value in session.get_outputs()]
    assert set(found) == set(names)
    for name, wanted in zip(names, session.run(names, feeds), strict=True):
        assert np.allclose(found[name], wanted, atol=1e-5)


def others_of(folder: Path) -> list[str]:
    """The tokenizer and what else a client reads."""
    return [str(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("model.onnx")]


def test_what_a_client_reads_is_packed_too(tmp_path: Path):
    folder = MODELS[0]
    mlflow.onnx.save_model(onnx.load(folder / "model.onnx"), tmp_path / "model", extra_files=others_of(folder))
    packed = {path.name for path in (tmp_path / "model/extra_files").iterdir()}
    assert {"tokenizer.json", "config.json"} <= packed
    described = json.loads((folder / "config.json").read_text("utf-8"))
    assert json.loads((tmp_path / "model/extra_files/config.json").read_text("utf-8")) == described

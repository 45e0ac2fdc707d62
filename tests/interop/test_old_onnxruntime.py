"""Graphs of the oldest opset in the oldest ONNX Runtime that PyPI has for this Python, with nothing else of ours."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

RUNS = Path(os.environ["COMPRESS_INTEROP"])
TOLERATED = {"onnx": 1e-4, "onnx-fused": 1e-4, "onnx-int8": 1e-2, "onnx-static": 1e-2}
"""Of the logits: int8 rounds at other places where 32 bits are summed in another order."""


def test_the_runtime_is_older_than_the_usual_opset():
    assert tuple(map(int, onnxruntime.__version__.split(".")[:2])) <= (1, 20)


@pytest.mark.parametrize(("variant", "tolerated"), TOLERATED.items())
def test_an_old_runtime_gives_the_same_logits(variant: str, tolerated: float):
    told = json.loads((RUNS / "old-opset.json").read_text("utf-8"))[variant]
    path = str(RUNS / "old-opset" / variant / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {name: np.array(rows) for name, rows in told["inputs"].items()})[0]
    assert np.abs(found - np.array(told["logits"])).max() < tolerated

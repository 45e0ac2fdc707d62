"""Fused graphs compute what the plain ones do, with fewer operators."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import small_encoders

from export.onnx.fusion import fuse
from export.onnx.weights import save_graph


def fused(path: Path) -> tuple[Path, Counter]:
    model = onnx_ir.load(path)
    fuse(model)
    save_graph(model, path.with_name("fused.onnx"))
    return path.with_name("fused.onnx"), Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "modernbert", "distilbert"])
def test_attention_becomes_one_operator(name: str, tmp_path: Path):
    plain = small_encoders.write_onnx(name, tmp_path / "model.onnx")
    path, operators = fused(plain)
    assert operators["Attention"] == 2
    assert operators["Softmax"] == 0
    onnx.checker.check_model(path)  # standard operators: other runtimes can load it too
    for feed in (small_encoders.inputs(), small_encoders.inputs(rows=1, length=20)):
        expected = small_encoders.logits(plain, feed)
        assert np.abs(expected).max() > 0.1
        assert np.abs(small_encoders.logits(path, feed) - expected).max() < 1e-4 * np.abs(expected).max()


def test_heads_need_no_transposition_of_their_own(tmp_path: Path):
    _, operators = fused(small_encoders.write_onnx("bert", tmp_path / "model.onnx"))
    assert operators["Transpose"] == 0


def test_residual_sums_stay_apart_from_their_norms(tmp_path: Path):
    path, operators = fused(small_encoders.write_onnx("bert", tmp_path / "model.onnx"))
    assert operators["Sum"] == 5
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    run = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "SkipLayerNormalization" not in run


def test_attention_of_another_kind_is_left_as_it_is(tmp_path: Path):
    plain = small_encoders.write_onnx("deberta-v2", tmp_path / "model.onnx")
    path, operators = fused(plain)
    assert operators["Attention"] == 0
    feed = small_encoders.inputs()
    assert np.allclose(small_encoders.logits(path, feed), small_encoders.logits(plain, feed), rtol=1e-4, atol=1e-4)

"""Fused graphs compute what the plain ones do, with fewer operators."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import small_encoders
from small_translators import CONFIGS, TOKENS
from transformers import AutoModelForSeq2SeqLM

from export.fuse import fuse
from export.graphs import save_graph
from export.seq2seq import seq2seq_graphs


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


@pytest.mark.parametrize("name", ["marian", "mt5"])
def test_the_encoder_of_a_translator_is_fused(name: str, tmp_path: Path):
    graphs = seq2seq_graphs(AutoModelForSeq2SeqLM.from_config(CONFIGS[name]()).eval())
    save_graph(graphs["encoder_model.onnx"], tmp_path / "model.onnx")
    path, operators = fused(tmp_path / "model.onnx")
    assert operators["Attention"] == 2
    feed = {**small_encoders.inputs(), "input_ids": np.random.default_rng(0).integers(4, TOKENS, (3, 9))}
    one, other = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for graph in (tmp_path / "model.onnx", path)
    )
    seen = feed["attention_mask"].astype(bool)  # what padding sees is of no use to anybody
    assert np.allclose(one[seen], other[seen], atol=1e-4)

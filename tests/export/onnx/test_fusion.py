"""Fused graphs compute what the plain ones do, with fewer operators."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import small_encoders
import small_translators

from compress.runtimes.generation import DECODER, DECODER_WITH_PAST, OnnxDecoder
from export.onnx.fusion import fuse, fuse_graphs
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


def test_no_nodes_are_left_that_find_out_what_is_padding(tmp_path: Path):
    _, operators = fused(small_encoders.write_onnx("xlm-roberta", tmp_path / "model.onnx"))
    assert not operators.keys() & {"And", "GatherND", "Where", "GreaterOrEqual"}


def test_a_window_is_more_than_padding(tmp_path: Path):
    _, operators = fused(small_encoders.write_onnx("modernbert", tmp_path / "model.onnx"))
    assert operators["And"]


@pytest.fixture(scope="module", params=small_translators.CONFIGS)
def translator(request, exported_translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain graphs of a translator, and fused ones."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(exported_translator(request.param), folder / "plain")
    (folder / "fused").mkdir()
    assert fuse_graphs(folder / "plain", folder / "fused") == 2 + 2 * 4
    return folder


def test_all_attention_of_a_translator_becomes_one_operator_that_answers_the_same(translator: Path):
    lengths = np.array([[9], [4], [1]])
    tokens = np.random.default_rng(0).integers(4, small_translators.TOKENS, (3, 9))
    sources = {"input_ids": tokens, "attention_mask": (np.arange(9) < lengths).astype(np.int64)}
    found = []
    for name in ("plain", "fused"):
        decoder = OnnxDecoder(translator / name)
        logits, state = decoder.begin(sources, tokens[:, :3])
        found.append([logits])
        for place in range(3, 6):
            logits, state = decoder.step(tokens[:, place, None], state)
            found[-1].append(logits)
    for expected, other in zip(*found, strict=True):
        assert np.abs(other - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_step_of_a_decoder_joins_keys_and_values_inside_of_attention(translator: Path):
    model = onnx_ir.load(translator / "fused" / DECODER_WITH_PAST)
    operators = Counter(node.op_type for node in model.graph)
    assert operators["Attention"] == 4
    assert not operators.keys() & {"Softmax", "GatherND", "And"}
    assert [len(node.outputs) for node in model.graph if node.op_type == "Attention"] == [3, 1, 3, 1]
    onnx.checker.check_model(translator / "fused" / DECODER_WITH_PAST)


@pytest.mark.parametrize("translator", ["marian"], indirect=True)
def test_the_first_decoder_looks_at_padding_in_a_few_nodes_too(translator: Path):
    model = onnx_ir.load(translator / "fused" / DECODER)
    assert not {node.op_type for node in model.graph} & {"GatherND", "And", "Not"}

"""Tables of embeddings in 4 bits: how near they are, and what is in the graphs and runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import small_encoders
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoTokenizer

from compress.errors import RejectedVariantError
from export.onnx.graphs import graph_bytes
from export.quantize.embeddings import quantize_embeddings
from export.quantize.four_bits import in_four_bits
from export.quantize.products import rounded_to_int8


def table(tokens: int = 3000, width: int = 64) -> np.ndarray:
    """Columns and tokens of very different sizes."""
    drawn = np.random.default_rng(0)
    columns, sizes = np.geomspace(10, 0.1, width), np.geomspace(0.1, 3, tokens)
    return (drawn.normal(size=(tokens, width)) * columns * sizes[:, None]).astype(np.float32)


def values(packed: np.ndarray, pairs: np.ndarray, tokens: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return pairs[packed].reshape(len(packed), -1) * tokens * columns


def error(table: np.ndarray, rounded: np.ndarray) -> float:
    """Root of the mean squared difference, as a share of each column's spread, of the worst column."""
    return float((np.sqrt(np.mean((rounded - table) ** 2, axis=0)) / table.std(axis=0)).max())


def test_every_column_keeps_its_share():
    whole = table()
    found = in_four_bits(whole)
    assert found.packed.dtype == np.uint8
    assert found.packed.shape == (3000, 32)
    assert [part.dtype for part in found[1:]] == [np.float32] * 3
    # Sixteen values for what is normally distributed leave 9.75 % (Max, "Quantizing for minimum distortion", 1960).
    assert error(whole, values(*found)) == pytest.approx(0.0975, abs=0.02)
    small, scales = rounded_to_int8(whole, axis=0, largest=7)  # a step for each token alone
    assert error(whole, small * scales[:, None]) > 0.5


def test_a_token_of_zeros_stays_one():
    whole = table()
    whole[5] = 0
    assert not values(*in_four_bits(whole))[5].any()


def test_a_table_of_few_values_keeps_them():
    whole = np.where(np.arange(3000)[:, None] % 2, 0, np.where(np.arange(64) % 2, 1, -1)).astype(np.float32)
    np.testing.assert_allclose(values(*in_four_bits(whole)), whole, rtol=1e-5)


def lookup(path: Path, whole: np.ndarray) -> Path:
    """A graph that looks up tokens in a table."""
    tensor = numpy_helper.from_array(whole, "table")
    tokens = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", "length", whole.shape[1]])
    node = helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="embeddings")
    graph = helper.make_graph([node], "lookup", [tokens], [rows], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_it_looks_up_what_the_table_says(tmp_path: Path):
    whole = table()
    path = lookup(tmp_path / "plain.onnx", whole)
    model = onnx_ir.load(path)
    quantize_embeddings(model, bits=4)
    onnx_ir.save(model, tmp_path / "small.onnx")
    tokens = np.array([[5, 0, 2999], [7, 7, 1]])
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input_ids": tokens})
    np.testing.assert_allclose(found, values(*in_four_bits(whole))[tokens], rtol=1e-6)
    assert (tmp_path / "small.onnx").stat().st_size < 0.6 * rounded_to_int8(whole, axis=0)[0].nbytes
    assert {node.domain for node in model.graph} == {""}  # every runtime has them


def test_small_tables_stay_in_int8_and_kept_ones_as_they_are(tmp_path: Path):
    model = onnx_ir.load(small_encoders.write_onnx("bert", tmp_path / "model.onnx"))
    with pytest.raises(RejectedVariantError, match=r"embedding_bits: no table .* more than 256 tokens, an even width"):
        quantize_embeddings(model, bits=4)
    kept = onnx_ir.load(lookup(tmp_path / "plain.onnx", table()))
    quantize_embeddings(kept, kept=["embeddings"], bits=4)
    assert [node.op_type for node in kept.graph] == ["Gather"]


@pytest.mark.parametrize("rows", [(256, 64), (3000, 63)], ids=["few tokens", "odd width"])
def test_a_table_that_cannot_be_is_refused(rows: tuple[int, int], tmp_path: Path):
    model = onnx_ir.load(lookup(tmp_path / "plain.onnx", table(*rows)))
    with pytest.raises(RejectedVariantError, match="leave it at 8"):
        quantize_embeddings(model, bits=4)


def test_a_run_s_variants_have_them(finished_run: Path, tmp_path: Path, compress_command):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    names = ["onnx-int8", "onnx-static", "onnx-int4", "openvino-int8"]
    options = ("--variants", ",".join(names), "--set", "export.embedding_bits=4", "--json")
    done = compress_command("export", run, *options)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["variants"]
    assert all(made[name]["parity"]["agreement"] > 0.9 for name in names)
    assert "embeddings 4 bit" in made["onnx-int8"]["weights"]
    assert graph_bytes(run / "onnx-int8") < graph_bytes(finished_run / "onnx-int8")
    for name in names[:3]:
        tensors = {tensor.name: tensor for tensor in onnx.load(run / name / "model.onnx").graph.initializer}
        (packed,) = (tensor for name, tensor in tensors.items() if name.endswith("_packed"))
        assert packed.data_type == TensorProto.UINT8
        assert packed.dims[0] == len(AutoTokenizer.from_pretrained(run / name))

"""What is in the graphs of the smaller variants, read with the onnx library and run in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import small_encoders
from onnx import TensorProto, numpy_helper

from compress.targets import TARGETS
from export.quantize import folder as all_graphs
from export.quantize import fp16
from export.quantize.embeddings import quantize_embeddings
from export.quantize.fp16 import convert_fp16
from export.quantize.int4 import quantize_int4
from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
from export.quantize.layers import quantisable_layers

FEEDS = {"model.onnx": [small_encoders.inputs(rows, length) for rows, length in ((3, 9), (2, 14), (1, 5))]}


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (all_graphs, fp16):
        monkeypatch.setattr(module, "save_companions", lambda source, folder: None)  # no tokenizer here
    (tmp_path / "plain").mkdir()
    small_encoders.write_onnx("bert", tmp_path / "plain/model.onnx")
    return tmp_path / "plain"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def weights(folder: Path, kind: int) -> list[np.ndarray]:
    graph = onnx.load(folder / "model.onnx").graph
    return [numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == kind]


def distance(folder: Path, plain: Path) -> float:
    """Largest difference of the logits, as a share of their spread."""
    one, other = (small_encoders.logits(path / "model.onnx", small_encoders.inputs()) for path in (folder, plain))
    return float(np.abs(one - other).max() / np.std(one))


@pytest.mark.parametrize(("target", "largest"), [("cpu-avx2", 64), ("cpu-vnni", 127)])
def test_weights_have_seven_bits_where_the_target_has_no_vnni(target: str, largest: int, plain: Path, folder: Path):
    quantize_dynamic_int8(plain, folder, TARGETS[target])
    matrices = [array for array in weights(folder, TensorProto.INT8) if array.ndim == 2 and array.shape[0] in (32, 64)]
    assert max(int(np.abs(array.astype(int)).max()) for array in matrices) == pytest.approx(largest, abs=1)
    assert distance(folder, plain) < 0.2


def test_embeddings_have_a_scale_for_each_token(plain: Path, folder: Path):
    path = plain / "model.onnx"
    model = onnx.load(path)
    table = next(t for t in model.graph.initializer if t.name == "bert.embeddings.word_embeddings.weight")
    array = numpy_helper.to_array(table).copy()
    array[7] *= 100  # one loud token must not cost the others their precision
    table.CopyFrom(numpy_helper.from_array(array, table.name))
    onnx.save(model, folder / "model.onnx")
    quantize_embeddings(folder / "model.onnx")
    quiet = {"input_ids": np.full((1, 4), 20), "attention_mask": np.ones((1, 4), dtype=np.int64)}
    expected = small_encoders.logits(path, quiet)
    assert np.abs(small_encoders.logits(folder / "model.onnx", quiet) - expected).max() < 0.02 * np.std(expected)
    scales = next(
        numpy_helper.to_array(t)
        for t in onnx.load(folder / "model.onnx").graph.initializer
        if t.name == "bert.embeddings.word_embeddings.weight_scale"
    )
    assert scales.shape == (50, 1)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_static_int8_for_a_gpu_is_signed_and_symmetric(method: str, plain: Path, folder: Path):
    quantize_static_int8(plain, folder, TARGETS["cuda-sm89"], FEEDS, method)
    graph = onnx.load(folder / "model.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 20
    for node in pairs:
        zero_point = numpy_helper.to_array(tensors[node.input[2]])
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
    assert not any(node.op_type == "DequantizeLinear" and "bias" in node.input[0] for node in graph.node)
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}  # the rest is in half precision
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}


def test_static_int8_for_x86_has_unsigned_activations(plain: Path, folder: Path):
    quantize_static_int8(plain, folder, TARGETS["cpu-vnni"], FEEDS, "minmax")
    graph = onnx.load(folder / "model.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    kinds = {tensors[node.input[2]].data_type for node in graph.node if node.op_type == "QuantizeLinear"}
    assert kinds == {TensorProto.UINT8}
    assert distance(folder, plain) < 0.3


def test_layers_that_are_excluded_stay_in_32_bits(plain: Path, folder: Path):
    layers = quantisable_layers(plain)
    assert layers["node_embedding"] == "bert.embeddings.word_embeddings.weight"
    assert "bert.encoder.layer.1.output.dense" in layers.values()
    whole = tuple(name for name, title in layers.items() if title.startswith("bert.encoder.layer.0"))
    assert len(whole) == 6
    quantize_dynamic_int8(plain, folder, TARGETS["cpu-vnni"], whole)
    operators = [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]
    assert operators.count("MatMul") == 6 + 4  # and the products of queries with keys, of weights with values
    assert operators.count("MatMulInteger") == 6 + 2  # the other layer, pooler and classifier


def test_four_bits_are_for_memory(plain: Path, folder: Path):
    quantize_int4(plain, folder)
    graph = onnx.load(folder / "model.onnx").graph
    assert [node.op_type for node in graph.node].count("MatMulNBits") == 12
    assert any(tensor.name.endswith("word_embeddings.weight_int8") for tensor in graph.initializer)
    sizes = [(path / "model.onnx").stat().st_size for path in (folder, plain)]
    assert sizes[0] < 0.5 * sizes[1]


def test_half_precision_keeps_the_types_of_inputs_and_outputs(plain: Path, folder: Path):
    convert_fp16(plain, folder)
    graph = onnx.load(folder / "model.onnx").graph
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}
    assert distance(folder, plain) < 0.02

"""Sizes of a translator's graphs have Optimum's names, and no others are taken for the same."""

import onnx_ir

from export.onnx.seq2seq import _name_dimensions


def test_a_size_that_is_not_known_is_no_other_one():
    given = onnx_ir.Value(name="input_ids", shape=onnx_ir.Shape(["s1", "s2"]), type=onnx_ir.TensorType(7))
    inner = onnx_ir.node("Identity", [given])
    last = onnx_ir.node("Identity", inner.outputs)
    inner.outputs[0].shape = onnx_ir.Shape(["s1", None])
    last.outputs[0].shape, last.outputs[0].name = onnx_ir.Shape([None, "s2"]), "last_hidden_state"
    graph = onnx_ir.Graph([given], last.outputs, nodes=[inner, last])
    _name_dimensions(graph)
    assert [str(size) for size in given.shape] == ["batch_size", "encoder_sequence_length"]
    assert [str(size) for size in inner.outputs[0].shape] == ["batch_size", "None"]

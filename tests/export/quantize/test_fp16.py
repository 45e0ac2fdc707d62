"""Half precision where some nodes stay in 32 bits."""

from pathlib import Path

import numpy as np
import onnx_ir
from onnx import TensorProto, helper

from compress.runtimes.onnx import onnx_session
from export.quantize.fp16 import in_half_precision


def test_an_exact_node_reads_what_is_made_of_integers_as_a_number(tmp_path: Path):
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["mask"], ["shown"], "shown", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "shown"], ["kept"], "exact"),
        helper.make_node("Add", ["kept", "kept"], ["y"], "halved"),
    ]
    inputs = [value("x", TensorProto.FLOAT, [2]), value("mask", TensorProto.INT64, [2])]
    graph = helper.make_graph(nodes, "masked", inputs, [value("y", TensorProto.FLOAT, [2])])
    model = onnx_ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    onnx_ir.save(in_half_precision(model, ["exact"]), tmp_path / "model.onnx")
    session = onnx_session(tmp_path / "model.onnx")
    (found,) = session.run(None, {"x": np.array([3, 5], np.float32), "mask": np.array([1, 0], np.int64)})
    assert found.tolist() == [6, 0]

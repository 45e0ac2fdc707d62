"""The rounding that training sees is the one that ONNX Runtime does."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from compress.student.quantisation_aware import rounded_activations, rounded_rows, rounding_of_int8


def test_activations_are_rounded_as_by_dynamic_quantize_linear():
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "graph", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert onnx.checker.check_model(model) is None
    for low, high in ((-3.0, 5.0), (1.0, 4.0), (-2.0, -0.5)):
        values = np.linspace(low, high, 97, dtype=np.float32)
        expected = session.run(None, {"x": values})[0]
        assert np.allclose(rounded_activations(torch.from_numpy(values)).numpy(), expected, atol=1e-5)


def test_each_row_has_its_own_scale():
    rows = torch.tensor([[1.0, -0.004, 0.25], [100.0, 0.4, -50.0]])
    rounded = rounded_rows(rows, 127)
    assert torch.allclose(rounded, torch.round(rows / rows[:, :1] * 127) * rows[:, :1] / 127)
    assert rounded_rows(rows, 63)[0, 1] == 0  # too small for 7 bits
    assert rounded[0, 1] != 0


def test_gradients_pass_the_rounding():
    values = torch.tensor([0.3, -0.7, 0.9], requires_grad=True)
    (rounded_activations(values) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_model_feels_it_inside_of_the_block_only():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(20, 16), torch.nn.Linear(16, 4))
    tokens = torch.arange(12).reshape(3, 4)
    whole, names = model(tokens), list(model.state_dict())
    with rounding_of_int8(model, reduce_range=False):
        eight = model(tokens)
        assert list(model.state_dict()) == names  # checkpoints are those of the plain model
    with rounding_of_int8(model, reduce_range=True):
        seven = model(tokens)
    assert torch.equal(model(tokens), whole)
    assert 0 < (eight - whole).abs().max() < 0.05
    assert (seven - whole).abs().mean() > (eight - whole).abs().mean()


def test_the_model_is_itself_again_after_an_error():
    model = torch.nn.Linear(4, 2)
    with pytest.raises(RuntimeError), rounding_of_int8(model, reduce_range=False):
        raise RuntimeError
    assert "forward" not in vars(model)

"""The rounding that training sees is the one that ONNX Runtime does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from processors import saturates

from compress.student.quantisation_aware import rounded_rows, rounding_of_int8
from compress.targets import TARGETS
from export.quantize import folder as all_graphs
from export.quantize.int8 import quantize_dynamic_int8


def graph_of(layer: torch.nn.Linear) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    weights = numpy_helper.from_array(layer.weight.detach().numpy().T.copy(), "layer.weight")
    shapes = {"x": ["rows", "tokens", layer.in_features], "y": ["rows", "tokens", layer.out_features]}
    x, y = (value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "layer.weight"], ["y"])], "graph", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("target", ["cpu-vnni", "cpu-avx2"])
def test_a_layer_in_training_gives_what_its_int8_form_gives(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if saturates(target):
        pytest.skip(f"sums of what is made for {target} overflow on this processor")
    monkeypatch.setattr(all_graphs, "save_companions", lambda source, folder: None)  # no tokenizer here
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32, bias=False)
    values = torch.randn(3, 7, 64) * torch.logspace(-2, 2, 7)[:, None]  # tokens of very different size
    for name in ("plain", "int8"):
        (tmp_path / name).mkdir()
    onnx.save(graph_of(layer), tmp_path / "plain/model.onnx")
    quantize_dynamic_int8(tmp_path / "plain", tmp_path / "int8", TARGETS[target], by_token=True)
    session = onnxruntime.InferenceSession(tmp_path / "int8/model.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": values.numpy()})[0]
    with rounding_of_int8(layer, reduce_range=TARGETS[target].reduce_range):
        found = layer(values).detach().numpy()
    size = np.abs(expected).max(axis=-1, keepdims=True)
    assert (np.abs(found - expected) < 0.001 * size).all()
    assert (np.abs(found - layer(values).detach().numpy()) > 0.001 * size).any()


def test_each_row_has_its_own_scale():
    rows = torch.tensor([[1.0, -0.004, 0.25], [100.0, 0.4, -50.0]])
    rounded = rounded_rows(rows, 127)
    assert torch.allclose(rounded, torch.round(rows / rows[:, :1] * 127) * rows[:, :1] / 127)
    assert rounded_rows(rows, 63)[0, 1] == 0  # too small for 7 bits
    assert rounded[0, 1] != 0


def test_gradients_pass_the_rounding():
    values = torch.tensor([[0.3, -0.7, 0.9]], requires_grad=True)
    (rounded_rows(values, 127) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 2.0, 3.0]]


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

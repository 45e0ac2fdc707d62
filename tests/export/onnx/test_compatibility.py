"""Which ONNX Runtime a folder of graphs needs, by their opset, format and operators."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import small_encoders
from onnx import TensorProto, helper

from compress.recipe.export import Export
from compress.serving.format import NeededRuntime
from export.onnx.compatibility import needed_runtime
from export.onnx.fusion import fuse
from export.onnx.weights import save_graph
from export.quantize.int4 import quantize_int4


def write(path: Path, operator: str = "Relu", domain: str = "", opset: int = 18, form: int = 8) -> None:
    """A graph of one node."""
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], domain=domain)], "one", [first], [last])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=form), path)


@pytest.mark.parametrize(
    ("graphs", "oldest", "because"),
    [
        ([{}], "1.14", "opset 18"),
        ([{"opset": 20, "form": 9}], "1.17", "opset 20"),
        ([{"opset": 20, "form": 10}], "1.18", "format 10"),
        ([{}, {"opset": 24}], "1.24", "opset 24"),
        ([{"operator": "MatMulNBits", "domain": "com.microsoft"}], "1.17", "MatMulNBits"),
        ([{"operator": "MatMulNBits", "domain": "com.microsoft", "opset": 23}], "1.23", "opset 23"),
        ([{}, {"operator": "StringLower", "domain": "ai.onnx.contrib"}], None, "StringLower of ai.onnx.contrib"),
        ([{"operator": "Unheard", "domain": "com.microsoft"}], None, "Unheard of com.microsoft"),
        ([{"opset": 99}], None, "opset 99"),
    ],
)  # fmt: skip
def test_a_folder_needs_what_the_youngest_of_its_parts_needs(
    graphs: list[dict], oldest: str | None, because: str, tmp_path: Path
):
    for number, given in enumerate(graphs):
        write(tmp_path / f"{number}.onnx", **given)
    assert needed_runtime(tmp_path) == NeededRuntime(oldest=oldest, because=because)


def test_a_folder_without_graphs_needs_none(tmp_path: Path):
    assert needed_runtime(tmp_path) is None


def test_the_recipe_tells_the_runtime_of_each_opset(tmp_path: Path):
    described = Export.model_fields["opset"].description
    for opset in range(18, 26):
        write(tmp_path / "model.onnx", opset=opset)
        found = needed_runtime(tmp_path)
        assert f"{opset}: {found.oldest}" in described


@pytest.mark.parametrize(("opset", "attentions"), [(18, 0), (22, 0), (23, 2), (25, 2)])
def test_graphs_are_of_the_opset_that_is_asked_for(opset: int, attentions: int, tmp_path: Path):
    plain = small_encoders.write_onnx("bert", tmp_path / "model.onnx", opset)
    model = onnx_ir.load(plain)
    assert (model.opset_imports[""], fuse(model, opset), model.opset_imports[""]) == (opset, attentions, opset)
    assert sum(node.op_type == "Sum" for node in model.graph) == 5
    save_graph(model, tmp_path / "fused.onnx")
    feed = small_encoders.inputs()
    wanted = small_encoders.logits(small_encoders.write_onnx("bert", tmp_path / "usual.onnx"), feed)
    for name in ("model.onnx", "fused.onnx"):
        onnx.checker.check_model(tmp_path / name)
        assert np.allclose(small_encoders.logits(tmp_path / name, feed), wanted, rtol=1e-4, atol=1e-4)


def test_an_old_opset_comes_in_its_own_format_and_four_bits_need_a_later_runtime(tmp_path: Path):
    for name in ("plain", "int4"):
        (tmp_path / name).mkdir()
    plain = small_encoders.write_onnx("bert", tmp_path / "plain/model.onnx", 18)
    assert onnx.load(plain).ir_version == 8
    assert needed_runtime(tmp_path / "plain") == NeededRuntime(oldest="1.14", because="opset 18")
    (tmp_path / "plain/config.json").write_text("{}", "utf-8")
    quantize_int4(tmp_path / "plain", tmp_path / "int4")
    assert needed_runtime(tmp_path / "int4") == NeededRuntime(oldest="1.17", because="MatMulNBits")
    usual = tmp_path / "usual"
    usual.mkdir()
    small_encoders.write_onnx("bert", usual / "model.onnx")
    assert needed_runtime(usual) == NeededRuntime(oldest="1.17", because="opset 20")


def test_norms_without_a_bias_have_one_of_zeros(tmp_path: Path):
    graph = onnx.load(small_encoders.write_onnx("modernbert", tmp_path / "model.onnx")).graph
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert [len(node.input) for node in norms] == 6 * [3]
    assert not any(weights[node.input[2]].any() for node in norms)
    onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])

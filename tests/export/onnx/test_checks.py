"""Files from elsewhere that cannot be used: one line each, and nothing is written."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_encoders
from onnx import TensorProto, helper, numpy_helper

from compress.errors import CompressError
from export.onnx.checks import check_onnx


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoders.write_onnx("bert", tmp_path_factory.mktemp("good") / "model.onnx")


def missing(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def too_large(path: Path) -> None:
    os.truncate(path, 10**12)


def something_else(path: Path) -> None:
    path.write_text("not a model")


def old_opset(path: Path) -> None:
    model = onnx.load(path)
    model.opset_import[0].version = 9
    onnx.save(model, path)


def future_opset(path: Path) -> None:
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, path)


def strange_operator(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[3].op_type = "Frobnicate"
    onnx.save(model, path)


def not_a_number(path: Path) -> None:
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "bert.embeddings.word_embeddings.weight")
    array = numpy_helper.to_array(tensor).copy()
    array[3, :2] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)


def _with_weights_at(path: Path, location: str) -> None:
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def weights_elsewhere(path: Path) -> None:
    _with_weights_at(path, "../weights.data")
    (path.parent / "weights.data").rename(path.parent.parent / "weights.data")


def weights_by_absolute_path(path: Path) -> None:
    _with_weights_at(path, str(path.parent / "weights.data"))


def _constant_elsewhere() -> onnx.NodeProto:
    """A node that reads four numbers from beside the folder."""
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL, dims=[4])
    for key, text in (("location", "../weights.data"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=text)
    return helper.make_node("Constant", [], ["read"], value=tensor)


def weights_elsewhere_in_an_attribute(path: Path) -> None:
    (path.parent.parent / "weights.data").write_bytes(bytes(16))
    model = onnx.load(path)
    model.graph.node.append(_constant_elsewhere())
    path.write_bytes(model.SerializeToString())


def weights_elsewhere_in_a_branch(path: Path) -> None:
    (path.parent.parent / "weights.data").write_bytes(bytes(16))
    model, output = onnx.load(path), helper.make_tensor_value_info("read", TensorProto.FLOAT, [4])
    branch = helper.make_graph([_constant_elsewhere()], "branch", [], [output])
    (initializer,) = _constant_elsewhere().attribute
    held = helper.make_graph([helper.make_node("Identity", ["secret"], ["read"])], "held", [], [output])
    held.initializer.append(initializer.t)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["either"], then_branch=held, else_branch=branch))
    path.write_bytes(model.SerializeToString())


def weights_elsewhere_in_a_function(path: Path) -> None:
    (path.parent.parent / "weights.data").write_bytes(bytes(16))
    model = onnx.load(path)
    opset = helper.make_opsetid("", 20)
    model.functions.append(helper.make_function("own", "Read", [], ["read"], [_constant_elsewhere()], [opset]))
    path.write_bytes(model.SerializeToString())


def weights_at_no_number(path: Path) -> None:
    _with_weights_at(path, "weights.data")
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "offset":
            entry.value = "-8"
    path.write_bytes(model.SerializeToString())


def not_a_number_in_an_attribute(path: Path) -> None:
    model = onnx.load(path)
    tensor = numpy_helper.from_array(np.array([1, np.nan], dtype=np.float32), "value")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    onnx.save(model, path)


def strange_operator_in_a_branch(path: Path) -> None:
    model, output = onnx.load(path), helper.make_tensor_value_info("read", TensorProto.FLOAT, [4])
    branch = helper.make_graph([helper.make_node("Frobnicate", [], ["read"], "deep")], "branch", [], [output])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["either"], then_branch=branch, else_branch=branch))
    onnx.save(model, path)


def weights_missing(path: Path) -> None:
    _with_weights_at(path, "weights.data")
    (path.parent / "weights.data").unlink()


def weights_cut_off(path: Path) -> None:
    _with_weights_at(path, "weights.data")
    data = path.parent / "weights.data"
    data.write_bytes(data.read_bytes()[:1000])


def broken_structure(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[5].input[0] = "nowhere"
    onnx.save(model, path)


def weights_of_another_size(path: Path) -> None:
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", path.name), ("offset", "0"), ("length", "100")):
        tensor.external_data.add(key=key, value=text)
    path.write_bytes(model.SerializeToString())


def an_operator_of_many_characters(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[3].op_type = "x" * 100_000
    onnx.save(model, path)


def an_operator_that_is_no_text(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[3].op_type = "Frobnicate"
    path.write_bytes(model.SerializeToString().replace(b"Frobnicate", b"Frob\xff\xfecate"))


CASES: dict[Callable[[Path], None], str] = {
    missing: r"model.onnx: no such file; name an ONNX file",
    cut_off: r"model.onnx: not an ONNX file, or cut off; copy or export it again",
    too_large: r"model.onnx: 1,000,000,000,000 bytes, where ONNX files have 2 GB at most; export it again",
    something_else: r"model.onnx: (not an ONNX file|the graph is empty)",
    old_opset: r"model.onnx: operator set 9; 13 to \d+ can be read",
    future_opset: r"model.onnx: operator set 99; 13 to \d+ can be read",
    strange_operator: r"node '.+' has the operator Frobnicate, which operator set 20 does not have",
    not_a_number: r"model.onnx: 2 of the weights 'bert.embeddings.word_embeddings.weight' are not a number",
    weights_elsewhere: r"the weights '.+' lie outside of its folder \(../weights.data\)",
    weights_by_absolute_path: r"the weights '.+' lie outside of its folder \(/.+weights.data\)",
    weights_elsewhere_in_an_attribute: r"the weights 'secret' lie outside of its folder \(../weights.data\)",
    weights_elsewhere_in_a_branch: r"the weights 'secret' lie outside of its folder \(../weights.data\)",
    weights_elsewhere_in_a_function: r"the weights 'secret' lie outside of its folder \(../weights.data\)",
    weights_at_no_number: r"where the weights '.+' begin and end is no number; export it again",
    not_a_number_in_an_attribute: r"model.onnx: 1 of the weights 'value' are not a number",
    strange_operator_in_a_branch: r"node 'deep' has the operator Frobnicate, which operator set 20 does not have",
    weights_missing: r"the weights '.+' are missing \(weights.data\); copy that file too",
    weights_cut_off: r"weights.data: cut off: [\d,]+ bytes are needed, 1,000 are there",
    weights_of_another_size: r"model.onnx: the weights '.+' cannot be read \(cannot reshape .+\); export it again",
    an_operator_of_many_characters: r"has the operator x{200}…, which operator set 20 does not have",
    an_operator_that_is_no_text: r"has the operator b'Frob.+cate', which operator set 20 does not have",
    broken_structure: r"model.onnx: not a valid graph \(.*nowhere.*\)",
}


def test_a_good_graph_is_accepted(good: Path):
    check_onnx(good)


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_a_bad_graph_is_refused_in_one_line(spoil: Callable[[Path], None], good: Path, tmp_path: Path):
    path = tmp_path / "folder/model.onnx"
    path.parent.mkdir()
    path.write_bytes(good.read_bytes())
    spoil(path)
    with pytest.raises(CompressError, match=CASES[spoil]) as error:
        check_onnx(path)
    assert "\n" not in str(error.value)


def test_functions_of_the_graph_itself_are_known(tmp_path: Path):
    value = helper.make_tensor_value_info
    function = helper.make_function(
        "own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 20)]
    )
    graph = helper.make_graph(
        [helper.make_node("Twice", ["a"], ["b"], domain="own")],
        "graph",
        [value("a", TensorProto.FLOAT, ["batch"])],
        [value("b", TensorProto.FLOAT, ["batch"])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    check_onnx(tmp_path / "model.onnx")

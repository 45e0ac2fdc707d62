"""Where the weights of graphs lie, with graphs of a few kilobytes and limits that are lowered for them."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.runtimes.onnx import onnx_session
from export.onnx import weights
from export.onnx.checks import check_onnx
from export.onnx.graphs import graph_bytes
from export.onnx.weights import save_graph, save_graphs

TABLE = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
OTHER = 2 * TABLE
ROW = np.ones((1, 64), np.float32)


def product(*matrices: np.ndarray) -> onnx_ir.Model:
    """A row times one matrix after the other, and a small constant added."""
    names = [f"matrix_{number}" for number in range(len(matrices))]
    values = ["row", *(f"value_{number}" for number in range(len(matrices)))]
    nodes = [helper.make_node("MatMul", [values[at], name], [values[at + 1]]) for at, name in enumerate(names)]
    nodes.append(helper.make_node("Add", [values[-1], "small"], ["result"]))
    constants = [numpy_helper.from_array(matrix, name) for name, matrix in zip(names, matrices, strict=True)]
    constants.append(numpy_helper.from_array(np.ones(64, np.float32), "small"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("row", "result")]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], constants)
    return onnx_ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def result(path: Path) -> np.ndarray:
    found: np.ndarray = onnx_session(path).run(None, {"row": ROW})[0]
    return found


def places(path: Path) -> dict[str, tuple[str, int]]:
    """File and offset of the constants that lie beside a graph."""
    found = {}
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            found[tensor.name] = (entries["location"], int(entries["offset"]))
    return found


def test_weights_that_several_graphs_share_lie_once_in_one_file(tmp_path: Path):
    graphs = {"one.onnx": product(TABLE, OTHER), "two.onnx": product(OTHER, TABLE, TABLE)}
    save_graphs(list(graphs), graphs.__getitem__, tmp_path)
    one, two = (places(tmp_path / name) for name in graphs)
    assert one == {"matrix_0": ("model.onnx_data", 0), "matrix_1": ("model.onnx_data", TABLE.nbytes)}
    assert two == {"matrix_0": one["matrix_1"], "matrix_1": one["matrix_0"], "matrix_2": one["matrix_0"]}
    assert (tmp_path / "model.onnx_data").stat().st_size == TABLE.nbytes + OTHER.nbytes
    assert graph_bytes(tmp_path) == sum(path.stat().st_size for path in tmp_path.iterdir())
    for name, matrix in (("one.onnx", TABLE @ OTHER), ("two.onnx", OTHER @ TABLE @ TABLE)):
        check_onnx(tmp_path / name)
        np.testing.assert_allclose(result(tmp_path / name), ROW @ matrix + 1, rtol=1e-4)


def test_one_graph_has_its_weights_in_its_file_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder, limit in (("within", TABLE.nbytes + 1000), ("beyond", TABLE.nbytes)):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(weights, "SINGLE_FILE_LIMIT", limit)
        save_graph(product(TABLE), tmp_path / folder / "model.onnx")
    assert [path.name for path in (tmp_path / "within").iterdir()] == ["model.onnx"]
    assert places(tmp_path / "beyond/model.onnx") == {"matrix_0": ("model.onnx_data", 0)}
    np.testing.assert_array_equal(result(tmp_path / "within/model.onnx"), result(tmp_path / "beyond/model.onnx"))


def test_weights_come_back_into_the_file_of_a_graph_that_got_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "SINGLE_FILE_LIMIT", 0)
    save_graph(product(TABLE), tmp_path / "model.onnx")
    monkeypatch.undo()
    (tmp_path / "again").mkdir()
    save_graph(onnx_ir.load(tmp_path / "model.onnx"), tmp_path / "again/model.onnx")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["model.onnx"]
    np.testing.assert_array_equal(result(tmp_path / "again/model.onnx"), result(tmp_path / "model.onnx"))


def test_a_weight_that_is_no_number_is_found_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "SINGLE_FILE_LIMIT", 0)
    damaged = TABLE.copy()
    damaged[3, 4] = np.nan
    save_graph(product(TABLE, damaged), tmp_path / "model.onnx")
    with pytest.raises(Exception, match="1 of the weights 'matrix_1' are not a number"):
        check_onnx(tmp_path / "model.onnx")


def test_what_libraries_print_comes_back_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def made(name: str) -> onnx_ir.Model:
        print("chatter")
        raise ValueError(name)

    with pytest.raises(ValueError, match=r"one\.onnx"):
        save_graphs(["one.onnx"], made, tmp_path)
    print("for the user")
    assert capsys.readouterr().out == "for the user\n"

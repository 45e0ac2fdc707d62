"""Static int8 where a channel is much louder than the others."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.targets import resolve_target
from export.quantize import folder as all_graphs
from export.quantize import int8
from export.quantize.calibration import reading
from export.quantize.int8 import quantize_static_int8

WIDTH, LOUD = 32, 5
GENERATOR = np.random.default_rng(0)
FEED = {"x": GENERATOR.normal(size=(4, 9, WIDTH)).astype(np.float32)}
NORM = helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["normed"], axis=-1)
KINDS = {
    "a norm that products alone read": [
        NORM,
        helper.make_node("MatMul", ["normed", "first"], ["one"], "query"),
        helper.make_node("MatMul", ["normed", "second"], ["other"], "key"),
        helper.make_node("Add", ["one", "other"], ["y"]),
    ],
    "a norm that a residual sum reads too": [
        NORM,
        helper.make_node("MatMul", ["normed", "first"], ["one"], "query"),
        helper.make_node("MatMul", ["normed", "second"], ["other"], "key"),
        helper.make_node("Sum", ["one", "other", "normed"], ["y"]),
    ],
    "no norm": [
        helper.make_node("Mul", ["x", "scale"], ["loud"]),
        helper.make_node("MatMul", ["loud", "first"], ["y"], "dense"),
    ],
    "weights that another product reads": [
        helper.make_node("Mul", ["x", "scale"], ["loud"]),
        helper.make_node("MatMul", ["loud", "first"], ["one"], "dense"),
        helper.make_node("MatMul", ["one", "first"], ["y"], "dense:2"),
    ],
}


@pytest.fixture
def plain(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph whose products read a channel that is a hundred times as loud, and make little of it."""
    monkeypatch.setattr(all_graphs, "save_companions", lambda source, folder: None)
    loud = np.ones(WIDTH, np.float32)
    loud[LOUD] = 100
    arrays = {"scale": loud, "bias": np.zeros(WIDTH, np.float32)}
    for name in ("first", "second"):
        arrays[name] = (GENERATOR.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5 / loud[:, None]).astype(np.float32)
    nodes = KINDS[request.param]
    read = {name for node in nodes for name in node.input}
    shape = ["rows", "tokens", WIDTH]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in read]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", [x], [y], weights), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    (tmp_path / "plain").mkdir()
    onnx.save(model, tmp_path / "plain/model.onnx")
    return tmp_path / "plain"


def answers(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, FEED)[0]
    return found


def quantised(plain: Path, name: str, feed: dict[str, np.ndarray] = FEED) -> Path:
    folder = plain.with_name(name)
    folder.mkdir()
    quantize_static_int8(plain, folder, resolve_target("auto"), reading([feed]), "minmax")
    return folder / "model.onnx"


def error(path: Path, plain: Path) -> float:
    """Largest error, as a share of the outputs' spread."""
    wanted = answers(plain / "model.onnx")
    return float(np.abs(answers(path) - wanted).max() / np.ptp(wanted))


@pytest.mark.parametrize(
    "plain", [name for name in KINDS if name != "weights that another product reads"], indirect=True
)
def test_a_loud_channel_costs_the_others_little(plain: Path, monkeypatch: pytest.MonkeyPatch):
    smoothed = error(quantised(plain, "smoothed"), plain)
    monkeypatch.setattr(int8, "smoothing_factors", lambda products, extremes: {})
    assert smoothed < 0.25 * error(quantised(plain, "as-it-is"), plain)


@pytest.mark.parametrize("plain", ["no norm"], indirect=True)
def test_a_channel_that_is_silent_at_first_may_speak_later(plain: Path):
    silent = FEED["x"].copy()
    silent[..., LOUD + 1] = 0
    assert error(quantised(plain, "smoothed", {"x": silent}), plain) < 0.05


@pytest.mark.parametrize("plain", ["no norm"], indirect=True)
def test_what_never_says_anything_is_left_alone(plain: Path):
    nodes = onnx.load(quantised(plain, "smoothed", {"x": np.zeros_like(FEED["x"])})).graph.node
    assert [node.op_type for node in nodes].count("Mul") == 1


@pytest.mark.parametrize(
    ("plain", "divisions"),
    [("a norm that products alone read", 0), ("a norm that a residual sum reads too", 1), ("no norm", 2)],
    indirect=["plain"],
)
def test_a_norm_that_nothing_else_reads_divides_by_itself(plain: Path, divisions: int):
    nodes = onnx.load(quantised(plain, "smoothed")).graph.node
    assert [node.op_type for node in nodes].count("Mul") == divisions  # one of "no norm" is its own


@pytest.mark.parametrize("plain", ["weights that another product reads"], indirect=True)
def test_weights_that_are_read_twice_stay(plain: Path):
    nodes = onnx.load(quantised(plain, "smoothed")).graph.node
    assert [node.op_type for node in nodes].count("Mul") == 1
    assert [node.op_type for node in nodes].count("DequantizeLinear") == 3  # two of what is read, one of the weights

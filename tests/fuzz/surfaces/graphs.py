"""ONNX graphs of others: looked at, then run."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import REPLACEMENTS, altered_bytes
from onnx import TensorProto, helper, numpy_helper

from compress.errors import CompressError
from compress.runtimes.onnx import load_onnx
from compress.tasks.registry import task_named
from export.onnx.checks import check_onnx

NAME = "model.onnx"
_TEXTS = ("", "nowhere", "../../etc/passwd", "[/]", "\x1b[31m", "x" * 100_000, "logits", "input_ids", "\u202e")
_NUMBERS = (-1, 0, 1, 2**31, 2**62, -(2**62))


def ask(folder: Path) -> None:
    """Look at the graph, and run it on two rows."""
    path = folder / NAME
    check_onnx(path)
    if _dies_of(path):
        raise CompressError(f"{path}: ONNX Runtime dies of it")
    _run(path)


def _dies_of(path: Path) -> bool:
    """What ONNX Runtime asserts ends the process; the product runs graphs of others in one that may."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            _run(path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _run(path: Path) -> None:
    predict = load_onnx(path, task_named("text-classification"), 1)
    tokens = np.array([[1, 5, 6, 2], [1, 7, 2, 0]])
    found = predict({"input_ids": tokens, "attention_mask": (tokens > 0).astype(np.int64)})
    if len(found) != len(tokens):
        raise WrongAnswer(f"{len(found)} outputs for {len(tokens)} rows")


def draw(random_: random.Random, folder: Path, original: Path) -> str:
    """The bytes altered, or one thing in the graph."""
    raw = original.read_bytes()
    if random_.random() < 0.4:
        words, raw = altered_bytes(random_, raw)
        (folder / NAME).write_bytes(raw)
        return words
    model = onnx.load_model_from_string(raw)
    words = altered_graph(random_, model)
    (folder / NAME).write_bytes(model.SerializeToString())
    return words


def altered_graph(random_: random.Random, model: onnx.ModelProto) -> str:
    """Alter one thing in the graph's place; what was done, in words."""
    graph = model.graph
    node, tensor = random_.choice(graph.node), random_.choice(graph.initializer)
    text, number = random_.choice(_TEXTS), random_.choice(_NUMBERS)
    value = random_.choice([*graph.input, *graph.output])
    ways: dict[str, Callable[[], object]] = {
        f"operator {text!r:.20}": lambda: setattr(node, "op_type", text),
        f"another operator of {node.op_type}": lambda: setattr(node, "op_type", random_.choice(graph.node).op_type),
        f"domain {text!r:.20}": lambda: setattr(node, "domain", text),
        f"an input {text!r:.20} of {node.op_type}": lambda: node.input.insert(0, text),
        f"an output {text!r:.20} of {node.op_type}": lambda: node.output.append(text),
        f"no {node.op_type}": lambda: graph.node.remove(node),
        f"{node.op_type} twice": lambda: graph.node.append(node),
        f"no weights {tensor.name}": lambda: graph.initializer.remove(tensor),
        f"weights {tensor.name} twice": lambda: graph.initializer.append(tensor),
        f"a dimension {number} of {tensor.name}": lambda: tensor.dims.append(number),
        f"type {number} of {tensor.name}": lambda: setattr(tensor, "data_type", number % 40),
        f"half of {tensor.name}": lambda: setattr(tensor, "raw_data", tensor.raw_data[: len(tensor.raw_data) // 2]),
        f"weights elsewhere, {text!r:.20}": lambda: _elsewhere(tensor, text, number),
        f"an attribute elsewhere, {text!r:.20}": lambda: node.attribute.append(_attribute(text, number)),
        f"operator set {number}": lambda: setattr(model.opset_import[0], "version", number),
        f"IR version {number}": lambda: setattr(model, "ir_version", number),
        f"an input called {text!r:.20}": lambda: setattr(value, "name", text),
        f"an input of {number}": lambda: value.type.tensor_type.shape.dim.add(dim_value=number),
        f"an input of type {number}": lambda: setattr(value.type.tensor_type, "elem_type", number % 40),
        "no outputs": lambda: graph.ClearField("output"),
        "no nodes": lambda: graph.ClearField("node"),
        "itself as its weights": lambda: _elsewhere(tensor, NAME, 0),
    }
    words = random_.choice(list(ways))
    ways[words]()
    return words


def _elsewhere(tensor: Any, location: str, offset: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(offset)), ("length", "100")):
        tensor.external_data.add(key=key, value=text)


def _attribute(location: str, offset: int) -> Any:
    tensor = numpy_helper.from_array(np.zeros(25, np.float32), "hidden")
    _elsewhere(tensor, location, offset)
    return helper.make_attribute("value", tensor)


def _deep(model: onnx.ModelProto) -> None:
    """Graphs in graphs."""
    inner = helper.make_graph([], "inner", [], [])
    for _ in range(10):  # each holds the one before twice
        node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def _huge(model: onnx.ModelProto) -> None:
    """A terabyte from a few bytes."""
    shape = numpy_helper.from_array(np.array([2**38], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"]))
    model.graph.output.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, None))


def _attribute_outside(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["stolen"])
    node.attribute.append(_attribute("../../../../../../etc/passwd", 0))
    model.graph.node.insert(0, node)


def _changed(change: Callable[[onnx.ModelProto], None], original: Path) -> Spoil:
    def spoil(folder: Path) -> None:
        model = onnx.load(original)
        change(model)
        (folder / NAME).write_bytes(model.SerializeToString())

    return spoil


def surface(material: Material) -> Surface:
    original = material.served / NAME

    def in_place(put: Callable[[Path], None]) -> Spoil:
        def spoil(folder: Path) -> None:
            (folder / NAME).write_bytes(original.read_bytes())
            put(folder / NAME)

        return spoil

    cases: dict[str, tuple[Spoil, Wants]] = {
        "unaltered": (_changed(lambda model: None, original), "accepted"),
        "graphs in graphs": (_changed(_deep, original), "refused"),
        "a terabyte from a few bytes": (_changed(_huge, original), "either"),
        "an attribute outside": (_changed(_attribute_outside, original), "refused"),
        **{f"in its place: {name}": (in_place(put), "refused") for name, put in REPLACEMENTS.items()},
    }
    return Surface("graphs", ask, cases, lambda random_, folder: draw(random_, folder, original), draws=700)

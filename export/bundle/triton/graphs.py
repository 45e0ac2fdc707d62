"""Inputs and outputs of a model's graph, whatever it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.runtimes.openvino import OPENVINO_MODEL, openvino_core
from compress.serving.format import ServedRuntime
from compress.variants.engine import read_sidecar
from compress.variants.files import engines_in


@dataclass(frozen=True)
class Value:
    """An input or output of a graph: its type as ONNX calls it, its shape without the batch, -1 where it varies."""

    name: str
    type: str
    shape: tuple[int, ...]


def graph_values(folder: Path, runtime: ServedRuntime) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs of the graph in a folder.

    :raises CompressError: If an engine's description is missing or not as it must be.
    :raises UnavailableError: If OpenVINO is wanted and not installed.
    """
    if runtime == "OpenVINO":
        return _openvino_values(folder / OPENVINO_MODEL)
    if runtime == "ONNX Runtime":
        return _onnx_values(folder / "model.onnx")
    sidecar = read_sidecar(engines_in(folder)[0])
    inputs, outputs = (
        [Value(value.name, value.type, tuple(value.shape[1:])) for value in side]
        for side in (sidecar.inputs, sidecar.outputs)
    )
    return inputs, outputs


def _onnx_values(path: Path) -> tuple[list[Value], list[Value]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph

    def described(value: Any) -> Value:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
        return Value(value.name, kind, shape[1:])

    return [described(value) for value in graph.input], [described(value) for value in graph.output]


def _openvino_values(path: Path) -> tuple[list[Value], list[Value]]:
    types = {"i64": "int64", "i32": "int32", "f32": "float", "f16": "float16"}
    model = openvino_core().read_model(path)

    def described(value: Any) -> Value:
        shape = tuple(size.get_length() if size.is_static else -1 for size in value.partial_shape)
        return Value(value.any_name, types[value.element_type.get_type_name()], shape[1:])

    return [described(value) for value in model.inputs], [described(value) for value in model.outputs]

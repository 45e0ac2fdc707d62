"""ONNX graphs from PyTorch. The one place that knows `transformers.exporters`, which is marked experimental."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from compress.console import swallowed_output
from compress.contract import Contract
from export.onnx.layers import name_after_modules

if TYPE_CHECKING:
    from onnx_ir import Model

_MODEL_FILES = ("*.onnx", "*.onnx.data", "*.onnx_data", "openvino_model.*")  # onnx_data is Optimum's name
_DYNAMIC_OPERATORS = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")
SINGLE_FILE_LIMIT = 1_500_000_000  # bytes; protobuf ends at 2 GB

Announce = Callable[[str], AbstractContextManager[object]]
"""Says that a graph, by its file's name, is worked on while the block runs; `contextlib.nullcontext` says nothing."""


class GraphFacts(Contract):
    """What plain graphs are made of."""

    opset: int
    nodes: int
    inputs: list[str] = Field(description="of the first graph")


def exported_graph(model: Any, sample: dict[str, Any], dynamic_shapes: dict[str, Any] | None = None) -> Model:
    """The graph of a model that is called with a sample.

    :param dynamic_shapes: Which axes vary; none: all that the exporter can leave open.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    config = OnnxConfig(dynamic_shapes=dynamic_shapes) if dynamic_shapes else OnnxConfig(dynamic=True)
    exporter: Any = OnnxExporter
    with swallowed_output():
        exported = exporter().export(model, sample, config=config).program
    name_after_modules(exported)
    # The exporter notes the stack of every node: larger than a small student, and it names folders of this machine.
    return ClearMetadataAndDocStringPass()(exported).model


def save_graph(graph: Model, path: Path) -> None:
    """Write a graph: one file below 1.5 GB, else the weights in ``model.onnx.data`` beside it."""
    import onnx_ir

    if weight_bytes(graph) > SINGLE_FILE_LIMIT:
        onnx_ir.save(graph, path, external_data=f"{path.name}.data")
    else:
        onnx_ir.save(onnx_ir.external_data.load_to_model(graph), path)


def weight_bytes(graph: Model) -> int:
    """Size of a graph's weights; what several nodes share counts once."""
    return sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value is not None)


def graph_files(folder: Path) -> list[Path]:
    """The graphs in a folder and their weights."""
    return sorted(path for pattern in _MODEL_FILES for path in folder.glob(pattern))


def graph_bytes(folder: Path) -> int:
    """Size of the graphs in a folder with their weights."""
    return sum(path.stat().st_size for path in graph_files(folder))


def depends_on_batch(path: Path) -> bool:
    """Whether a graph finds the ranges of its activations while it runs: over all rows of a batch together."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type in _DYNAMIC_OPERATORS for node in nodes)

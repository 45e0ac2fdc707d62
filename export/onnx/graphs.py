"""ONNX graphs from PyTorch. The one place that knows `transformers.exporters`, which is marked experimental."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from compress.console import swallowed_output
from compress.contract import Contract
from compress.runtimes.generation import MERGED
from export.onnx.layers import name_after_modules

if TYPE_CHECKING:
    from onnx_ir import Model

_MODEL_FILES = ("*.onnx", "*.onnx.data", "*.onnx_data", "openvino_*model.*")
_DYNAMIC_OPERATORS = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")
DEFAULT_OPSET = 20
"""Of plain graphs where the recipe names none."""

Announce = Callable[[str], AbstractContextManager[object]]
"""Says that a graph, by its file's name, is worked on while the block runs; `contextlib.nullcontext` says nothing."""


class GraphFacts(Contract):
    """What plain graphs are made of."""

    opset: int
    nodes: int
    inputs: list[str] = Field(description="of the first graph")


def exported_graph(
    model: Any, sample: dict[str, Any], dynamic_shapes: dict[str, Any] | None = None, opset: int | None = None
) -> Model:
    """The graph of a model that is called with a sample.

    :param dynamic_shapes: Which axes vary; none: all that the exporter can leave open.
    :param opset: Of its operators; none: 20.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    # In later ones the exporter writes attention as one operator: that is left to `export.onnx.fusion`.
    directly = min(opset or DEFAULT_OPSET, DEFAULT_OPSET)
    shapes: dict[str, Any] = {"dynamic_shapes": dynamic_shapes} if dynamic_shapes else {"dynamic": True}
    config = OnnxConfig(**shapes, opset_version=directly)
    exporter: Any = OnnxExporter
    with swallowed_output():
        exported = exporter().export(model, sample, config=config).program
    name_after_modules(exported)
    # The exporter notes the stack of every node: larger than a small student, and it names folders of this machine.
    graph = ClearMetadataAndDocStringPass()(exported).model
    raise_opset(graph, opset or directly)
    _add_absent_biases(graph)
    return graph


def _add_absent_biases(graph: Any) -> None:
    """Give norms without a bias one of zeros: ONNX Runtime before 1.19 takes the absent one for there and crashes."""
    import numpy as np
    import onnx_ir

    for node in graph.graph.all_nodes():
        if node.op_type != "LayerNormalization" or len(node.inputs) > 2:
            continue
        scale = node.inputs[1]
        name = f"{scale.name}_zero_bias"
        if name not in graph.graph.initializers:  # norms whose scales are equal share one
            zeros = onnx_ir.tensor(np.zeros(scale.shape.numpy(), scale.dtype.numpy()), name=name)
            bias = onnx_ir.Value(name=name, shape=scale.shape, type=scale.type, const_value=zeros)
            graph.graph.register_initializer(bias)
        node.resize_inputs(3)
        node.replace_input_with(2, graph.graph.initializers[name])


def raise_opset(graph: Model, opset: int) -> None:
    """Let a graph have the operators of an opset, its own or a later one, and the format that came with it.

    :raises ValueError: If an operator has no form in that opset.
    """
    from onnx.helper import find_min_ir_version_for, make_opsetid
    from onnxscript.version_converter import convert_version

    if graph.opset_imports[""] < opset:
        convert_version(graph, opset)
    if graph.opset_imports[""] != opset:
        raise ValueError(f"its operators cannot be those of opset {opset}")
    # Runtimes refuse later formats whether or not a graph has something of what these added.
    graph.ir_version = min(graph.ir_version, find_min_ir_version_for([make_opsetid("", opset)]))


def graph_files(folder: Path) -> list[Path]:
    """The graphs in a folder and their weights."""
    return sorted(path for pattern in _MODEL_FILES for path in folder.glob(pattern))


def graphs_in(folder: Path) -> list[Path]:
    """The graphs in a folder, without the one that only joins two of them."""
    return sorted(path for path in folder.glob("*.onnx") if path.name != MERGED)


def graph_bytes(folder: Path) -> int:
    """Size of the graphs in a folder with their weights."""
    return sum(path.stat().st_size for path in graph_files(folder))


def depends_on_batch(path: Path) -> bool:
    """Whether a graph finds the ranges of its activations while it runs: over all rows of a batch together."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type in _DYNAMIC_OPERATORS for node in nodes)

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

_MODEL_FILES = ("*.onnx", "*.onnx.data", "*.onnx_data", "openvino_model.*")
_DYNAMIC_OPERATORS = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")

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

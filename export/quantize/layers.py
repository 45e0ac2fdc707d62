"""Layers that can be quantised, by the nodes that read their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.quantize.embeddings import embedding_nodes

WITH_WEIGHTS = ["MatMul", "Gemm"]


def quantisable_layers(folder: Path) -> dict[str, str]:
    """The nodes of a folder's graphs that int8 can take, and for each the name of its weights for people."""
    import onnx_ir

    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.onnx")):
        model = onnx_ir.load(path)
        for node in embedding_nodes(model):
            found[node.name] = node.inputs[0].name
        for node in model.graph:
            if node.op_type in WITH_WEIGHTS and getattr(node.inputs[1], "const_value", None) is not None:
                found[str(node.name)] = _title(node)
    return found


def _title(node: Any) -> str:
    """The bias that is added next tells which layer it is: the exporter gives weights other names."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    for use in node.outputs[0].uses():
        if use.node.op_type == "Add":
            bias = next((tensor for tensor in use.node.inputs if tensor.const_value is not None), bias)
    named = bias if bias is not None and "." in (bias.name or "") else node.inputs[1]
    name = str(named.name if "." in (named.name or "") else node.name)
    return name.removesuffix(".bias").removesuffix(".weight")

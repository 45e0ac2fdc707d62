"""Layers: the nodes of a graph that read weights, products and tables of embeddings."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

PRODUCTS = ("MatMul", "Gemm")
_QUANTISED_PRODUCTS = ("MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits")
_SAME_WEIGHTS = ("Transpose", "Identity", "Cast", "DequantizeLinear")
_SCOPES = "pkg.torch.onnx.name_scopes"  # of a node: the paths of the modules around it, then its own name


def layers_in(folder: Path) -> list[str]:
    """The names of all layers in a folder's graphs."""
    import onnx_ir

    graphs = [onnx_ir.load(path) for path in sorted(folder.glob("*.onnx"))]
    return list(dict.fromkeys(name for graph in graphs for name in layers_of(graph)))


def layers_of(model: Any) -> dict[str, list[Any]]:
    """The nodes of an ``onnx_ir.Model`` that read the same weights, by the name of the first of them.

    Tied weights are one layer: what is done to one of its nodes alone only adds a copy of them.
    """
    found: dict[str, list[Any]] = {}
    names: dict[str, str] = {}
    for node in model.graph:
        weights = weights_of(node)
        if weights is not None and len(weights.shape) == 2:
            found.setdefault(names.setdefault(weights.name, node.name), []).append(node)
    return found


def weights_of(node: Any) -> Any:
    """The constant that a product multiplies with, or whose rows are looked up, as it is stored; else none."""
    if node.op_type in (*PRODUCTS, *_QUANTISED_PRODUCTS):
        return _stored(node.inputs[1])
    is_lookup = node.op_type == "Gather" and ("axis" not in node.attributes or node.attributes["axis"].as_int() == 0)
    return _stored(node.inputs[0]) if is_lookup else None


def name_after_modules(model: Any) -> None:
    """Call each node that reads weights as its PyTorch module, ``bert.pooler.dense``, instead of by a running number.

    So the same layer has the same name in each graph of a model. A module that is called twice has a ``:2`` behind it.
    """
    seen: dict[str, int] = {}
    for nodes in layers_of(model).values():
        for node in nodes:
            scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
            if len(scopes) < 2 or not scopes[-2]:
                continue
            seen[scopes[-2]] = count = seen.get(scopes[-2], 0) + 1
            node.name = scopes[-2] if count == 1 else f"{scopes[-2]}:{count}"


def between(node: Any) -> list[Any]:
    """The nodes between a product or look-up and its weights, which turn them or unpack them."""
    found, value = [], node.inputs[0 if node.op_type == "Gather" else 1]
    while value.const_value is None:
        found.append(value.producer())
        value = value.producer().inputs[0]
    return found


def _stored(value: Any) -> Any:
    while value is not None and value.const_value is None:
        node = value.producer()
        value = node.inputs[0] if node is not None and node.op_type in _SAME_WEIGHTS else None
    return value

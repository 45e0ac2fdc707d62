"""Products of activations with weights: found, taken out of a graph, and put back in another form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from export.onnx.layers import PRODUCTS, between, layers_of, weights_of
from export.onnx.weights import array_of

_BLOCK = 4096  # channels that are rounded at once


def products_of(model: Any, kept: Collection[str]) -> list[Any]:
    """The products of an ``onnx_ir.Model`` that are to be quantised, in the order in which they are computed.

    Each becomes a MatMul under its old name: a Gemm that scales nothing is split in place into MatMul and Add. One that
    scales is left as it is, and is not among them.

    :param kept: Nodes that stay as they are.
    """
    layers = layers_of(model).values()
    found = {node.name for nodes in layers for node in nodes if node.op_type in PRODUCTS and node.name not in kept}
    for node in list(model.graph):
        if node.name in found and node.op_type == "Gemm":
            _split(model.graph, node)
    return [node for node in model.graph if node.name in found and node.op_type == "MatMul"]


def name_of_weights(product: Any) -> str:
    """What the weights are called that a product multiplies with; transposed ones have another name than as stored."""
    return f"{weights_of(product).name}{'_transposed' if _is_turned(product) else ''}"


def multiplies_with_table(product: Any) -> bool:
    """Whether what a product multiplies with, turned, is a table of embeddings too."""
    return _is_turned(product) and any(use.node.op_type == "Gather" for use in weights_of(product).uses())


def weights_as_multiplied(product: Any) -> np.ndarray:
    """What a product multiplies with, (inputs, outputs), as a copy."""
    array = array_of(weights_of(product))
    return array.T if _is_turned(product) else array


def put_in_place(graph: Any, node: Any, nodes: Sequence[Any]) -> None:
    """Let nodes, the last of which gives the same as a node, take its place."""
    import onnx_ir

    old, new = node.outputs[0], nodes[-1].outputs[0]
    graph.insert_before(node, nodes)
    new.name, new.shape, new.type = old.name, old.shape, old.type
    onnx_ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def rounded_to_int8(array: np.ndarray, axis: int, largest: int = 127) -> tuple[np.ndarray, np.ndarray]:
    """Signed int8 and scales, float32 (channels,), of a matrix, symmetric around zero.

    :param axis: Of the channels, each of which has a scale of its own.
    :param largest: Number that the largest value of a channel becomes.
    """
    channels = np.moveaxis(array, axis, 0)
    scales = np.empty(len(channels), np.float32)
    rounded = np.empty(array.shape, np.int8)
    target = np.moveaxis(rounded, axis, 0)
    for start in range(0, len(channels), _BLOCK):
        block = slice(start, start + _BLOCK)
        values = channels[block]
        scales[block] = np.maximum(np.abs(values).max(axis=1) / largest, np.finfo(np.float32).tiny)
        target[block] = np.rint(values / scales[block, None])
    return rounded, scales


def _split(graph: Any, gemm: Any) -> None:
    """Put MatMul and Add in the place of a Gemm that scales nothing."""
    import onnx_ir

    if _is_on(gemm, "transA") or any(gemm.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return
    values, weights, *bias = gemm.inputs
    nodes = []
    if _is_on(gemm, "transB"):
        nodes.append(onnx_ir.node("Transpose", [weights], {"perm": [1, 0]}))
        weights = nodes[-1].outputs[0]
    nodes.append(onnx_ir.node("MatMul", [values, weights], name=gemm.name))
    if bias and bias[0] is not None:
        nodes.append(onnx_ir.node("Add", [nodes[-1].outputs[0], bias[0]]))
    put_in_place(graph, gemm, nodes)


def _is_turned(product: Any) -> bool:
    """Whether a MatMul multiplies with the transpose of what is stored."""
    return [node.op_type for node in between(product)].count("Transpose") % 2 == 1


def _is_on(node: Any, attribute: str) -> bool:
    return bool(node.attributes.get_int(attribute, 0))

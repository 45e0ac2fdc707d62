"""A graph as ONNX Runtime's quantisers want it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import save_graph
from export.onnx.layers import PRODUCTS, between, layers_of, weights_of


def make_ready(graph: Path, scratch: Path, kept: Collection[str]) -> tuple[Path, list[str]]:
    """Write a graph in which each product with weights is a MatMul under its old name, its weights not transposed.

    ONNX Runtime's own preparation does so too, but under new names, and it leaves a graph as it is without a word where
    the result has more than 2 GB.

    :param kept: Nodes that stay as they are, tied weights included.
    :return: The file, and the names of all products that a quantiser must leave alone: those nodes, and products of
        activations with one another.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = onnx_ir.load(graph)
    products = [node for nodes in layers_of(model).values() for node in nodes if node.op_type in PRODUCTS]
    for node in products:
        if node.name not in kept:
            _untranspose(model.graph, node)
    for node in products:
        if node.op_type == "Gemm":
            _split(model.graph, node)
    RemoveUnusedNodesPass()(model)
    wanted = {node.name for node in products} - set(kept)
    path = scratch / "ready" / graph.name
    path.parent.mkdir()
    save_graph(model, path)
    return path, [str(node.name) for node in model.graph if node.op_type in PRODUCTS and node.name not in wanted]


def _untranspose(graph: Any, product: Any) -> None:
    """Give a product its weights as it multiplies with them."""
    import onnx_ir

    stored = weights_of(product)
    turns = sum(node.op_type == "Transpose" for node in between(product)) + _is_on(product, "transB")
    if turns % 2:
        name = f"{stored.name}_transposed"
        if name not in graph.initializers:
            array = np.ascontiguousarray(stored.const_value.numpy().T)
            graph.register_initializer(onnx_ir.Value(name=name, const_value=onnx_ir.tensor(array, name=name)))
        stored = graph.initializers[name]
    product.replace_input_with(1, stored)
    product.attributes.pop("transB", None)


def _split(graph: Any, gemm: Any) -> None:
    """Put MatMul and Add in the place of a Gemm that scales nothing."""
    import onnx_ir

    if _is_on(gemm, "transA") or any(gemm.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return
    result, (values, weights, *bias) = gemm.outputs[0], gemm.inputs
    nodes = []
    if _is_on(gemm, "transB"):
        nodes.append(onnx_ir.node("Transpose", [weights], {"perm": [1, 0]}))
        weights = nodes[-1].outputs[0]
    nodes.append(onnx_ir.node("MatMul", [values, weights], name=gemm.name))
    if bias and bias[0] is not None:
        nodes.append(onnx_ir.node("Add", [nodes[-1].outputs[0], bias[0]]))
    graph.insert_before(gemm, nodes)
    last = nodes[-1].outputs[0]
    last.name, last.shape, last.type = result.name, result.shape, result.type
    onnx_ir.convenience.replace_all_uses_with(result, last, replace_graph_outputs=True)
    graph.remove(gemm, safe=True)


def _is_on(node: Any, attribute: str) -> bool:
    return bool(node.attributes.get_int(attribute, 0))

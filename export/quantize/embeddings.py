"""Tables of embeddings in int8, one scale a token."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from export.onnx.layers import layers_of


def quantize_embeddings(model: Any, kept: Collection[str] = ()) -> None:
    """Keep tables of embeddings as signed int8 with one scale a token, in place: rare tokens keep their precision.

    :param model: An ``onnx_ir.Model``.
    :param kept: Nodes whose table stays as it is.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for node in [node for nodes in layers_of(model).values() for node in nodes]:
        if node.op_type != "Gather" or node.name in kept or node.inputs[0].dtype != onnx_ir.DataType.FLOAT:
            continue
        table = node.inputs[0].const_value.numpy()
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        rows = _lookup(model.graph, node, f"{node.inputs[0].name}_int8", np.rint(table / scales).astype(np.int8))
        scale = _lookup(model.graph, node, f"{node.inputs[0].name}_scale", scales.astype(np.float32))
        whole = onnx_ir.node("Cast", [rows], {"to": onnx_ir.DataType.FLOAT.value})
        product = onnx_ir.node("Mul", [whole.outputs[0], scale])
        model.graph.insert_before(node, [whole, product])
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], product.outputs[0], replace_graph_outputs=True)
        rows.producer().name = node.name
        model.graph.remove(node, safe=True)
    RemoveUnusedNodesPass()(model)


def _lookup(graph: Any, node: Any, name: str, table: np.ndarray) -> Any:
    import onnx_ir

    if name in graph.initializers:
        weights = graph.initializers[name]
    else:
        weights = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(table, name=name))
        graph.register_initializer(weights)
    gather = onnx_ir.node("Gather", [weights, node.inputs[1]])
    graph.insert_before(node, gather)
    return gather.outputs[0]

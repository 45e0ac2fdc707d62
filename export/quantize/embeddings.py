"""Tables of embeddings in int8, one scale a token."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from export.onnx.layers import layers_of
from export.onnx.weights import array_of, constant
from export.quantize.products import put_in_place, rounded_to_int8


def quantize_embeddings(model: Any, kept: Collection[str] = ()) -> None:
    """Keep tables of embeddings as signed int8 with one scale a token, in place: rare tokens keep their precision.

    :param model: An ``onnx_ir.Model``.
    :param kept: Nodes whose table stays as it is.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for node in [node for nodes in layers_of(model).values() for node in nodes]:
        table, tokens = node.inputs[:2]
        if node.op_type != "Gather" or node.name in kept or table.dtype != onnx_ir.DataType.FLOAT:
            continue
        rows, scale = (onnx_ir.node("Gather", [part, tokens]) for part in int8_table(model.graph, table))
        whole = onnx_ir.node("Cast", rows.outputs, {"to": onnx_ir.DataType.FLOAT.value})
        product = onnx_ir.node("Mul", [whole.outputs[0], scale.outputs[0]])
        name = node.name
        put_in_place(model.graph, node, [rows, scale, whole, product])
        rows.name = name
    RemoveUnusedNodesPass()(model)


def int8_table(graph: Any, table: Any) -> list[Any]:
    """A table of embeddings as signed int8 (tokens, width) and its scales (tokens, 1), as constants of the graph."""
    names = [f"{table.name}_int8", f"{table.name}_scale"]
    if names[0] not in graph.initializers:
        rounded, scales = rounded_to_int8(array_of(table), axis=0)
        for name, array in zip(names, (rounded, scales[:, None]), strict=True):
            constant(graph, name, array)
    return [graph.initializers[name] for name in names]

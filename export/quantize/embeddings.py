"""Tables of embeddings in int8, one scale a token, or in 4 bits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np

from compress.errors import RejectedVariantError
from export.onnx.layers import layers_of
from export.onnx.weights import array_of, constant
from export.quantize.four_bits import PAIRS, in_four_bits
from export.quantize.products import put_in_place, rounded_to_int8

EmbeddingBits = Literal[4, 8]


def quantize_embeddings(model: Any, kept: Collection[str] = (), bits: EmbeddingBits = 8) -> None:
    """Keep tables of embeddings as signed int8 with one scale a token, in place: rare tokens keep their precision.

    :param model: An ``onnx_ir.Model``.
    :param kept: Nodes whose table stays as it is.
    :param bits: 4: so are those of tokens (`export.quantize.four_bits`); small ones, of positions and kinds, in int8.
    :raises RejectedVariantError: If there are tables and none can be in 4 bits.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    tables = [node for nodes in layers_of(model).values() for node in nodes if node.op_type == "Gather"]
    wanted = [node for node in tables if node.name not in kept and node.inputs[0].dtype == onnx_ir.DataType.FLOAT]
    small = [node for node in wanted if bits == 4 and _takes_four_bits(model.graph, node)]
    if bits == 4 and tables and not small and len(wanted) == len(tables):
        raise RejectedVariantError(
            "export.embedding_bits: no table of embeddings can be in 4 bits: none has more than "
            f"{PAIRS} tokens, an even width and no head that multiplies with it; leave it at 8"
        )
    for node in wanted:
        nodes = _in_four_bits(model.graph, node) if node in small else _in_int8(model.graph, node)
        name = node.name
        put_in_place(model.graph, node, nodes)
        nodes[0].name = name
    RemoveUnusedNodesPass()(model)


def int8_table(graph: Any, table: Any) -> list[Any]:
    """A table of embeddings as signed int8 (tokens, width) and its scales (tokens, 1), as constants of the graph."""
    names = _names(table)
    if names[0] not in graph.initializers:
        rounded, scales = rounded_to_int8(array_of(table), axis=0)
        for name, array in zip(names, (rounded, scales[:, None]), strict=True):
            constant(graph, name, array)
    return [graph.initializers[name] for name in names]


def _names(table: Any) -> list[str]:
    return [f"{table.name}_int8", f"{table.name}_scale"]


def _in_int8(graph: Any, node: Any) -> list[Any]:
    """What looks up the same in int8; the first node reads the table."""
    import onnx_ir

    table, tokens = node.inputs[:2]
    rows, scale = (onnx_ir.node("Gather", [part, tokens]) for part in int8_table(graph, table))
    whole = onnx_ir.node("Cast", rows.outputs, {"to": onnx_ir.DataType.FLOAT.value})
    return [rows, scale, whole, onnx_ir.node("Mul", [whole.outputs[0], scale.outputs[0]])]


def _takes_four_bits(graph: Any, node: Any) -> bool:
    """Whether a table is one of tokens, can be halved, and no head reads it in int8."""
    table, tokens = node.inputs[:2]
    rows, width = table.shape
    return tokens.is_graph_input() and rows > PAIRS and width % 2 == 0 and _names(table)[0] not in graph.initializers


def _in_four_bits(graph: Any, node: Any) -> list[Any]:
    """What looks up the same in 4 bits, in operators that every runtime has; the first node reads the table."""
    import onnx_ir

    table, tokens = node.inputs[:2]
    names = [f"{table.name}_{part}" for part in ("packed", "pairs", "scale", "widths")]
    if names[0] not in graph.initializers:
        for name, array in zip(names, in_four_bits(array_of(table)), strict=True):
            constant(graph, name, array)
    packed, pairs, scales, widths = (graph.initializers[name] for name in names)
    shape = constant(graph, f"{node.name}_shape", np.array([0] * len(tokens.shape) + [-1], np.int64))
    rows, scale = (onnx_ir.node("Gather", [part, tokens]) for part in (packed, scales))
    numbers = onnx_ir.node("Cast", rows.outputs, {"to": onnx_ir.DataType.INT32.value})
    values = onnx_ir.node("Gather", [pairs, numbers.outputs[0]])
    flat = onnx_ir.node("Reshape", [values.outputs[0], shape])
    scaled = onnx_ir.node("Mul", [flat.outputs[0], scale.outputs[0]])
    return [rows, scale, numbers, values, flat, scaled, onnx_ir.node("Mul", [scaled.outputs[0], widths])]

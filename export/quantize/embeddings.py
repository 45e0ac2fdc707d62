"""Tables of embeddings in int8, one scale a token."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import save_graph


def quantize_embeddings(path: Path, excluded: Collection[str] = ()) -> None:
    """Keep tables of embeddings as signed int8 with one scale a token, in place: rare tokens keep their precision."""
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = onnx_ir.load(path)
    for node in [node for node in embedding_nodes(model) if node.name not in excluded]:
        table = node.inputs[0].const_value.numpy()
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        rows = _lookup(model.graph, node, f"{node.inputs[0].name}_int8", np.rint(table / scales).astype(np.int8))
        scale = _lookup(model.graph, node, f"{node.inputs[0].name}_scale", scales.astype(np.float32))
        whole = onnx_ir.node("Cast", [rows], {"to": onnx_ir.DataType.FLOAT.value})
        product = onnx_ir.node("Mul", [whole.outputs[0], scale])
        model.graph.insert_before(node, [whole, product])
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], product.outputs[0], replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
    RemoveUnusedNodesPass()(model)
    save_graph(model, path)


def embedding_nodes(model: Any) -> list[Any]:
    """The nodes that look up rows of a table in 32 bits, in their order."""
    import onnx_ir

    def is_table(tensor: Any) -> bool:
        constant = tensor.const_value
        return constant is not None and constant.dtype == onnx_ir.DataType.FLOAT and len(constant.shape) == 2

    def by_row(node: Any) -> bool:
        return "axis" not in node.attributes or node.attributes["axis"].as_int() == 0

    return [node for node in model.graph if node.op_type == "Gather" and is_table(node.inputs[0]) and by_row(node)]


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

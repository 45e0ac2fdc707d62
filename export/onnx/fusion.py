"""Fusions for ONNX Runtime on the CPU: attention as one operator, residual sums apart from their norms."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import Announce
from export.onnx.plain import save_companions
from export.onnx.weights import save_graphs

_ATTENTION_OPSET = 23  # the first with ``Attention``: https://onnx.ai/onnx/operators/onnx__Attention.html
_SWAP_HEADS = [0, 2, 1, 3]


def fuse_graphs(source: Path, folder: Path, announce: Announce = nullcontext) -> int:
    """Write the graphs of a folder anew with fused operators, and what lies beside them.

    :param source: Folder with plain graphs.
    :return: How many attentions were fused.
    """
    import onnx_ir

    found = []

    def fused(name: str) -> Any:
        model = onnx_ir.load(source / name)
        found.append(fuse(model))
        return model

    save_graphs(sorted(path.name for path in source.glob("*.onnx")), fused, folder, announce)
    save_companions(source, folder)
    return sum(found)


def fuse(model: Any) -> int:
    """Fuse an ``onnx_ir.Model`` in place.

    Scaled dot-product attention becomes ``Attention`` (standard operators from opset 23 on), which also does the
    transpositions between (batch, length, width) and heads. A residual ``Add`` before a ``LayerNormalization``
    becomes ``Sum``: ONNX Runtime would join the two into SkipLayerNormalization, whose CPU kernel takes several times
    as long as both.

    :return: The number of attentions.
    """
    import onnx_ir.passes.common as passes
    from onnxscript.optimizer import optimize
    from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa
    from onnxscript.version_converter import convert_version

    passes.ShapeInferencePass()(model)
    optimize(model)
    found: int = fuse_sdpa(model)
    if found:
        for node in list(model.graph):
            if node.op_type == "SDPA":
                _replace_attention(model.graph, node)
        passes.RemoveUnusedNodesPass()(model)
        convert_version(model, max(_ATTENTION_OPSET, model.opset_imports[""]))
    for node in list(model.graph):
        if node.op_type == "LayerNormalization":
            _keep_residual_apart(model.graph, node.inputs[0])
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.TopologicalSortPass()(model)
    return found


def _replace_attention(graph: Any, node: Any) -> None:
    """Put ``Attention`` in the place of the rewriter's SDPA, over three axes where the heads were split just before."""
    import onnx_ir

    query, key, value, *mask = node.inputs
    heads = query.shape[1]
    after = _guarded(node, mask[0] if mask else None)
    joined = _joined_heads(after)
    flat = [_before_heads(tensor) for tensor in (query, key, value)]
    attributes = {} if node.attributes.get("scale") is None else {"scale": node.attributes["scale"].as_float()}
    if joined is not None and all(tensor is not None for tensor in flat):
        attributes |= {"q_num_heads": heads, "kv_num_heads": heads}
        replaced, inputs = joined, flat
    else:
        if node.attributes["key_format"].as_string() == "BSHd":
            swapped = onnx_ir.node("Transpose", [key], {"perm": _SWAP_HEADS})
            graph.insert_before(node, swapped)
            key = swapped.outputs[0]
        replaced, inputs = after, [query, key, value]
    attention = onnx_ir.node("Attention", [*inputs, *mask], attributes)
    graph.insert_before(node, attention)
    _take_over(replaced, attention.outputs[0])


def _guarded(node: Any, mask: Any) -> Any:
    """The attention's output, or that of the node that clears rows which see nothing, which no finite mask needs.

    With a finite mask such a row sees everything alike, and only padding is such a row.
    """
    output = node.outputs[0]
    user = _only_user(output)
    if user is None or user.op_type != "Where" or user.inputs[2] is not output or not _is_finite(mask):
        return output
    return user.outputs[0]


def _is_finite(mask: Any) -> bool:
    """Whether a mask is a product with a finite number: zero times infinity would not be a number."""
    producer = mask.producer() if mask is not None else None
    if producer is None or producer.op_type != "Mul":
        return False
    constants = [tensor.const_value for tensor in producer.inputs if tensor.const_value is not None]
    return bool(constants) and all(np.isfinite(constant.numpy()).all() for constant in constants)


def _joined_heads(output: Any) -> Any:
    """The same tensor as (batch, length, width), where that is the only use of its heads."""
    swap = _only_user(output)
    if swap is None or swap.op_type != "Transpose" or list(swap.attributes["perm"].as_ints()) != _SWAP_HEADS:
        return None
    reshape = _only_user(swap.outputs[0])
    if reshape is None or reshape.op_type != "Reshape" or len(reshape.outputs[0].shape or ()) != 3:
        return None
    return reshape.outputs[0]


def _before_heads(tensor: Any) -> Any:
    """The tensor (batch, length, width) that was split into heads and swapped, if nothing else was done to it."""
    node = tensor.producer()
    if node is not None and node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == _SWAP_HEADS:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Reshape" or len(node.inputs[0].shape or ()) != 3:
        return None
    return node.inputs[0]


def _keep_residual_apart(graph: Any, summed: Any) -> None:
    import onnx_ir

    node = summed.producer()
    if node is not None and node.op_type == "Add" and all(tensor.const_value is None for tensor in node.inputs):
        replacement = onnx_ir.node("Sum", list(node.inputs))
        graph.insert_before(node, replacement)
        _take_over(summed, replacement.outputs[0])


def _take_over(old: Any, new: Any) -> None:
    from onnx_ir import convenience

    new.shape, new.type = old.shape, old.type
    convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def _only_user(tensor: Any) -> Any:
    users = list(tensor.uses())
    return users[0].node if len(users) == 1 and not tensor.is_graph_output() else None

"""Fusions for ONNX Runtime on the CPU: attention as one operator, residual sums apart from their norms."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import Announce, graphs_in, raise_opset
from export.onnx.masks import Mask, simpler_mask
from export.onnx.plain import save_companions
from export.onnx.weights import save_graphs

ATTENTION_OPSET = 23
"""The first with ``Attention``: https://onnx.ai/onnx/operators/onnx__Attention.html."""
_SWAP_HEADS = [0, 2, 1, 3]


def fuse_graphs(source: Path, folder: Path, announce: Announce = nullcontext, opset: int | None = None) -> int:
    """Write the graphs of a folder anew with fused operators, and what lies beside them.

    :param source: Folder with plain graphs.
    :param opset: As for `fuse`.
    :return: How many attentions were fused.
    """
    import onnx_ir

    found = []

    def fused(name: str) -> Any:
        model = onnx_ir.load(source / name)
        found.append(fuse(model, opset))
        return model

    save_graphs([path.name for path in graphs_in(source)], fused, folder, announce)
    save_companions(source, folder)
    return sum(found)


def fuse(model: Any, opset: int | None = None) -> int:
    """Fuse an ``onnx_ir.Model`` in place.

    Scaled dot-product attention becomes ``Attention`` (standard operators from opset 23 on), which also does the
    transpositions between (batch, length, width) and heads. A residual ``Add`` before a ``LayerNormalization``
    becomes ``Sum``: ONNX Runtime would join the two into SkipLayerNormalization, whose CPU kernel takes several times
    as long as both.

    :param opset: Of what is written; below 23 attention stays as it is. None: the model's own, or 23.
    :return: The number of attentions.
    """
    import onnx_ir.passes.common as passes
    from onnxscript.optimizer import optimize
    from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa

    passes.ShapeInferencePass()(model)
    optimize(model)
    found: int = fuse_sdpa(model) if opset is None or opset >= ATTENTION_OPSET else 0
    if found:
        masks: dict[str, Mask] = {}
        for node in [node for node in model.graph if node.op_type == "SDPA"]:
            value = node.inputs[3] if len(node.inputs) > 3 else None
            if value is not None and value.name not in masks:
                masks[value.name] = simpler_mask(model, value, node.inputs[0].shape[2])
            _replace_attention(model.graph, node, masks[value.name] if value is not None else Mask(None))
        passes.RemoveUnusedNodesPass()(model)
        raise_opset(model, max(ATTENTION_OPSET, model.opset_imports[""]))
    for node in list(model.graph):
        if node.op_type == "LayerNormalization":
            _keep_residual_apart(model.graph, node.inputs[0])
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.TopologicalSortPass()(model)
    return found


def _replace_attention(graph: Any, node: Any, mask: Mask) -> None:
    """Put ``Attention`` in the place of the rewriter's SDPA, over three axes where the heads were split just before."""
    import onnx_ir

    query, key, value = node.inputs[:3]
    heads = query.shape[1]
    after = _guarded(node, mask)
    joined = _joined_heads(after)
    joins = [_with_past(tensor) for tensor in (key, value)] if joined is not None else []
    is_cached = bool(joins) and all(joins)
    last = [join.inputs[1] for join in joins] if is_cached else [key, value]
    flat = [_before_heads(tensor) for tensor in (query, *last)]
    scale = node.attributes.get("scale")
    attributes = {"is_causal": int(mask.causal), **({} if scale is None else {"scale": scale.as_float()})}
    if joined is not None and all(tensor is not None for tensor in flat):
        attributes |= {"q_num_heads": heads, "kv_num_heads": heads}
        replaced, inputs = joined, [*flat, mask.value]
    else:
        is_cached = False
        if node.attributes["key_format"].as_string() == "BSHd":
            swapped = onnx_ir.node("Transpose", [key], {"perm": _SWAP_HEADS})
            graph.insert_before(node, swapped)
            key = swapped.outputs[0]
        replaced, inputs = after, [query, key, value, mask.value]
    if is_cached:
        inputs += [join.inputs[0] for join in joins]
    attention = onnx_ir.node("Attention", inputs, attributes, num_outputs=3 if is_cached else 1)
    graph.insert_before(node, attention)
    for join, present in zip(joins if is_cached else [], attention.outputs[1:], strict=True):
        name = join.outputs[0].name
        _take_over(join.outputs[0], present)
        present.name = name  # of an output of the graph
    _take_over(replaced, attention.outputs[0])


def _with_past(tensor: Any) -> Any:
    """What joins keys or values of the tokens before, an input of the graph, with those of the last tokens."""
    join = tensor.producer()
    is_join = join is not None and join.op_type == "Concat" and len(join.inputs) == 2
    along_tokens = is_join and join.attributes["axis"].as_int() in (-2, 2)
    return join if along_tokens and join.inputs[0].is_graph_input() else None


def _guarded(node: Any, mask: Mask) -> Any:
    """The attention's output, or that of the node that clears rows which see nothing, which no finite mask needs.

    With a finite mask such a row sees everything alike, and only padding is such a row.
    """
    output = node.outputs[0]
    user = _only_user(output)
    if user is None or user.op_type != "Where" or user.inputs[2] is not output:
        return output
    if not (mask.is_known or _is_finite(mask.value)):
        return output
    return user.outputs[0]


def _is_finite(mask: Any) -> bool:
    """Whether a mask hides by a finite number: by a product with one, as zero times infinity would not be a number, or
    by putting one in the place of what is hidden."""
    producer = mask.producer()
    if producer is None or producer.op_type not in ("Mul", "Where"):
        return False
    numbers = producer.inputs if producer.op_type == "Mul" else [_spread(tensor) for tensor in producer.inputs[1:]]
    constants = [tensor.const_value for tensor in numbers if tensor.const_value is not None]
    return bool(constants) and all(np.isfinite(constant.numpy()).all() for constant in constants)


def _spread(tensor: Any) -> Any:
    """The number that a tensor is full of, if it is."""
    producer = tensor.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "Expand" else tensor


def _joined_heads(output: Any) -> Any:
    """The same tensor as (batch, length, width), where that is the only use of its heads."""
    swap = _only_user(output)
    if swap is not None and swap.op_type == "Reshape" and swap.outputs[0].shape == output.shape:  # of one token
        swap = _only_user(swap.outputs[0])
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

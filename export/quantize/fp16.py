"""Half precision."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import Announce
from export.onnx.layers import between, layers_in
from export.onnx.weights import array_of
from export.quantize.folder import convert_folder

_STAND_IN = 1000  # bytes of the largest weights that the converter is shown
_BLOCK = 1_000_000  # numbers that are converted at once


def convert_fp16(
    source: Path,
    folder: Path,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
    exact: Collection[str] = (),
) -> None:
    """Half precision inside, the inputs and outputs as they were.

    :param excluded: Layers that stay in 32 bits.
    :param exact: Nodes that stay in 32 bits, by name in whichever graph: layers, and what stands between these.
    """

    def convert(_: Path, model: Any, kept: Collection[str]) -> Any:
        nodes = [node for node in model.graph if node.name in kept]
        turned = [node.name for reader in nodes for node in between(reader)]
        return in_half_precision(model, [*kept, *turned, *exact])

    layers = [name for name in layers_in(source) if name in exact and name not in excluded] if exact else []
    convert_folder(source, folder, [*excluded, *layers], convert, announce)


def in_half_precision(model: Any, kept: Collection[str] = ()) -> Any:
    """An ``onnx_ir.Model`` in half precision inside, its inputs and outputs as they were.

    ONNX Runtime's converter is shown single numbers in the place of weights: it holds several copies of what it is
    shown. The weights are converted one after the other, as it does it.

    :param kept: Nodes that stay in 32 bits.
    """
    import onnx_ir
    from onnx_ir.passes.common import ShapeInferencePass, TopologicalSortPass
    from onnxruntime.transformers.float16 import convert_float_to_float16

    ShapeInferencePass()(model)
    stored = {name: value.const_value for name, value in model.graph.initializers.items()}
    shown = {name for name, tensor in stored.items() if tensor is not None and _is_large(tensor)}
    for name in shown:
        value, rank = model.graph.initializers[name], len(stored[name].shape)
        value.const_value = onnx_ir.tensor(np.ones([1] * rank, np.float32), name=name)
        value.shape = value.const_value.shape
    converted = onnx_ir.from_proto(
        convert_float_to_float16(
            onnx_ir.to_proto(model), keep_io_types=True, disable_shape_infer=True, node_block_list=list(kept)
        )
    )
    for name, value in converted.graph.initializers.items():
        tensor = stored.get(name)
        if name in shown:
            _put_back(value, tensor)
        elif isinstance(tensor, onnx_ir.ExternalTensor):
            value.const_value = tensor
    _hand_on(converted)
    TopologicalSortPass()(converted)  # the converter puts the casts of inputs behind all other nodes
    return converted


def _hand_on(model: Any) -> None:
    """Let a node in 32 bits read what another in 32 bits gives: the converter halves it on the way."""
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for node in model.graph:
        halved = node.inputs[0].producer() if node.op_type == "Cast" else None
        if halved is None or halved.op_type != "Cast" or node.attributes["to"].as_int() != onnx_ir.DataType.FLOAT:
            continue
        whole = halved.inputs[0]  # or a mask of integers
        is_halved = halved.attributes["to"].as_int() == onnx_ir.DataType.FLOAT16
        if is_halved and whole.dtype == onnx_ir.DataType.FLOAT and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(whole)
    RemoveUnusedNodesPass()(model)


def _is_large(tensor: Any) -> bool:
    import onnx_ir

    lies_beside = isinstance(tensor, onnx_ir.ExternalTensor)
    return tensor.dtype == onnx_ir.DataType.FLOAT and (lies_beside or tensor.nbytes > _STAND_IN)


def _put_back(value: Any, tensor: Any) -> None:
    """Give a constant its weights again, in half precision where the converter made its stand-in so."""
    import onnx_ir

    is_half = value.const_value.dtype == onnx_ir.DataType.FLOAT16
    value.const_value, value.shape = tensor, tensor.shape
    if is_half:
        value.const_value = onnx_ir.tensor(_half(array_of(value)), name=value.name)
    value.dtype = value.const_value.dtype
    for user in value.uses():
        if user.node.op_type == "Cast":  # back to 32 bits for a node that stays
            user.node.outputs[0].shape = tensor.shape


def _half(array: np.ndarray) -> np.ndarray:
    """An array in 16 bits: what is too large or too small for them becomes the largest or smallest number they have."""
    from onnxruntime.transformers.float16 import convert_np_to_float16

    halved = np.empty(array.size, np.float16)
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        halved[start : start + _BLOCK] = convert_np_to_float16(flat[start : start + _BLOCK])
    return halved.reshape(array.shape)

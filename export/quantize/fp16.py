"""Half precision."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from export.onnx.graphs import Announce
from export.onnx.layers import between
from export.quantize.folder import convert_folder


def convert_fp16(source: Path, folder: Path, excluded: Collection[str] = (), announce: Announce = nullcontext) -> None:
    """Half precision inside, the inputs and outputs as they were.

    :param excluded: Layers that stay in 32 bits.
    """
    import onnx_ir

    def convert(graph: Path, _: Path, kept: list[str]) -> Any:
        nodes = [node for node in onnx_ir.load(graph).graph if node.name in kept]
        turned = [node.name for reader in nodes for node in between(reader)]
        return onnx_ir.from_proto(in_half_precision(str(graph), [*kept, *turned]))

    convert_folder(source, folder, excluded, convert, announce)


def in_half_precision(model: Any, kept: Collection[str] = ()) -> Any:
    """An ``onnx.ModelProto``, or the file of one, in half precision inside, its inputs and outputs as they were.

    :param kept: Nodes that stay in 32 bits.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True, node_block_list=list(kept))

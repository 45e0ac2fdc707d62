"""Weights in 4 bits, for memory."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from export.onnx.graphs import Announce
from export.quantize.embeddings import quantize_embeddings
from export.quantize.folder import convert_folder
from export.quantize.ready import make_ready

_INT4_BLOCK = 32
_INT8_ACCURACY_LEVEL = 4  # MatMulNBits multiplies in int8


def quantize_int4(source: Path, folder: Path, excluded: Collection[str] = (), announce: Announce = nullcontext) -> None:
    """Weights in blocks of 4 bits (MatMulNBits), embeddings in 8 bits per token: for memory, not for speed."""
    import onnx
    import onnx_ir
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    def convert(graph: Path, scratch: Path, kept: list[str]) -> Any:
        ready, left_alone = make_ready(graph, scratch, kept)
        quantizer = MatMulNBitsQuantizer(
            onnx.load(ready),
            bits=4,
            block_size=_INT4_BLOCK,
            accuracy_level=_INT8_ACCURACY_LEVEL,
            nodes_to_exclude=left_alone,
        )
        quantizer.process()
        model = onnx_ir.from_proto(quantizer.model.model)
        quantize_embeddings(model, kept)
        return model

    convert_folder(source, folder, excluded, convert, announce)

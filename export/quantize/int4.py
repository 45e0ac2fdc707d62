"""Weights in 4 bits, for memory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from export.onnx.graphs import Announce
from export.quantize.embeddings import quantize_embeddings
from export.quantize.folder import convert_folder

_INT4_BLOCK = 32
_INT8_ACCURACY_LEVEL = 4  # MatMulNBits multiplies in int8


def quantize_int4(source: Path, folder: Path, announce: Announce = nullcontext) -> None:
    """Weights in blocks of 4 bits (MatMulNBits), embeddings in 8 bits per token: for memory, not for speed."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    def convert(graph: Path, converted: Path) -> None:
        quantizer = MatMulNBitsQuantizer(
            onnx.load(graph), bits=4, block_size=_INT4_BLOCK, accuracy_level=_INT8_ACCURACY_LEVEL
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(converted))
        quantize_embeddings(converted)

    convert_folder(source, folder, convert, announce)

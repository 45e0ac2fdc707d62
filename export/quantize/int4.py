"""Weights in 4 bits, for memory."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from export.onnx.graphs import Announce
from export.onnx.weights import constant
from export.quantize.embeddings import EmbeddingBits, quantize_embeddings
from export.quantize.folder import convert_folder
from export.quantize.products import name_of_weights, products_of, put_in_place, weights_as_multiplied

_BITS, _BLOCK = 4, 32
_INT8_ACCURACY_LEVEL = 4  # MatMulNBits multiplies in int8
_PARTS = ("Q4", "Q4_scales", "Q4_zero_points")


def quantize_int4(
    source: Path,
    folder: Path,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
    embedding_bits: EmbeddingBits = 8,
) -> None:
    """Weights in blocks of 4 bits (MatMulNBits), embeddings in 8 bits per token or in 4: for memory, not for speed."""

    def convert(_: Path, model: Any, kept: Collection[str]) -> Any:
        for product in products_of(model, kept):
            _multiply_blocks(model.graph, product)
        model.opset_imports.setdefault("com.microsoft", 1)
        quantize_embeddings(model, kept, embedding_bits)
        return model

    convert_folder(source, folder, excluded, convert, announce)


def _multiply_blocks(graph: Any, product: Any) -> None:
    """Put MatMulNBits in the place of a product."""
    import onnx_ir
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

    weights = weights_as_multiplied(product)
    names = [f"{name_of_weights(product)}_{part}" for part in _PARTS]
    if names[0] not in graph.initializers:
        rounding = DefaultWeightOnlyQuantizer(DefaultWeightOnlyQuantConfig(block_size=_BLOCK, bits=_BITS))
        arrays = rounding.qbits_block_quant(np.ascontiguousarray(weights))
        for name, array in zip(names, arrays, strict=True):
            constant(graph, name, array)
    sizes = {"K": weights.shape[0], "N": weights.shape[1], "bits": _BITS, "block_size": _BLOCK}
    inputs = [product.inputs[0], *(graph.initializers[name] for name in names)]
    attributes = {**sizes, "accuracy_level": _INT8_ACCURACY_LEVEL}
    replacement = onnx_ir.node("MatMulNBits", inputs, attributes, domain="com.microsoft", name=product.name)
    put_in_place(graph, product, [replacement])

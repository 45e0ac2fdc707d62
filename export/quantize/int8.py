"""Int8 of a graph's products, with ranges found at run time or beforehand.

The nodes are those that ONNX Runtime's quantisers write and its optimiser knows. Those quantisers hold all weights at
once and write a copy of them; here one matrix after the other is read. Layers that are excluded (`export.onnx.layers`)
stay in 32 bits, on a GPU in 16.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from compress.recipe.export import CalibrationMethod
from compress.targets import Target
from export.onnx.graphs import Announce, graphs_in
from export.onnx.layers import weights_of
from export.onnx.weights import constant
from export.quantize.embeddings import EmbeddingBits, int8_table, quantize_embeddings
from export.quantize.folder import convert_folder
from export.quantize.fp16 import in_half_precision
from export.quantize.products import (
    multiplies_with_table,
    name_of_weights,
    products_of,
    put_in_place,
    rounded_to_int8,
    weights_as_multiplied,
)
from export.quantize.ranges import Calibrate, Range, extremes_of, ranges_of, watched
from export.quantize.smoothing import divide, smoothing_factors

_SEVEN_BITS, _EIGHT_BITS = 64, 127  # what the largest weight becomes
_STEP = "by_token_step"


def quantize_dynamic_int8(
    source: Path,
    folder: Path,
    target: Target,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
    *,
    by_token: bool = False,
    embedding_bits: EmbeddingBits = 8,
) -> None:
    """Int8 with weights per channel and embeddings per token ahead of time, activations at run time.

    :param source: Folder with the graphs to quantise, fused ones for a CPU.
    :param by_token: Each token's activations have a scale of their own, so that what is found for a row depends on no
        other; one for all of a batch is faster.
    """

    def convert(_: Path, model: Any, kept: Collection[str]) -> Any:
        rounded: dict[str, list[Any]] = {}
        for product in products_of(model, kept):
            _multiply_integers(model.graph, product, target, rounded, by_token=by_token)
        quantize_embeddings(model, kept, embedding_bits)
        if by_token:
            model.opset_imports.setdefault("com.microsoft", 1)
        return model

    convert_folder(source, folder, excluded, convert, announce)


def quantize_static_int8(
    source: Path,
    folder: Path,
    target: Target,
    calibrate: Calibrate,
    method: CalibrationMethod,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
    embedding_bits: EmbeddingBits = 8,
) -> None:
    """Int8 with pairs of QuantizeLinear and DequantizeLinear around weights and activations, whose ranges are fixed.

    For a GPU: signed and symmetric, weights per channel, no bias quantised, all else in half precision, as TensorRT
    takes it. For x86: unsigned activations, embeddings per token. For CPUs a model of one graph is smoothed
    (`export.quantize.smoothing`); decoders that share their weights would each want others.

    :param calibrate: Shows what is seen on real inputs, on which the ranges are found.
    :param method: How ranges follow from the values that are seen.
    """

    from onnx_ir.passes.common import RemoveUnusedNodesPass

    smooths = not target.is_gpu and len(graphs_in(source)) == 1

    def convert(graph: Path, model: Any, kept: Collection[str]) -> Any:
        products = products_of(model, kept)
        ranges, factors = _calibrated(graph, products, calibrate, method, smooths=smooths)
        multiplied: dict[str, np.ndarray] = {}  # weights, with the factors that their inputs are divided by
        for name, wanted in factors.items():
            reading = [product for product in products if product.inputs[0].name == name]
            multiplied |= {name_of_weights(product): wanted for product in reading}
            ranges[divide(model.graph, reading, wanted)] = ranges[name]
        rounded: dict[str, Any] = {}
        for product in products:
            _surround(model.graph, product, ranges[product.inputs[0].name], target, rounded, multiplied)
        if target.is_gpu:
            RemoveUnusedNodesPass()(model)  # and the weights that are integers now
            return in_half_precision(model)
        quantize_embeddings(model, kept, embedding_bits)
        return model

    convert_folder(source, folder, excluded, convert, announce, "FLOAT16" if target.is_gpu else "FLOAT")


def _calibrated(
    graph: Path, products: Sequence[Any], calibrate: Calibrate, method: CalibrationMethod, *, smooths: bool
) -> tuple[dict[str, Range], dict[str, np.ndarray]]:
    """The ranges of what products of a graph's file read, and by what it is divided before, by its name."""
    if not products:  # a table alone multiplies nothing
        return {}, {}
    show = watched(graph, list(dict.fromkeys(product.inputs[0].name for product in products)), calibrate)
    factors = smoothing_factors(products, extremes_of(show)) if smooths else {}
    return ranges_of(show, method, factors), factors


def _multiply_integers(
    graph: Any, product: Any, target: Target, rounded: dict[str, list[Any]], *, by_token: bool
) -> None:
    """Put a product of integers in the place of one.

    :param rounded: Values that are rounded at run time already, their scale and zero point, by their names.
    """
    import onnx_ir

    values = product.inputs[0]
    if values.name not in rounded:
        if by_token:
            rounded[values.name] = _rounded_by_token(graph, product, values)
        else:
            quantised = onnx_ir.node("DynamicQuantizeLinear", [values], num_outputs=3)
            graph.insert_before(product, quantised)
            rounded[values.name] = list(quantised.outputs)
    integers, scale, zero = rounded[values.name]
    weights, scales, zeros = _int8_weights(graph, product, target)
    if by_token:
        step = graph.initializers[_STEP]
        inputs = [integers, weights, step, scales, zero, zeros]
        summed = onnx_ir.node("MatMulIntegerToFloat", inputs, domain="com.microsoft", name=product.name)
        put_in_place(graph, product, [summed, onnx_ir.node("Mul", [summed.outputs[0], scale])])
        return
    summed = onnx_ir.node("MatMulInteger", [integers, weights, zero, zeros], name=product.name)
    whole = onnx_ir.node("Cast", summed.outputs, {"to": onnx_ir.DataType.FLOAT.value})
    both = onnx_ir.node("Mul", [scale, scales])
    put_in_place(graph, product, [summed, whole, both, onnx_ir.node("Mul", [whole.outputs[0], both.outputs[0]])])


def _rounded_by_token(graph: Any, product: Any, values: Any) -> list[Any]:
    """Values as unsigned int8 around 128, the largest of each token, and the zero point.

    ONNX has one operator for the ranges of a whole tensor, none for those of its rows: what is rounded is a token's
    values as shares of its largest, whose step is one for all.
    """
    import onnx_ir

    def fixed(name: str, number: Any) -> Any:
        return graph.initializers[name] if name in graph.initializers else constant(graph, name, np.array(number))

    sizes = onnx_ir.node("Abs", [values])
    highest = onnx_ir.node("ReduceMax", [sizes.outputs[0], fixed("by_token_axes", np.array([-1], np.int64))])
    largest = onnx_ir.node("Max", [highest.outputs[0], fixed("by_token_smallest", np.float32(1e-30))])
    shares = onnx_ir.node("Div", [values, largest.outputs[0]])
    step, zero = fixed(_STEP, np.float32(1 / _EIGHT_BITS)), fixed("by_token_zero", np.uint8(128))
    rounded = onnx_ir.node("QuantizeLinear", [shares.outputs[0], step, zero])
    graph.insert_before(product, [sizes, highest, largest, shares, rounded])
    return [rounded.outputs[0], largest.outputs[0], zero]


def _surround(
    graph: Any,
    product: Any,
    found: Range,
    target: Target,
    rounded: dict[str, Any],
    multiplied: Mapping[str, np.ndarray],
) -> None:
    """Let a product read values that were rounded, and weights that are.

    :param rounded: What is rounded already, by its name before.
    :param multiplied: Factors of weights' rows, by the weights' names.
    """
    import onnx_ir

    values, name = product.inputs[0], name_of_weights(product)
    if values.name not in rounded:
        scale, zero = (
            constant(graph, f"{values.name}_{part}", array)
            for part, array in zip(("scale", "zero"), _scale_and_zero(found, target.signed_activations), strict=True)
        )
        down = onnx_ir.node("QuantizeLinear", [values, scale, zero])
        up = onnx_ir.node("DequantizeLinear", [down.outputs[0], scale, zero])
        graph.insert_before(product, [down, up])
        rounded[values.name] = up.outputs[0]
    if name not in rounded:
        weights = _int8_weights(graph, product, target, multiplied.get(name))
        up = onnx_ir.node("DequantizeLinear", weights, {"axis": 1})
        graph.insert_before(product, up)
        rounded[name] = up.outputs[0]
    product.replace_input_with(0, rounded[values.name])
    product.replace_input_with(1, rounded[name])


def _int8_weights(graph: Any, product: Any, target: Target, factors: np.ndarray | None = None) -> list[Any]:
    """The weights of a product, (inputs, outputs), their scales and zero points.

    :param factors: Of the rows, float32 (inputs,); weights that something else reads have none.

    A head that multiplies with a table of embeddings reads the very table, which is turned when the graph is opened;
    not for GPUs, whose tables are in half precision, nor where products have seven bits.
    """
    import onnx_ir

    base, known = name_of_weights(product), graph.initializers
    names = [f"{base}_{part}" for part in ("quantised", "quantised_scale", "quantised_zero")]
    if not target.is_gpu and not target.reduce_range and multiplies_with_table(product):
        table, scales = int8_table(graph, weights_of(product))
        if names[1] not in known:
            flat = scales.const_value.numpy().reshape(-1)
            constant(graph, names[1], flat)
            constant(graph, names[2], np.zeros(len(flat), np.int8))
        turned = onnx_ir.node("Transpose", [table], {"perm": [1, 0]})
        graph.insert_before(product, turned)
        return [turned.outputs[0], known[names[1]], known[names[2]]]
    if names[0] not in known:
        whole = weights_as_multiplied(product)
        if factors is not None:
            whole = whole * factors[:, None]
        weights, scales = rounded_to_int8(whole, axis=1, largest=_largest(target))
        for name, array in zip(names, (weights, scales, np.zeros(len(scales), np.int8)), strict=True):
            constant(graph, name, array)
    return [known[name] for name in names]


def _largest(target: Target) -> int:
    return _SEVEN_BITS if target.reduce_range else _EIGHT_BITS


def _scale_and_zero(found: Range, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of a range that is widened to hold zero: signed int8 symmetric around it, or unsigned."""
    low, high = min(found[0], 0.0), max(found[1], 0.0)
    step = max(-low, high) / _EIGHT_BITS if signed else (high - low) / 255
    scale = np.float32(max(step, float(np.finfo(np.float32).tiny)))
    zero = np.int8(0) if signed else np.uint8(np.rint(-low / scale))
    return np.array(scale), np.array(zero)

"""Int8 of a graph's products, with ranges found at run time or beforehand.

Layers that are excluded (`export.onnx.layers`) stay in 32 bits, on a GPU in 16.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from compress.recipe.export import CalibrationMethod
from compress.targets import Target
from export.onnx.graphs import Announce
from export.quantize.embeddings import quantize_embeddings
from export.quantize.folder import convert_folder
from export.quantize.fp16 import in_half_precision
from export.quantize.ready import make_ready

_PRODUCTS = ["MatMul"]  # a graph that was made ready has no others with weights

Feeds = Mapping[str, list[dict[str, np.ndarray]]]
"""For each graph, by file name, what it is fed with."""


def quantize_dynamic_int8(
    source: Path, folder: Path, target: Target, excluded: Collection[str] = (), announce: Announce = nullcontext
) -> None:
    """Int8 with weights per channel and embeddings per token ahead of time, activations at run time.

    :param source: Folder with the graphs to quantise, fused ones for a CPU.
    """
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def convert(graph: Path, scratch: Path, kept: list[str]) -> Any:
        ready, left_alone = make_ready(graph, scratch, kept)
        quantize_dynamic(
            ready,
            scratch / graph.name,
            op_types_to_quantize=_PRODUCTS,
            nodes_to_exclude=left_alone,
            per_channel=True,
            reduce_range=target.reduce_range,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )
        model = onnx_ir.load(scratch / graph.name)
        quantize_embeddings(model, kept)
        return model

    convert_folder(source, folder, excluded, convert, announce)


def quantize_static_int8(
    source: Path,
    folder: Path,
    target: Target,
    feeds: Feeds,
    method: CalibrationMethod,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
) -> None:
    """Int8 with pairs of QuantizeLinear and DequantizeLinear around weights and activations, whose ranges are fixed.

    For a GPU: signed and symmetric, weights per channel, no bias quantised, all else in half precision, as TensorRT
    takes it. For x86: unsigned activations, embeddings per token.

    :param feeds: Real inputs, on which the ranges are found.
    :param method: How ranges follow from the values that are seen.
    """
    import onnx
    import onnx_ir
    from onnxruntime.quantization import CalibrationMethod as Method
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": Method.MinMax,
        "entropy": Method.Entropy,
        "percentile": Method.Percentile,
    }

    def convert(graph: Path, scratch: Path, kept: list[str]) -> Any:
        ready, left_alone = make_ready(graph, scratch, kept)
        quantize_static(
            ready,
            scratch / graph.name,
            _Reader(feeds[graph.name]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_PRODUCTS,
            nodes_to_exclude=left_alone,
            per_channel=True,
            reduce_range=target.reduce_range,
            activation_type=QuantType.QInt8 if target.signed_activations else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[method],
            use_external_data_format=True,
            extra_options={
                "ActivationSymmetric": target.signed_activations,
                "WeightSymmetric": True,
                "OpTypesToExcludeOutputQuantization": _PRODUCTS,
                "QuantizeBias": False,
                "CalibStridedMinMax": 1,  # one input at a time: they differ in length, and memory stays small
            },
        )
        if target.is_gpu:
            return onnx_ir.from_proto(in_half_precision(onnx.load(scratch / graph.name)))
        model = onnx_ir.load(scratch / graph.name)
        quantize_embeddings(model, kept)
        return model

    convert_folder(source, folder, excluded, convert, announce, "FLOAT16" if target.is_gpu else "FLOAT")


class _Reader:
    """Gives ONNX Runtime's calibration one input after the other."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]):
        self._feeds = feeds
        self._rest: Iterator[dict[str, np.ndarray]] = iter(feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these inputs."""
        self._rest = iter(self._feeds[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)
